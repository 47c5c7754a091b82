// SPDX-License-Identifier: Apache-2.0
//
// keep_alive: renews a held lock from a thread of its own.
//
// It lets a job of unknown length use a short lease. While the process works, the lease is renewed
// every third of its length. If the process hangs as a whole (stopped, swapped out), the lock opens
// after the lease. If the process dies, the lock opens at once.
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
  /// Keeps renewing the grant that `lock` holds now, until this object is stopped or destroyed, or
  /// the lock is released. If the grant is lost, `on_lost` is called once, from the renewing
  /// thread, and the thread ends. `on_lost` must not throw and may be empty.
  ///
  /// A lock without a lease is watched in the same way, every 100 ms, so that a break or a deleted
  /// file is reported. The loss of a lock in etcd is reported at once. If its servers do not
  /// answer, the loss is reported as soon as they may give the lock to others.
  ///
  /// In `on_lost`, last_failure() has the cause of the loss and who holds the lock now. Several
  /// keep_alives of one lock are independent of each other.
  ///
  /// `lock` may be moved, released or destroyed while this object lives. Throws
  /// lock_error (not_holder) if `lock` holds nothing.
  explicit keep_alive(named_lock& lock, std::function<void(std::error_code)> on_lost = {});

  /// Stops, and waits for the thread (except when called from `on_lost` itself).
  ~keep_alive();
  keep_alive(const keep_alive&) = delete;
  keep_alive& operator=(const keep_alive&) = delete;

  void stop() noexcept;

 private:
  std::jthread thread_;
};

}  // namespace v0
}  // namespace lockbyfile
