// SPDX-License-Identifier: Apache-2.0
#include "etcd_metrics.hpp"

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "support/fetched.hpp"

namespace bench {

namespace {

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
