// SPDX-License-Identifier: Apache-2.0
//
// What /proc shows of other processes. All of it is a snapshot: a process may end, and its number
// go to another one, between two reads. Whoever signals by it verifies first (process_handle.hpp).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lockbyfile::cli {

struct process_facts {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';         // as in ps: R, S, D, T, Z, ...
  std::uint64_t start = 0;  // in clock ticks since boot: with the pid, an identity
  std::optional<std::chrono::nanoseconds> age = {};
};

/// The processes that /proc shows, threads left out.
[[nodiscard]] std::vector<pid_t> all_pids();

/// None if there is no such process.
[[nodiscard]] std::optional<process_facts> facts_of(pid_t pid);

/// The same, but if the first thread has ended and others live, the state is that of one of them:
/// only the first one is a zombie then, and not the process.
[[nodiscard]] process_facts with_living_state(process_facts process);

/// The arguments, or none where they may not be read, or there are none (a kernel thread).
[[nodiscard]] std::vector<std::string> arguments_of(const process_facts& process);

/// Whether the process was started with `entry` ("NAME=VALUE") in its environment.
[[nodiscard]] bool was_started_with(pid_t pid, const std::string& entry);

struct process_identity {
  unsigned user = 0;    // the real user
  pid_t inner_pid = 0;  // the pid in the process's own pid namespace
};
[[nodiscard]] std::optional<process_identity> identity_of(pid_t pid);

/// The path of the program, with " (deleted)" if it was replaced; empty if it may not be read.
[[nodiscard]] std::string program_of(pid_t pid);

/// Where the descriptors of `pid` are listed: of a thread that lives, if the leader has gone.
[[nodiscard]] std::string descriptors_of(const process_facts& process);

/// The names in a directory of numbers; none if it may not be read, and then `ok` is false.
[[nodiscard]] std::vector<int> numbers_in(const std::string& directory, bool& ok);

/// The content of a small file; empty if it cannot be read.
[[nodiscard]] std::string content_of(const std::string& path);

/// Processes that live, with all that `root` has started, from parents to children. Not those that
/// `spared` says of a child of `root`, nor what they have started.
[[nodiscard]] std::vector<process_facts> descendants_of(
    pid_t root, const std::function<bool(const process_facts&)>& spared);
/// The children of `root`.
[[nodiscard]] std::vector<process_facts> children_of(pid_t root);

/// "sleeping", "running", ...
[[nodiscard]] const char* state_name(char state) noexcept;

}  // namespace lockbyfile::cli
