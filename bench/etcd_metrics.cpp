// SPDX-License-Identifier: Apache-2.0
#include "etcd_metrics.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace bench {

namespace {

/// The body of what a server on loopback answers. It closes the connection after it.
std::string fetched(const std::string& endpoint, const std::string& path) {
  const auto colon = endpoint.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(colon + 1))));
  ::inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &where.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) {
    const std::string asked = "GET " + path + " HTTP/1.0\r\n\r\n";
    (void)::send(fd, asked.data(), asked.size(), MSG_NOSIGNAL);
    std::array<char, 65536> block;
    for (ssize_t n = 0; (n = ::read(fd, block.data(), block.size())) > 0;)
      answer.append(block.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  const auto body = answer.find("\r\n\r\n");
  if (body == std::string::npos) throw std::runtime_error("etcd does not tell its metrics");
  return answer.substr(body + 4);
}

/// What a line of the metrics counts towards, or nothing.
const char* meaning(std::string_view line) {
  if (line.starts_with("etcd_server_proposals_committed_total ")) return "writes";
  if (line.starts_with("etcd_mvcc_put_total ")) return "puts";
  if (line.starts_with("etcd_mvcc_delete_total ")) return "deletes";
  if (line.starts_with("etcd_mvcc_range_total ")) return "ranges";
  if (line.starts_with("etcd_debugging_mvcc_events_total ")) return "events";
  const bool is_ours = line.find("service=\"etcdserverpb.") != std::string_view::npos;
  if (!is_ours) return nullptr;
  if (line.starts_with("grpc_server_started_total{") && line.ends_with("unary\"}"))
    return "requests";
  if (line.starts_with("grpc_server_msg_received_total{grpc_method=\"Watch\"")) return "watches";
  return nullptr;
}

}  // namespace

std::string etcd_endpoint() {
  const char* told = std::getenv("LOCKBYFILE_BENCH_ETCD");
  if (told == nullptr) throw std::runtime_error("LOCKBYFILE_BENCH_ETCD names no server");
  return told;
}

counters etcd_counters() {
  counters all{{"requests", 0}, {"watches", 0}};
  std::istringstream lines(fetched(etcd_endpoint(), "/metrics"));
  for (std::string line; std::getline(lines, line);) {
    const auto space = line.rfind(' ');
    if (line.starts_with('#') || space == std::string::npos) continue;
    const std::string name = line.substr(0, space);
    const char* what = meaning(name.find('{') == std::string::npos ? name + ' ' : name);
    if (what != nullptr) all[what] += std::stod(line.substr(space + 1));
  }
  return all;
}

void add_counts(findings& to, const counters& since, double times) {
  for (const auto& [what, count] : etcd_counters()) {
    const auto before = since.find(what);
    to.figures[what] = (count - (before == since.end() ? 0 : before->second)) / times;
  }
}

}  // namespace bench
