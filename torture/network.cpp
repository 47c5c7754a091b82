// SPDX-License-Identifier: Apache-2.0
#include "network.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace lockbyfile::torture {

namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

int this_namespace() {
  const int fd = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open /proc/self/ns/net");
  return fd;
}

void move_to(int fd) {
  if (::setns(fd, CLONE_NEWNET) != 0) fail("setns");
}

void do_ip(const std::string& arguments) {
  const std::string command = "ip " + arguments + " >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("ip " + arguments + " failed");
}

std::string link_of(unsigned member) { return "member" + std::to_string(member); }
std::string side_of_hub(unsigned member) { return "10.77." + std::to_string(member) + ".1"; }

}  // namespace

std::string network::address_of(unsigned member) {
  return "10.77." + std::to_string(member) + ".2";
}

network::network() : outside_(this_namespace()) {
  try {
    build();
  } catch (...) {
    (void)::setns(outside_, CLONE_NEWNET);
    throw;
  }
}

network::~network() {
  (void)::setns(outside_, CLONE_NEWNET);
  for (const int fd : member_) ::close(fd);
  ::close(outside_);
}

void network::build() {
  for (int& fd : member_) {
    if (::unshare(CLONE_NEWNET) != 0) fail("unshare of the network");
    fd = this_namespace();
  }
  if (::unshare(CLONE_NEWNET) != 0) fail("unshare of the network");
  const int hub = this_namespace();
  do_ip("link set lo up");
  if (!(std::ofstream("/proc/sys/net/ipv4/ip_forward") << "1\n").flush())
    throw std::runtime_error("packets cannot be forwarded");
  for (unsigned i = 0; i < members; ++i) {
    do_ip("link add " + link_of(i) + " type veth peer name hub netns /proc/" +
          std::to_string(::getpid()) + "/fd/" + std::to_string(member_[i]));
    do_ip("address add " + side_of_hub(i) + "/30 dev " + link_of(i));
    do_ip("link set " + link_of(i) + " up");
    move_to(member_[i]);
    do_ip("link set lo up");
    do_ip("address add " + address_of(i) + "/30 dev hub");
    do_ip("link set hub up");
    do_ip("route add default via " + side_of_hub(i));
    move_to(hub);
  }
  ::close(hub);
}

void network::enter(unsigned member) const { move_to(member_[member]); }

/// Packets from there are forwarded no more. Packets for the hub itself still arrive.
void network::cut_from_peers(unsigned member) const {
  do_ip("rule add pref 100 iif " + link_of(member) + " blackhole");
}

void network::cut_from_all(unsigned member) const {
  do_ip("link set " + link_of(member) + " down");
}

void network::mend(unsigned member) const {
  (void)!std::system(("ip rule del pref 100 iif " + link_of(member) + " 2>/dev/null").c_str());
  do_ip("link set " + link_of(member) + " up");
}

}  // namespace lockbyfile::torture
