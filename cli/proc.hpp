// SPDX-License-Identifier: Apache-2.0
//
// What /proc shows of other processes. Each read is a snapshot. Between two reads a process may end
// and its number go to another process. Verify the process before you signal it
// (process_handle.hpp).
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

/// Returns `process` with the state of a living thread if the first thread has ended and others
/// live. Only the first thread is a zombie then, not the process.
[[nodiscard]] process_facts with_living_state(process_facts process);

/// The arguments. None if we may not read them, or if there are none (a kernel thread).
[[nodiscard]] std::vector<std::string> arguments_of(const process_facts& process);

/// Whether the process was started with `entry` ("NAME=VALUE") in its environment.
[[nodiscard]] bool was_started_with(pid_t pid, const std::string& entry);

struct process_identity {
  unsigned user = 0;    // the real user
  pid_t inner_pid = 0;  // the pid in the process's own pid namespace
};
[[nodiscard]] std::optional<process_identity> identity_of(pid_t pid);

/// The path of the program, with " (deleted)" if it was replaced; empty if we may not read it.
[[nodiscard]] std::string program_of(pid_t pid);

/// The directory that lists the descriptors of `process`. If the first thread has ended, it is the
/// directory of a thread that lives.
[[nodiscard]] std::string descriptors_of(const process_facts& process);

/// The names in a directory of numbers. If we may not read it, none, and `ok` is false.
[[nodiscard]] std::vector<int> numbers_in(const std::string& directory, bool& ok);

/// The content of a small file; empty if it cannot be read.
[[nodiscard]] std::string content_of(const std::string& path);

/// The living processes that `root` has started, directly or not, parents before children. A child
/// of `root` for which `spared` returns true is left out, with all its descendants.
[[nodiscard]] std::vector<process_facts> descendants_of(
    pid_t root, const std::function<bool(const process_facts&)>& spared);
/// The children of `root`.
[[nodiscard]] std::vector<process_facts> children_of(pid_t root);

/// "sleeping", "running", ...
[[nodiscard]] const char* state_name(char state) noexcept;

}  // namespace lockbyfile::cli
