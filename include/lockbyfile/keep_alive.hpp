// SPDX-License-Identifier: Apache-2.0
//
// keep_alive: renews a held lock from a thread of its own.
//
// Lets a job of unknown length use a short lease: if the process hangs as a
// whole (stopped, swapped out), the lock opens after the lease; if it dies, at
// once; while it works, the lease is renewed every third of its length.
#pragma once

#include <functional>
#include <lockbyfile/export.hpp>
#include <lockbyfile/named_lock.hpp>
#include <memory>
#include <system_error>
#include <thread>

namespace lockbyfile {
inline namespace v0 {

class LOCKBYFILE_EXPORT keep_alive {
 public:
  /// Keeps renewing the grant that `lock` holds now, until this object is stopped
  /// or destroyed, or the lock is released. If the grant is lost, `on_lost` is
  /// called once, from the renewing thread, and the thread ends; it must not throw
  /// and may be empty. A lock without a lease is watched in the same way, every
  /// 100 ms, so that a break or a deleted file is told. A lock in etcd is told lost at once,
  /// and when its servers do not answer, as soon as they may give it to others.
  ///
  /// In `on_lost`, last_failure() has the cause of the loss and who holds the lock now. Several
  /// of one lock are independent of each other.
  ///
  /// `lock` may be moved, released or destroyed while this object lives. Throws
  /// lock_error (not_holder) if `lock` holds nothing.
  explicit keep_alive(named_lock& lock, std::function<void(std::error_code)> on_lost = {});

  /// Stops, and waits for the thread (not when called from `on_lost` itself).
  ~keep_alive();
  keep_alive(const keep_alive&) = delete;
  keep_alive& operator=(const keep_alive&) = delete;

  void stop() noexcept;

 private:
  std::jthread thread_;
};

}  // namespace v0
}  // namespace lockbyfile
