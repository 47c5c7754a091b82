// SPDX-License-Identifier: Apache-2.0
//
// The knowledge that all processes of a round share: the names, what may happen to each, the end.
#pragma once

#include <cstdint>
#include <lockbyfile/options.hpp>
#include <string>
#include <vector>

#include "history.hpp"
#include "registers.hpp"

namespace lockbyfile::torture {

/// Each weather includes those before it. All names see kills, stops, signals, forks and execs.
enum class weather : std::uint8_t {
  crashes,    // no lease ends
  leases,     // short leases, renewals, keep_alive
  operators,  // break, remove, prune
  mischief,   // rm, mv, truncate, chmod, foreign files
  scribbles,  // random bytes
};
inline constexpr std::uint8_t weathers = 5;

/// In a directory, or below a folder of etcd: etcd://HOST:PORT,.../FOLDER.
struct place {
  std::string directory;
  std::string name;
  weather kind = weather::crashes;

  [[nodiscard]] bool is_remote() const { return directory.starts_with("etcd://"); }
  [[nodiscard]] std::string path() const { return directory + '/' + name + ".lockfile"; }
  [[nodiscard]] std::string lock_name() const {
    return is_remote() ? directory + '/' + name + "?ttl=2" : name;
  }
  [[nodiscard]] lock_options options() const {
    lock_options o;
    if (!is_remote()) o.directory = directory;
    return o;
  }
};

struct plan {
  std::vector<place> places;
  instant end = 0;
  std::uint64_t pace = 1;         // how many times longer everything takes than with files
  registers* protects = nullptr;  // by name; null: nothing
};

}  // namespace lockbyfile::torture
