// SPDX-License-Identifier: Apache-2.0
//
// /proc, if it speaks of our pid namespace.
//
// In a pid namespace whose /proc was not mounted anew (unshare --pid --fork, a container with the
// host's /proc) the numbers there are those of other processes: they must not be used. NSpid of
// /proc/self/status has one number for each namespace from that of /proc down to ours: one, if they
// are the same. In a /proc of a namespace that we are not in there is no /proc/self at all.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// Whether the numbers in /proc are those of our pid namespace. Looks once.
[[nodiscard]] bool proc_is_ours();

/// Why the numbers in /proc are of no use, for an error message: it is not there, or it is of
/// another namespace. Only if they are not ours.
[[nodiscard]] std::string why_proc_is_not_ours();

/// The beginning of /proc/PID/FILE, up to 4 KiB; none without a /proc of ours, or if the process
/// is gone.
[[nodiscard]] std::optional<std::string> own_proc_text(pid_t pid, const char* file);

}  // namespace lockbyfile::cli
