// SPDX-License-Identifier: Apache-2.0
//
// /proc, if it shows our pid namespace.
//
// A pid namespace may have a /proc that was not mounted anew: unshare --pid --fork, or a container
// with the host's /proc. The numbers in that /proc belong to other processes and must not be used.
// NSpid of /proc/self/status has one number for each namespace from the one of /proc down to ours.
// A single number means that both are the same. A /proc of a namespace that we are not in has no
// /proc/self at all.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// Whether the numbers in /proc are those of our pid namespace. Looks once.
[[nodiscard]] bool proc_is_ours();

/// Why the numbers in /proc are of no use, for an error message: /proc is missing, or it belongs to
/// another namespace. Only for use if proc_is_ours() is false.
[[nodiscard]] std::string why_proc_is_not_ours();

/// The first 4 KiB of /proc/PID/FILE at most. None if /proc is not ours or the process is gone.
[[nodiscard]] std::optional<std::string> own_proc_text(pid_t pid, const char* file);

}  // namespace lockbyfile::cli
