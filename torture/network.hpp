// SPDX-License-Identifier: Apache-2.0
//
// network: a network namespace for each member of a cluster. They are linked through another
// namespace, the hub. This process and the processes that it forks from now on live alone in the
// hub.
//
//   member i, 10.77.i.2  ---- veth ----  10.77.i.1, hub, which forwards between them
//
// So a member can be cut off from the other members and still talk to the clients. Or it can be cut
// off from all. A connection that is cut receives nothing. No namespace has a name: descriptors
// keep them. They and all links are gone with the last process in them, however it ends.
#pragma once

#include <string>

namespace lockbyfile::torture {

class network {
 public:
  static constexpr unsigned members = 3;

  /// Moves this process into the hub. Throws std::system_error or std::runtime_error if the machine
  /// does not allow all of it. Then the process is back where it was.
  network();
  ~network();
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  [[nodiscard]] static std::string address_of(unsigned member);

  /// For a forked child: moves it into the namespace of the member.
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
