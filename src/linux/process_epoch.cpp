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
constinit cell unwiped{0};     // used where the kernel cannot wipe

constexpr std::size_t page = 4096;

cell* make_cell() noexcept {
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
  // Not a guarded static: a child that is forked while a thread is in there would wait for that
  // thread forever. If threads make a cell at once, the first to store it names it.
  cell* c = epoch_cell.load(std::memory_order_acquire);
  if (c == nullptr) {
    ::pthread_atfork(nullptr, nullptr, [] { unwiped.store(0, std::memory_order_relaxed); });
    cell* const made = make_cell();
    if (epoch_cell.compare_exchange_strong(c, made)) {
      c = made;
    } else if (made != &unwiped) {
      ::munmap(made, page);
    }
  }

  // If threads arrive here at once, the first to store names the process.
  std::uint64_t epoch = 0;
  const std::uint64_t fresh = last_epoch.fetch_add(1, std::memory_order_relaxed) + 1;
  return c->compare_exchange_strong(epoch, fresh, std::memory_order_relaxed) ? fresh : epoch;
}

}  // namespace lockbyfile
