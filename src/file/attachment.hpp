// SPDX-License-Identifier: Apache-2.0
//
// attachment: a session's mapping of the lockfile and its descriptor, the lifeline.
//
// Three events reach into it from outside, and this file answers them:
//
//   fork: the child inherits the mapping and, by the descriptor, a share of the lifeline. A
//   surviving child would keep a dead parent's lock alive. So the child closes the descriptor
//   before fork() returns there. (A child made by a raw clone() closes it when it first uses the
//   lock.) While a descriptor becomes known to a record, fork waits: hold_off_fork. That takes
//   microseconds. No call that may hang is made meanwhile, for example open or close on a frozen
//   filesystem. A mapping is also a reference to its open file, and cannot be closed in the child.
//   So the file that is mapped is opened a second time (A3).
//
//   SIGBUS: touching a mapped page raises it if the file has become shorter. It is also raised if
//   the system cannot read or write the page. Causes are a full copy-on-write disk, a file or a
//   filesystem that became read-only, and a disk that fails. A chained handler replaces our mapping
//   by zeros, which reads as "no state at all" (word.hpp, W3), and notes which of the two it was.
//   It passes every other SIGBUS on. A thread that blocks SIGBUS would be killed by it. So each
//   thread unblocks it, once, before it touches a mapping (prepare_thread).
//
//   close(): a program that closes all its descriptors closes ours. The number may then refer to
//   another file, so is_ours() asks before it is used.
//
// (A1) The address of the image does not change during the life of an attachment: attach and detach
//      remap the same range in place. So any thread may look at the word at any time. One
//      exception: the system may unmap the range and then map nothing in its place, not even zeros.
//      The image is then one of zeros that all such attachments share, until the next attach.
// (A2) Records of attachments are never freed, only reused: the signal handler and the fork handler
//      walk them without a lock.
// (A3) No lock is ever held through the open file that is mapped.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <lockbyfile/error.hpp>
#include <lockbyfile/options.hpp>
#include <string>

#include "file/layout.hpp"

namespace lockbyfile::file {

enum class access { read_only, read_write };

/// What SIGBUS has shown about a mapping.
enum class fault : std::uint8_t {
  none,
  truncated,  // the file became shorter
  unusable,   // the system could not read or write it; the file may be as it was
};

/// Whether SIGBUS reaches our handler in this thread, as far as we know. The access must stay an
/// instruction or two, because each fast acquire reads it. Where the C library is not glibc, a
/// library that is loaded late may not use this model.
#ifdef __GLIBC__
[[gnu::tls_model("initial-exec")]]
#endif
extern constinit thread_local bool thread_is_prepared;

/// No thread of this process forks while this is held. Hold it around the last look at forks_seen()
/// and attach(), so that no child inherits the lifeline by a descriptor that no record knows.
/// Blocks for as long as another thread holds it. A signal handler that forks meanwhile in the same
/// thread is let through.
class hold_off_fork {
 public:
  hold_off_fork();
  ~hold_off_fork();
  hold_off_fork(const hold_off_fork&) = delete;
  hold_off_fork& operator=(const hold_off_fork&) = delete;
};

/// Changes when a thread of this process begins a fork and when it ends one. If it stayed the same
/// since a descriptor was opened, and that descriptor is attached under hold_off_fork, no child has
/// it. So a call that may hang needs no hold_off_fork, which would make all forks hang with it.
[[nodiscard]] std::uint64_t forks_seen() noexcept;

/// The error of a mapping that failed, with advice.
[[nodiscard]] lock_error cannot_map(int error, const std::string& path);

class attachment {
 public:
  /// Reserves the range, for the lockfile at `path`. Throws lock_error with the system's error.
  attachment(const std::string& path, truncation_guard guard);
  ~attachment();
  attachment(const attachment&) = delete;
  attachment& operator=(const attachment&) = delete;

  /// Takes `fd` over and maps `mapped`, the same file. Nothing may be attached: call detach()
  /// first. Leaves `mapped` open. On failure returns false with errno; `fd` is still the caller's,
  /// and zeros are mapped.
  bool attach(int fd, int mapped, access how, const struct stat& identity) noexcept;

  /// Closes the descriptor, if it is still ours, and maps zeros. Harmless twice.
  void detach() noexcept;

  [[nodiscard]] image& get() const noexcept { return *image_.load(std::memory_order_relaxed); }
  [[nodiscard]] int fd() const noexcept;

  /// Whether the descriptor is in this process and still the one that was attached.
  [[nodiscard]] bool is_ours() const noexcept;

  /// Whether `other` is the file that was attached last.
  [[nodiscard]] bool is_same_file(const struct stat& other) const noexcept;

  /// Maps `mapped`, the same file, in place of the zeros that a fault has left. On failure returns
  /// false with errno.
  bool map_again(int mapped) noexcept;

  /// What happened to the mapping while attached.
  [[nodiscard]] fault found_fault() const noexcept;
  /// Notes that the attached file is no longer one of ours.
  void note_truncation() noexcept;
  [[nodiscard]] access how() const noexcept { return how_; }

  /// Makes SIGBUS reach the handler in this thread, unless the program handles SIGBUS itself.
  void prepare_thread() const noexcept;

  struct record;

 private:
  void close_descriptor() noexcept;
  bool map(int mapped) noexcept;
  bool map_nothing() noexcept;

  record* record_;
  std::atomic<image*> image_;  // (A1); relaxed
  const bool is_guarded_;
  bool is_mapped_ = false;  // the file; otherwise zeros
  access how_ = access::read_write;
};

}  // namespace lockbyfile::file
