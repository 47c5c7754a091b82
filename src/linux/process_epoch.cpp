// SPDX-License-Identifier: Apache-2.0
#include "linux/process_epoch.hpp"

#include <pthread.h>
#include <sys/mman.h>

namespace lockbyfile {

namespace detail {
constinit std::atomic<std::atomic<std::uint64_t>*> epoch_cell{nullptr};
}

namespace {

using cell = std::atomic<std::uint64_t>;

constinit cell last_epoch{0};  // copied by fork, so a child goes on counting
constinit cell unwiped{0};     // stands in where the kernel cannot wipe

cell* make_cell() noexcept {
  constexpr std::size_t page = 4096;
  void* p = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return &unwiped;
  if (::madvise(p, page, MADV_WIPEONFORK) != 0) {
    ::munmap(p, page);
    return &unwiped;
  }
  return static_cast<cell*>(p);  // a page of zeros is a cell of 0
}

}  // namespace

std::uint64_t detail::begin_epoch() noexcept {
  static cell* const c = [] {
    ::pthread_atfork(nullptr, nullptr, [] { unwiped.store(0, std::memory_order_relaxed); });
    return make_cell();
  }();
  epoch_cell.store(c, std::memory_order_release);

  // Of threads that arrive here at once, the first to store names the process.
  std::uint64_t epoch = 0;
  const std::uint64_t fresh = last_epoch.fetch_add(1, std::memory_order_relaxed) + 1;
  return c->compare_exchange_strong(epoch, fresh, std::memory_order_relaxed) ? fresh : epoch;
}

}  // namespace lockbyfile
