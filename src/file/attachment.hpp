// SPDX-License-Identifier: Apache-2.0
//
// attachment: a session's mapping of the lockfile and its descriptor, the lifeline.
//
// Three events reach into it from outside, and this file answers them:
//
//   fork        The child inherits the mapping and, in the descriptor, a share of
//               the lifeline: a surviving child would keep a dead parent's lock
//               alive. So the child closes it before fork() returns there. (A child
//               made by a raw clone() closes it when it first uses the lock.) fork waits
//               while a descriptor is open that no record knows yet: hold_off_fork().
//               A mapping is a reference to its open file as well, and cannot be
//               closed in the child: so what is mapped is opened a second time (A3).
//   truncation  Touching a mapped page past the file's end raises SIGBUS. A chained
//               handler replaces our mapping by zeros, which reads as "no state at
//               all" (word.hpp, W3), and hands every other SIGBUS on.
//   close()     A program that closes all its descriptors closes ours. The number
//               may then name another file: is_ours() asks before it is used.
//
// (A1) The address of the image never changes during the life of an attachment:
//      attach and detach remap the same range in place. So any thread may look at
//      the word at any time.
// (A2) Records of attachments are never freed, only reused: the signal handler and
//      the fork handler walk them without a lock.
// (A3) No lock is ever held through the open file that is mapped.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <lockbyfile/options.hpp>
#include <string>

#include "file/layout.hpp"

namespace lockbyfile::file {

enum class access { read_only, read_write };

/// Between open() and attach() or close(): no thread of this process forks while this is
/// held, so that no child inherits a lock on a byte by a descriptor that it does not know.
/// Blocks for as long as another thread does so. A signal handler that forks meanwhile in
/// this very thread is let through.
class hold_off_fork {
 public:
  hold_off_fork();
  ~hold_off_fork() { end(); }
  hold_off_fork(const hold_off_fork&) = delete;
  hold_off_fork& operator=(const hold_off_fork&) = delete;
  void end() noexcept;

 private:
  bool is_held_ = true;
};

class attachment {
 public:
  /// Reserves the range, for the lockfile at `path`. Throws lock_error with the system's error.
  attachment(const std::string& path, truncation_guard guard);
  ~attachment();
  attachment(const attachment&) = delete;
  attachment& operator=(const attachment&) = delete;

  /// Takes `fd` over and maps `mapped`, the same file, in place of nothing: detach() comes
  /// first. Leaves `mapped` open. On failure returns false with errno, `fd` closed.
  bool attach(int fd, int mapped, access how, const struct stat& identity) noexcept;

  /// Closes the descriptor, if it is still ours, and maps zeros. Harmless twice.
  void detach() noexcept;

  [[nodiscard]] image& get() const noexcept { return *image_; }
  [[nodiscard]] int fd() const noexcept;

  /// Whether the descriptor is in this process and still the one that was attached.
  [[nodiscard]] bool is_ours() const noexcept;

  /// Whether `other` is the file that was attached last.
  [[nodiscard]] bool is_same_file(const struct stat& other) const noexcept;

  /// Whether the file was found truncated while attached.
  [[nodiscard]] bool was_truncated() const noexcept;

  struct record;

 private:
  void close_descriptor() noexcept;

  record* record_;
  image* image_;
  bool is_mapped_ = false;  // the file; else zeros
};

}  // namespace lockbyfile::file
