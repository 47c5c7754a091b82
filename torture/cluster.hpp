// SPDX-License-Identifier: Apache-2.0
//
// cluster: three members of etcd that belong to this process. Their data are in a directory of
// their own, and every write is synced to disk. They listen on free ports of loopback, or each in a
// network namespace. They die with this process, whatever ends it. They are signalled only by their
// pids.
//
// Each member is in a process group of its own. So a process that waits for its own group, as the
// storm does, does not wait for the members.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "history.hpp"
#include "network.hpp"

namespace lockbyfile::torture {

class cluster {
 public:
  static constexpr unsigned members = network::members;
  static constexpr unsigned ttl = 2;  // seconds, of the sessions on it

  /// Why no cluster can run here; empty if one can.
  static std::string missing();
  /// Whether this etcd has the fault of outages.hpp.
  static bool has_fault_of_late_revocations();

  /// Starts them, and returns when they serve. `net` may be null.
  cluster(std::string directory, std::unique_ptr<network> net);
  ~cluster();
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  /// A name's beginning: etcd://HOST:PORT,HOST:PORT,HOST:PORT
  [[nodiscard]] std::string url() const;
  [[nodiscard]] bool has_network() const { return net_ != nullptr; }

  void start(unsigned member);
  void kill(unsigned member);
  void stop(unsigned member) const;
  void go_on(unsigned member) const;
  [[nodiscard]] const network& net() const { return *net_; }

  /// The member that leads, if any member says so within a moment.
  [[nodiscard]] std::optional<unsigned> leader() const;

  /// Restarts each member that has ended by itself. True if there was one.
  bool look_after();

  /// Waits until all members answer and agree. Throws if they do not.
  void wait_until_well() const;

  /// The keys below `prefix`, and the etcd leases, one word each. Empty if there are none.
  [[nodiscard]] std::string keys(const std::string& prefix) const;
  [[nodiscard]] std::string leases() const;

 private:
  struct node {
    std::string host;
    unsigned short port = 0;
    unsigned short peer_port = 0;
    pid_t pid = 0;

    [[nodiscard]] std::string client() const { return host + ':' + std::to_string(port); }
    [[nodiscard]] std::string peer() const {
      return "http://" + host + ':' + std::to_string(peer_port);
    }
  };
  [[nodiscard]] std::string endpoints() const;
  [[nodiscard]] std::string control(const std::string& arguments) const;
  void kill_all();

  const std::string directory_;
  const std::unique_ptr<network> net_;
  std::array<node, members> nodes_;
};

}  // namespace lockbyfile::torture
