// SPDX-License-Identifier: Apache-2.0
#include "file/attachment.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <cerrno>
#include <lockbyfile/error.hpp>

#include "linux/system_calls.hpp"

namespace lockbyfile::file {

struct attachment::record {
  std::atomic<void*> base{nullptr};  // null: not in use
  std::atomic<int> fd{-1};
  std::atomic<bool> guarded{false};
  std::atomic<bool> truncated{false};
  record* next = nullptr;  // set before the record is published
};

namespace {

using record = attachment::record;

constinit std::atomic<record*> records{nullptr};
constinit std::mutex fork_mutex;
struct sigaction previous_action;

record* take_record(void* base) {
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    void* unused = nullptr;
    if (r->base.compare_exchange_strong(unused, base)) return r;
  }
  auto* fresh = new record;
  fresh->base.store(base, std::memory_order_relaxed);
  fresh->next = records.load(std::memory_order_relaxed);
  while (!records.compare_exchange_weak(fresh->next, fresh)) {
  }
  return fresh;
}

void* map_zeros(void* where, int fixed) noexcept {
  return ::mmap(where, map_size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

void before_fork() { fork_mutex.lock(); }
void after_fork_in_parent() { fork_mutex.unlock(); }
void after_fork_in_child() {
  fork_mutex.unlock();
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    const int fd = r->fd.exchange(-1);
    if (fd >= 0) sys.close(fd);
  }
}

void hand_on(int signal, siginfo_t* info, void* context) noexcept {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN) {
    ::sigaction(signal, &previous_action, nullptr);  // the fault repeats and takes its course
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

std::unique_lock<std::mutex> hold_off_fork() { return std::unique_lock(fork_mutex); }

attachment::attachment(truncation_guard guard) {
  install_handlers(guard);
  void* range = map_zeros(nullptr, 0);
  if (range == MAP_FAILED) {
    throw lock_error({errno, std::system_category()}, "cannot reserve memory for a lock", "");
  }
  image_ = static_cast<image*>(range);
  record_ = take_record(range);
  record_->guarded.store(guard == truncation_guard::install);
  record_->truncated.store(false);
}

attachment::~attachment() {
  detach();
  record_->base.store(nullptr);
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
  // A number that open() just gave cannot be another attachment's: that one was
  // closed behind our back.
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    int same = fd;
    r->fd.compare_exchange_strong(same, -1);
  }
  record_->truncated.store(false);
  device_.store(identity.st_dev, std::memory_order_relaxed);
  inode_.store(identity.st_ino, std::memory_order_relaxed);
  record_->fd.store(fd);
  return true;
}

void attachment::detach() noexcept {
  const auto no_fork = hold_off_fork();
  const bool ours = is_ours();
  const int fd = record_->fd.exchange(-1);
  if (ours && fd >= 0) sys.close(fd);
  map_zeros(image_, MAP_FIXED);
}

int attachment::fd() const noexcept { return record_->fd.load(std::memory_order_relaxed); }

bool attachment::is_ours() const noexcept {
  struct stat s {};
  const int fd = record_->fd.load();
  return fd >= 0 && sys.fstat(fd, &s) == 0 && is_same_file(s);
}

bool attachment::is_same_file(const struct stat& other) const noexcept {
  return other.st_dev == device_.load(std::memory_order_relaxed) &&
         other.st_ino == inode_.load(std::memory_order_relaxed);
}

bool attachment::was_truncated() const noexcept { return record_->truncated.load(); }

}  // namespace lockbyfile::file
