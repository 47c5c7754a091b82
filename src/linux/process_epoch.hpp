// SPDX-License-Identifier: Apache-2.0
//
// Which process am I? A number that differs between a process and every child forked from it,
// however it was forked. Reading it costs one load. It lives in a page that the kernel wipes in the
// child (MADV_WIPEONFORK, Linux 4.14). getpid() would be a system call, and pthread_atfork alone
// misses a raw clone().
#pragma once

#include <atomic>
#include <cstdint>

namespace lockbyfile {

namespace detail {
extern std::atomic<std::atomic<std::uint64_t>*> epoch_cell;
std::uint64_t begin_epoch() noexcept;
}  // namespace detail

/// Never 0. Async-signal-safe after the first call in the process.
inline std::uint64_t process_epoch() noexcept {
  const auto* cell = detail::epoch_cell.load(std::memory_order_acquire);
  const std::uint64_t epoch = cell == nullptr ? 0 : cell->load(std::memory_order_relaxed);
  return epoch != 0 ? epoch : detail::begin_epoch();
}

}  // namespace lockbyfile
