// SPDX-License-Identifier: Apache-2.0
#include "cluster.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/etcd_server.hpp"

namespace lockbyfile::torture {

using namespace std::chrono_literals;

namespace {

constexpr instant longest_start = milliseconds(20'000);
constexpr unsigned short usual_port = 2379;

}  // namespace

std::string cluster::missing() { return etcd_server::missing(); }

bool cluster::has_fault_of_late_revocations() {
  FILE* pipe = ::popen("etcd --version", "r");
  std::array<char, 64> line{};
  const bool has_line = pipe != nullptr && std::fgets(line.data(), line.size(), pipe) != nullptr;
  if (pipe != nullptr) ::pclose(pipe);
  constexpr std::string_view name = "etcd Version: 3.";
  if (!has_line || !std::string_view(line.data()).starts_with(name)) return false;
  char* end = nullptr;
  const unsigned long minor = std::strtoul(line.data() + name.size(), &end, 10);
  const unsigned long patch = *end == '.' ? std::strtoul(end + 1, nullptr, 10) : 0;
  return minor < 4 || (minor == 4 && patch < 31) || (minor == 5 && patch < 13);
}

cluster::cluster(std::string directory, std::unique_ptr<network> net)
    : directory_(std::move(directory)), net_(std::move(net)) {
  for (unsigned i = 0; i < members; ++i) {
    node& m = nodes_[i];
    m.host = net_ ? network::address_of(i) : "127.0.0.1";
    m.port = net_ ? usual_port : etcd_server::free_port();
    m.peer_port = net_ ? usual_port + 1 : etcd_server::free_port();
  }
  try {
    for (unsigned i = 0; i < members; ++i) start(i);
    wait_until_well();
  } catch (...) {
    kill_all();
    throw;
  }
}

cluster::~cluster() { kill_all(); }

void cluster::kill_all() {
  for (unsigned i = 0; i < members; ++i) kill(i);
}

void cluster::start(unsigned member) {
  node& m = nodes_[member];
  const std::string name = "member" + std::to_string(member);
  std::string all;
  for (unsigned i = 0; i < members; ++i)
    all += (i == 0 ? "member" : ",member") + std::to_string(i) + '=' + nodes_[i].peer();
  const std::vector<std::string> words{"etcd",
                                       "--name=" + name,
                                       "--data-dir=" + directory_ + '/' + name,
                                       "--listen-client-urls=http://" + m.client(),
                                       "--advertise-client-urls=http://" + m.client(),
                                       "--listen-peer-urls=" + m.peer(),
                                       "--initial-advertise-peer-urls=" + m.peer(),
                                       "--initial-cluster=" + all,
                                       "--initial-cluster-token=" + directory_,
                                       "--heartbeat-interval=50",
                                       "--election-timeout=500"};
  const std::string log = directory_ + '/' + name + ".log";
  std::fflush(nullptr);
  m.pid = ::fork();
  if (m.pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (m.pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      if (net_) net_->enter(member);
    } catch (const std::exception&) {
      ::_exit(126);
    }
    etcd_server::become(words, log, "a");
  }
  ::setpgid(m.pid, m.pid);  // parent and child both do it: either may be first
}

void cluster::kill(unsigned member) {
  pid_t& pid = nodes_[member].pid;
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid = 0;
}

void cluster::stop(unsigned member) const {
  if (nodes_[member].pid > 0) ::kill(nodes_[member].pid, SIGSTOP);
}

void cluster::go_on(unsigned member) const {
  if (nodes_[member].pid > 0) ::kill(nodes_[member].pid, SIGCONT);
}

bool cluster::look_after() {
  bool found = false;
  for (unsigned i = 0; i < members; ++i) {
    pid_t& pid = nodes_[i].pid;
    if (pid <= 0 || ::waitpid(pid, nullptr, WNOHANG) != pid) continue;
    pid = 0;
    start(i);
    found = true;
  }
  return found;
}

std::string cluster::endpoints() const {
  std::string all;
  for (const node& m : nodes_) all += (all.empty() ? "" : ",") + m.client();
  return all;
}

std::string cluster::url() const { return "etcd://" + endpoints(); }

std::string cluster::control(const std::string& arguments) const {
  const std::string command = "ETCDCTL_API=3 etcdctl --endpoints=" + endpoints() +
                              " --dial-timeout=400ms --command-timeout=400ms " + arguments +
                              " 2>/dev/null";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::system_error(errno, std::system_category(), "etcdctl");
  std::string out;
  char block[512];
  while (std::fgets(block, sizeof block, pipe) != nullptr) out += block;
  (void)::pclose(pipe);  // it fails if one member is silent
  return out;
}

namespace {

/// Calls `f` with the words of each line of `endpoint status`: address, id, version, size,
/// whether it leads, whether it learns, term, index, ...
template <class F>
void for_each_status(const std::string& text, F&& f) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> words;
    std::istringstream parts(line);
    for (std::string word; std::getline(parts, word, ',');)
      words.push_back(word.substr(word.find_first_not_of(' ') == 0 ? 0 : 1));
    if (words.size() > 7) f(words);
  }
}

}  // namespace

std::optional<unsigned> cluster::leader() const {
  std::optional<unsigned> leader;
  for_each_status(control("endpoint status"), [&](const std::vector<std::string>& words) {
    for (unsigned i = 0; i < members; ++i)
      if (words[0] == nodes_[i].client() && words[4] == "true") leader = i;
  });
  return leader;
}

void cluster::wait_until_well() const {
  const instant deadline = now() + longest_start;
  while (now() < deadline) {
    unsigned answers = 0;
    unsigned leaders = 0;
    std::string term;
    bool agree = true;
    for_each_status(control("endpoint status"), [&](const std::vector<std::string>& words) {
      ++answers;
      if (words[4] == "true") ++leaders;
      if (term.empty()) term = words[6];
      agree = agree && term == words[6];
    });
    if (answers == members && leaders == 1 && agree) return;
    std::this_thread::sleep_for(50ms);
  }
  throw std::runtime_error("the members of etcd do not get well; see " + directory_);
}

std::string cluster::keys(const std::string& prefix) const {
  return control("get --prefix --keys-only '" + prefix + "'");
}

std::string cluster::leases() const { return control("lease list"); }

}  // namespace lockbyfile::torture
