// SPDX-License-Identifier: Apache-2.0
#include "linux/process_epoch.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>

namespace lockbyfile {

namespace {

using epoch_cell = std::atomic<std::uint64_t>;

constinit epoch_cell last_epoch{0};  // copied by fork, so a child goes on counting
constinit epoch_cell unwiped{0};     // stands in where the kernel cannot wipe
constinit std::atomic<epoch_cell*> cell{nullptr};

epoch_cell* make_cell() noexcept {
  static epoch_cell* const made = [] {
    constexpr std::size_t page = 4096;
    void* p = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return &unwiped;
    if (::madvise(p, page, MADV_WIPEONFORK) != 0) {
      ::munmap(p, page);
      return &unwiped;
    }
    return static_cast<epoch_cell*>(p);  // a page of zeros is an epoch_cell of 0
  }();
  cell.store(made, std::memory_order_release);
  return made;
}

void wipe_in_child() noexcept { unwiped.store(0, std::memory_order_relaxed); }

}  // namespace

std::uint64_t process_epoch() noexcept {
  epoch_cell* c = cell.load(std::memory_order_acquire);
  if (c == nullptr) [[unlikely]] {
    on_fork_in_child(wipe_in_child);
    c = make_cell();
  }
  std::uint64_t epoch = c->load(std::memory_order_relaxed);
  if (epoch == 0) [[unlikely]] {
    const std::uint64_t fresh = last_epoch.fetch_add(1, std::memory_order_relaxed) + 1;
    // Two threads may arrive here at once: the first to store names the process.
    if (c->compare_exchange_strong(epoch, fresh, std::memory_order_relaxed)) epoch = fresh;
  }
  return epoch;
}

void on_fork_in_child(void (*handler)() noexcept) { ::pthread_atfork(nullptr, nullptr, handler); }

}  // namespace lockbyfile
