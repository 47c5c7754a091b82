// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace lockbyfile {
inline namespace v0 {

/// Patience that never ends.
inline constexpr std::chrono::nanoseconds forever = std::chrono::nanoseconds::max();

/// A lease that never ends: the lock lasts until release or death.
inline constexpr std::chrono::nanoseconds no_lease = std::chrono::nanoseconds::max();

/// What to do about SIGBUS. The kernel sends it to a process that touches the mapping of a file
/// after another process has truncated the file.
enum class truncation_guard {
  install,    // a chained handler, for our own mappings only; a truncation is then errc::damaged.
              // Each thread unblocks SIGBUS once; a thread that blocks it again is killed
  leave_out,  // the program deals with SIGBUS itself
};

/// Who this process is to etcd (names etcd://... and etcds://..., docs/etcd.md). Empty members are
/// taken from the environment: LOCKBYFILE_ETCD_CACERT, _CERT, _KEY, _USER and _PASSWORD_FILE. A
/// setuid program does not read the environment. Files are read when the lock is opened. A password
/// cannot be given on a command line or in a name, because others can read those.
struct etcd_access {
  std::string ca_file = {};    // PEM, for etcds://; none: the system's authorities
  std::string cert_file = {};  // PEM, a client certificate ...
  std::string key_file = {};   // ... and its key
  std::string user = {};
  std::string password = {};
  std::string password_file = {};  // its first line, if there is no password
};

struct lock_options {
  /// How long a grant lasts unless renewed, from 1 ns. The holder's lease rules: waiters obey it,
  /// whatever their own setting. A lease of a second or more counts from a clock that ticks every 1
  /// to 10 ms. It may end up to a tick early, never late. If the processor that keeps time stands
  /// still, it may end up to five ticks early. A shorter lease is exact.
  std::chrono::nanoseconds lease = no_lease;

  /// How long lock() and acquire() wait. Zero or less tries once.
  std::chrono::nanoseconds patience = forever;

  /// Where names without a slash live. Empty: $LOCKBYFILE_DIR, or else the current directory at the
  /// time of opening. The directory must exist. It may be on servers: etcd://HOST,.../FOLDER
  /// (docs/etcd.md). A setuid program ignores the variable.
  std::string directory = {};

  /// Permission bits of a lockfile that this open creates. They apply exactly, whatever the umask.
  /// An existing file keeps its own.
  unsigned mode = 0600;

  /// Group of a lockfile that this open creates.
  std::optional<unsigned> group = {};

  /// What observers see as the command, cut to 47 bytes (256 in etcd). Empty: the program's short
  /// name. Arguments are left out because they may hold secrets.
  std::string description = {};

  truncation_guard on_truncation = truncation_guard::install;

  /// A thread that waits asks this whether to give up (cancelled). It asks ten times a second and,
  /// where the lock is a file, whenever a signal has ended its sleep. For interpreters, which run
  /// their users' signal handlers between two steps of their own. Must not throw, nor use this
  /// lock.
  std::function<bool()> gives_up = {};

  etcd_access etcd = {};

  /// Whether to treat a filesystem of unknown type as a local one; otherwise it is refused
  /// (network_filesystem). If several machines share that filesystem, each of them has a lock of
  /// its own. Known network filesystems and FUSE are refused in any case.
  bool any_filesystem = false;
};

}  // namespace v0
}  // namespace lockbyfile
