// SPDX-License-Identifier: Apache-2.0
#include "file/attachment.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <cerrno>
#include <iterator>
#include <lockbyfile/error.hpp>
#include <memory>
#include <mutex>
#include <new>

#include "linux/system_calls.hpp"

namespace lockbyfile::file {

struct attachment::record {
  std::atomic<void*> base{nullptr};  // null: not in use
  std::atomic<int> fd{-1};
  std::atomic<bool> guarded{false};
  std::atomic<bool> truncated{false};
  std::atomic<std::uint64_t> device{0};  // of the file
  std::atomic<std::uint64_t> inode{0};

  [[nodiscard]] bool is_same_file(const struct stat& other) const noexcept {
    return other.st_dev == device.load(std::memory_order_relaxed) &&
           other.st_ino == inode.load(std::memory_order_relaxed);
  }
  /// Whether the number still stands for the file.
  [[nodiscard]] bool is_open_as(int number) const noexcept {
    struct stat s {};
    return number >= 0 && sys.fstat(number, &s) == 0 && is_same_file(s);
  }

  record* next = nullptr;  // set before the record is published
};

namespace {

using record = attachment::record;

constinit std::atomic<record*> records{nullptr};
constinit std::mutex fork_mutex;
constinit thread_local bool this_thread_holds_off_fork = false;
struct sigaction previous_action;

constinit std::atomic<std::size_t> records_made{0};
constinit std::atomic<std::size_t> records_used{0};

record* take_record(void* base) {
  if (records_used.fetch_add(1) < records_made.load()) {
    for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
      void* unused = nullptr;
      if (r->base.compare_exchange_strong(unused, base)) return r;
    }
  }
  records_made.fetch_add(1);
  auto* fresh = new record;
  fresh->base.store(base, std::memory_order_relaxed);
  fresh->next = records.load(std::memory_order_relaxed);
  while (!records.compare_exchange_weak(fresh->next, fresh)) {
  }
  return fresh;
}

/// Who attached with a descriptor last: nobody else can have it. Null for one that is too large
/// for the table, or where there is no memory for it.
std::atomic<record*>* last_with(int fd) noexcept {
  constexpr std::size_t block_size = 512;
  struct block {
    std::atomic<record*> last[block_size]{};
  };
  static constinit std::atomic<block*> blocks[2048];
  const auto number = static_cast<std::size_t>(fd);
  if (number / block_size >= std::size(blocks)) return nullptr;
  std::atomic<block*>& at = blocks[number / block_size];
  block* found = at.load(std::memory_order_acquire);
  if (found == nullptr) {
    std::unique_ptr<block> fresh(new (std::nothrow) block);
    if (fresh == nullptr) return nullptr;
    if (at.compare_exchange_strong(found, fresh.get())) found = fresh.release();
  }
  return &found->last[number % block_size];
}

/// A number that open() just gave to `owner` cannot be another attachment's: that one was closed
/// behind our back.
void forget_in_others(int fd, record* owner) noexcept {
  if (std::atomic<record*>* const last = last_with(fd); last != nullptr) {
    int same = fd;
    record* const other = last->exchange(owner);
    if (other != nullptr && other != owner) other->fd.compare_exchange_strong(same, -1);
    return;
  }
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    int same = fd;
    r->fd.compare_exchange_strong(same, -1);
  }
}

void* map_zeros(void* where, int fixed) noexcept {
  return sys.mmap(where, map_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

void before_fork() {
  if (!this_thread_holds_off_fork) fork_mutex.lock();
}
void after_fork_in_parent() {
  if (!this_thread_holds_off_fork) fork_mutex.unlock();
}
void after_fork_in_child() {
  after_fork_in_parent();
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    const int fd = r->fd.exchange(-1);
    if (r->is_open_as(fd)) sys.close(fd);
  }
}

void hand_on(int signal, siginfo_t* info, void* context) noexcept {
  const bool was_sent = info->si_code <= 0;  // by kill(2) and the like; else it is a fault
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_IGN && was_sent) {
    return;
  } else if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN) {
    ::signal(signal, SIG_DFL);  // a fault repeats now, and takes its course
    if (was_sent) ::raise(signal);
  } else {
    previous_action.sa_handler(signal);
  }
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    void* const range = r->base.load(std::memory_order_acquire);
    const auto base = reinterpret_cast<std::uintptr_t>(range);
    if (range == nullptr || !r->guarded.load(std::memory_order_relaxed)) continue;
    if (info->si_code <= 0 || address < base || address - base >= map_size) continue;
    r->truncated.store(true, std::memory_order_relaxed);
    if (map_zeros(range, MAP_FIXED) == MAP_FAILED) break;
    errno = saved_errno;
    return;
  }
  errno = saved_errno;
  hand_on(signal, info, context);
}

void install_handlers(truncation_guard guard) {
  static std::once_flag fork_handler;
  std::call_once(fork_handler,
                 [] { ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); });
  if (guard == truncation_guard::leave_out) return;
  static std::once_flag bus_handler;
  std::call_once(bus_handler, [] {
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, nullptr, &previous_action);
    ::sigaction(SIGBUS, &action, nullptr);
  });
}

}  // namespace

hold_off_fork::hold_off_fork() {
  fork_mutex.lock();
  this_thread_holds_off_fork = true;
}

void hold_off_fork::end() noexcept {
  if (!is_held_) return;
  is_held_ = false;
  this_thread_holds_off_fork = false;
  fork_mutex.unlock();
}

attachment::attachment(const std::string& path, truncation_guard guard) {
  install_handlers(guard);
  void* range = map_zeros(nullptr, 0);
  if (range == MAP_FAILED) {
    const std::error_code why(errno, std::system_category());
    throw lock_error(why,
                     "cannot map " + path +
                         " (a process can have vm.max_map_count mappings, and as much address "
                         "space as its limits allow)",
                     path);
  }
  image_ = static_cast<image*>(range);
  record_ = take_record(range);
  record_->guarded.store(guard == truncation_guard::install);
  record_->truncated.store(false);
}

attachment::~attachment() {
  close_descriptor();
  record_->base.store(nullptr);
  records_used.fetch_sub(1);
  sys.munmap(image_, map_size);
}

bool attachment::attach(int fd, int mapped, access how, const struct stat& identity) noexcept {
  const int protection = how == access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  if (sys.mmap(image_, map_size, protection, MAP_SHARED | MAP_FIXED, mapped, 0) == MAP_FAILED) {
    const int error = errno;
    sys.close(fd);
    errno = error;
    return false;
  }
  forget_in_others(fd, record_);
  record_->truncated.store(false);
  record_->device.store(identity.st_dev, std::memory_order_relaxed);
  record_->inode.store(identity.st_ino, std::memory_order_relaxed);
  record_->fd.store(fd);
  is_mapped_ = true;
  return true;
}

void attachment::detach() noexcept {
  close_descriptor();
  if (is_mapped_) map_zeros(image_, MAP_FIXED);
  is_mapped_ = false;
}

void attachment::close_descriptor() noexcept {
  const hold_off_fork guard;
  const int fd = record_->fd.exchange(-1);
  if (record_->is_open_as(fd)) sys.close(fd);
}

int attachment::fd() const noexcept { return record_->fd.load(std::memory_order_relaxed); }

bool attachment::is_ours() const noexcept {
  const int number = fd();
  struct stat s {};
  if (number < 0) return false;
  // Closed only if the system says so: not if it just cannot tell.
  return sys.fstat(number, &s) == 0 ? is_same_file(s) : errno != EBADF;
}

bool attachment::is_same_file(const struct stat& other) const noexcept {
  return record_->is_same_file(other);
}

bool attachment::was_truncated() const noexcept { return record_->truncated.load(); }

}  // namespace lockbyfile::file
