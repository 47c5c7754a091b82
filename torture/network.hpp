// SPDX-License-Identifier: Apache-2.0
//
// network: a network namespace for each member of a cluster, on the other side of a namespace in
// which this process, and what it forks from now on, lives alone: the hub.
//
//   member i, 10.77.i.2  ---- veth ----  10.77.i.1, hub, which forwards between them
//
// So a member can be cut off from the other members and still talk to the clients, or be cut off
// from all; a connection that is cut hears nothing. No namespace has a name: they are kept by
// descriptors, and they and all links are gone with the last process in them, however it ends.
#pragma once

#include <string>

namespace lockbyfile::torture {

class network {
 public:
  static constexpr unsigned members = 3;

  /// Moves this process into the hub. Throws std::system_error or std::runtime_error where the
  /// machine does not allow all of it; then the process is back where it was.
  network();
  ~network();
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  [[nodiscard]] static std::string address_of(unsigned member);

  /// For a forked child: moves it to where the member lives.
  void enter(unsigned member) const;

  void cut_from_peers(unsigned member) const;
  void cut_from_all(unsigned member) const;
  void mend(unsigned member) const;

 private:
  void build();

  int outside_ = -1;
  int member_[members] = {-1, -1, -1};
};

}  // namespace lockbyfile::torture
