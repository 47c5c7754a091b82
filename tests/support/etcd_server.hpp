// SPDX-License-Identifier: Apache-2.0
//
// An etcd of the tests' own: one member on loopback, on ports that were free, with its data in a
// temporary directory. It dies with the test.
//
// Its election timeout is a tenth of the default, so that it starts soon and grants leases from
// 1 s on.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/fetched.hpp"
#include "support/temporary_directory.hpp"

class etcd_server {
 public:
  /// Why there can be none, or nothing.
  static std::string missing() {
    if (std::system("etcd --version >/dev/null 2>&1") != 0) return "there is no etcd";
    if (std::system("etcdctl version >/dev/null 2>&1") != 0) return "there is no etcdctl";
    return "";
  }

  /// One for all tests of the process that do not mind.
  static etcd_server& shared() {
    static etcd_server server;
    return server;
  }

  /// `scheme` is http or https; `options` are added to the command line.
  explicit etcd_server(std::string scheme = "http", std::vector<std::string> options = {})
      : scheme_(std::move(scheme)),
        options_(std::move(options)),
        port_(free_port()),
        peer_port_(free_port()) {
    start();
  }
  ~etcd_server() {
    if (maker_ == ::getpid()) kill();
  }
  etcd_server(const etcd_server&) = delete;
  etcd_server& operator=(const etcd_server&) = delete;

  void start() {
    const std::string url = scheme_ + "://127.0.0.1:" + std::to_string(port_);
    const std::string peer = "http://127.0.0.1:" + std::to_string(peer_port_);
    std::vector<std::string> words{"etcd",
                                   "--data-dir=" + directory_.path() + "/data",
                                   "--listen-client-urls=" + url,
                                   "--advertise-client-urls=" + url,
                                   "--listen-peer-urls=" + peer,
                                   "--initial-advertise-peer-urls=" + peer,
                                   "--initial-cluster=default=" + peer,
                                   "--heartbeat-interval=20",
                                   "--election-timeout=200"};
    words.insert(words.end(), options_.begin(), options_.end());
    pid_ = started(words, directory_.path() + "/log");
    wait_until_it_serves();
  }
  /// The pid of `words`, which dies with us, and says what it says in `log`.
  static pid_t started(const std::vector<std::string>& words, const std::string& log) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      become(words, log, "w");
    }
    return pid;
  }
  /// Executes `words`, with what it says to stderr in `log`, opened in `mode`.
  [[noreturn]] static void become(std::vector<std::string> words, const std::string& log,
                                  const char* mode) {
    std::vector<char*> pointers;
    pointers.reserve(words.size() + 1);
    for (std::string& w : words) pointers.push_back(w.data());
    pointers.push_back(nullptr);
    if (std::freopen(log.c_str(), mode, stderr) == nullptr) ::_exit(1);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGCONT);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void stop() const { ::kill(pid_, SIGSTOP); }
  void go_on() const { ::kill(pid_, SIGCONT); }

  [[nodiscard]] std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string url(const std::string& name) const {
    return "etcd://" + endpoint() + '/' + name;
  }
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }

  /// How many watches it serves.
  [[nodiscard]] int watchers() const {
    const std::string metrics = fetched(endpoint(), "/metrics");
    const std::string name = "\netcd_debugging_mvcc_watcher_total ";
    return std::stoi(metrics.substr(metrics.find(name) + name.size()));
  }

  /// What etcdctl prints; throws if it fails.
  std::string ctl(const std::string& arguments) const {
    std::string out;
    const std::string command =
        "ETCDCTL_API=3 etcdctl --endpoints=" + endpoint() + ' ' + arguments + " 2>&1";
    FILE* pipe = ::popen(command.c_str(), "r");
    char block[512];
    while (std::fgets(block, sizeof block, pipe) != nullptr) out += block;
    if (::pclose(pipe) != 0) throw std::runtime_error("etcdctl " + arguments + ": " + out);
    return out;
  }

  static unsigned short free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    (void)::bind(fd, reinterpret_cast<sockaddr*>(&a), size);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
    ::close(fd);
    return ntohs(a.sin_port);
  }

 private:
  /// Its log says so in a line.
  void wait_until_it_serves() const {
    const std::string log = directory_.path() + "/log";
    for (int i = 0; i < 3000; ++i) {
      const std::string command =
          "grep -q 'ready to serve client requests' " + log + " 2>/dev/null";
      if (std::system(command.c_str()) == 0) return;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) throw std::runtime_error("etcd ended");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    throw std::runtime_error("etcd does not start");
  }

  pid_t maker_ = ::getpid();
  temporary_directory directory_;
  std::string scheme_;
  std::vector<std::string> options_;
  unsigned short port_;
  unsigned short peer_port_;
  pid_t pid_ = 0;
};

/// Hands connections on to a server, and can be stopped while that goes on.
class etcd_gateway {
 public:
  explicit etcd_gateway(const etcd_server& to) : to_(to) {
    pid_ = etcd_server::started(
        {"etcd", "gateway", "start", "--endpoints=" + to.endpoint(), "--listen-addr=" + endpoint()},
        directory_.path() + "/log");
    for (int tries = 0; !serves(); ++tries) {
      if (tries == 3000) throw std::runtime_error("the gateway does not start");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  ~etcd_gateway() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  etcd_gateway(const etcd_gateway&) = delete;
  etcd_gateway& operator=(const etcd_gateway&) = delete;

  void stop() const { ::kill(pid_, SIGSTOP); }

  /// Of a lock whose first endpoint is the gateway, and whose second is the server.
  [[nodiscard]] std::string url(const std::string& name) const {
    return "etcd://" + endpoint() + ',' + to_.endpoint() + '/' + name;
  }

 private:
  [[nodiscard]] std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] bool serves() const {
    try {
      return !fetched(endpoint(), "/health").empty();
    } catch (const std::runtime_error&) {
      return false;
    }
  }

  const etcd_server& to_;
  temporary_directory directory_;
  unsigned short port_ = etcd_server::free_port();
  pid_t pid_ = 0;
};
