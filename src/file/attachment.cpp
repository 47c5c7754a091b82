// SPDX-License-Identifier: Apache-2.0
#include "file/attachment.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <lockbyfile/error.hpp>
#include <memory>
#include <mutex>
#include <new>

#include "core/stay_loaded.hpp"
#include "linux/system_calls.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile::file {

constinit thread_local bool thread_is_prepared = false;

struct attachment::record {
  std::atomic<void*> base{nullptr};  // null: not in use
  std::atomic<int> fd{-1};
  std::atomic<int> closing{-1};  // the value of `fd` while it is being closed
  std::atomic<bool> guarded{false};
  std::atomic<fault> found{fault::none};
  std::atomic<std::uint64_t> device{0};  // of the file
  std::atomic<std::uint64_t> inode{0};

  [[nodiscard]] bool is_same_file(const struct stat& other) const noexcept {
    return other.st_dev == device.load(std::memory_order_relaxed) &&
           other.st_ino == inode.load(std::memory_order_relaxed);
  }
  /// Whether the number still refers to the file.
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

/// The last attachment that got this descriptor; no other can have it. Null if the number is too
/// large for the table, or if there is no memory for it.
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

/// open() just gave this number to `owner`, so no other attachment can have it. An attachment that
/// claims it had its descriptor closed without our knowledge.
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

/// Maps zeros in place of a range that is mapped. A process that has all the mappings it can have
/// gets no new one, not even in place of an old one. Then the range is unmapped to make room. If
/// another thread maps something there meanwhile, that is left alone.
bool put_zeros(void* range) noexcept {
  if (map_zeros(range, MAP_FIXED) != MAP_FAILED) return true;
  return sys.munmap(range, map_size) == 0 && map_zeros(range, MAP_FIXED_NOREPLACE) == range;
}

/// The image where not even zeros could be mapped. Nobody writes to it: it has no signature.
constinit image nothing{};

constinit std::atomic<std::uint64_t> fork_events{0};

void before_fork() {
  fork_events.fetch_add(1);
  if (!this_thread_holds_off_fork) fork_mutex.lock();
}
void after_fork_in_parent() {
  fork_events.fetch_add(1);
  if (!this_thread_holds_off_fork) fork_mutex.unlock();
}
void after_fork_in_child() {
  after_fork_in_parent();
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    for (std::atomic<int>* const known : {&r->fd, &r->closing}) {
      const int fd = known->exchange(-1);
      if (r->is_open_as(fd)) sys.close(fd);
    }
  }
}

void hand_on(int signal, siginfo_t* info, void* context) noexcept {
  const bool was_sent = info->si_code <= 0;  // by kill(2) and the like; otherwise a fault
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_IGN && was_sent) {
    return;
  } else if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN) {
    ::signal(signal, SIG_DFL);  // the fault repeats now, and ends the process
    if (was_sent) ::raise(signal);
  } else {
    previous_action.sa_handler(signal);
  }
}

/// Whether the file ends before `offset`, or can no longer be asked.
bool ends_before(const record& r, std::uintptr_t offset) noexcept {
  struct stat s {};
  const int fd = r.fd.load();
  if (fd < 0 || sys.fstat(fd, &s) != 0 || !r.is_same_file(s)) return true;
  return static_cast<std::uint64_t>(s.st_size) <= offset;
}

bool answer_fault(record& r, void* range, std::uintptr_t offset) noexcept {
  r.found.store(ends_before(r, offset) ? fault::truncated : fault::unusable);
  return put_zeros(range);
}

/// A handler that was installed after ours may pass a fault of ours on by raise(), as Python's
/// faulthandler does. Then nothing shows where the fault was. So each file that has become shorter
/// counts as its cause. The instruction is repeated when we return.
bool answer_raised() noexcept {
  bool is_answered = false;
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    void* const range = r->base.load(std::memory_order_acquire);
    if (range == nullptr || !r->guarded.load(std::memory_order_relaxed)) continue;
    struct stat s {};
    const int fd = r->fd.load();
    if (fd < 0 || r->found.load() != fault::none || sys.fstat(fd, &s) != 0) continue;
    const auto size = static_cast<std::size_t>(s.st_size);
    if (!r->is_same_file(s)) continue;
    const header& h = static_cast<const image*>(range)->header;
    if (size >= first_size &&
        size >= size_for(std::min(slot_limit, h.capacity.load(std::memory_order_relaxed)))) {
      continue;
    }
    r->found.store(fault::truncated);
    is_answered = put_zeros(range) || is_answered;
  }
  return is_answered;
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (record* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    void* const range = r->base.load(std::memory_order_acquire);
    const auto base = reinterpret_cast<std::uintptr_t>(range);
    if (range == nullptr || !r->guarded.load(std::memory_order_relaxed)) continue;
    if (info->si_code <= 0 || address < base || address - base >= map_size) continue;
    if (!answer_fault(*r, range, address - base)) break;
    errno = saved_errno;
    return;
  }
  const bool is_raised = info->si_code == SI_TKILL && info->si_pid == ::getpid();
  if (is_raised && answer_raised()) {
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
    // Our own libraries are linked so that they stay. Of other libraries we do not know.
    if (&stay_loaded != nullptr) stay_loaded();
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, nullptr, &previous_action);
    ::sigaction(SIGBUS, &action, nullptr);
  });
}

}  // namespace

std::uint64_t forks_seen() noexcept { return fork_events.load(); }

hold_off_fork::hold_off_fork() {
  fork_mutex.lock();
  this_thread_holds_off_fork = true;
}

hold_off_fork::~hold_off_fork() {
  this_thread_holds_off_fork = false;
  fork_mutex.unlock();
}

lock_error cannot_map(int error, const std::string& path) {
  std::string what = "cannot map " + path;
  switch (error) {
    case EAGAIN:
      what +=
          " (after mlockall(MCL_FUTURE) each lock counts 512 KiB against RLIMIT_MEMLOCK, ulimit "
          "-l, which is too small)";
      break;
    case ENOMEM:
      what +=
          " (memory is used up, or vm.max_map_count, or what address space the limits of the "
          "process allow)";
      break;
    case ENODEV:
    case EINVAL: what += " (its filesystem has no shared mappings)"; break;
    case EPERM:
    case EACCES: what += " (a security module or the mount forbids it)"; break;
    default: break;
  }
  return {{error, std::system_category()}, what, path};
}

attachment::attachment(const std::string& path, truncation_guard guard)
    : is_guarded_(guard == truncation_guard::install) {
  install_handlers(guard);
  void* range = map_zeros(nullptr, 0);
  if (range == MAP_FAILED) throw cannot_map(errno, path);
  image_.store(static_cast<image*>(range), std::memory_order_relaxed);
  record_ = take_record(range);
  record_->guarded.store(is_guarded_);
  record_->found.store(fault::none);
}

attachment::~attachment() {
  close_descriptor();
  record_->base.store(nullptr);
  records_used.fetch_sub(1);
  if (&get() != &nothing) sys.munmap(&get(), map_size);
}

/// On failure the system may already have unmapped the range, and another thread might map
/// something of its own there. So the range is taken again at once.
bool attachment::map(int mapped) noexcept {
  if (&get() == &nothing) {
    void* const range = map_zeros(nullptr, 0);
    if (range == MAP_FAILED) return false;
    image_.store(static_cast<image*>(range), std::memory_order_relaxed);
    record_->base.store(range);
    record_->guarded.store(is_guarded_);
  }
  const int protection = how_ == access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  is_mapped_ =
      sys.mmap(&get(), map_size, protection, MAP_SHARED | MAP_FIXED, mapped, 0) != MAP_FAILED;
  if (is_mapped_) return true;
  const int error = errno;
  map_nothing();
  errno = error;
  return false;
}

/// False if there was not even room for zeros. The range is then given up.
bool attachment::map_nothing() noexcept {
  is_mapped_ = false;
  if (&get() == &nothing || put_zeros(&get())) return true;
  record_->guarded.store(false);  // anything that is mapped there later is not ours
  image_.store(&nothing, std::memory_order_relaxed);
  return false;
}

bool attachment::attach(int fd, int mapped, access how, const struct stat& identity) noexcept {
  how_ = how;
  if (!map(mapped)) return false;
  forget_in_others(fd, record_);
  record_->found.store(fault::none);
  record_->device.store(identity.st_dev, std::memory_order_relaxed);
  record_->inode.store(identity.st_ino, std::memory_order_relaxed);
  record_->fd.store(fd);
  return true;
}

bool attachment::map_again(int mapped) noexcept {
  if (!map(mapped)) return false;
  record_->found.store(fault::none);
  return true;
}

void attachment::detach() noexcept {
  close_descriptor();
  if (is_mapped_) map_nothing();
}

/// A child that is forked at any point here finds the descriptor in one of the two fields.
void attachment::close_descriptor() noexcept {
  const uncancelled us;
  int fd = record_->fd.load();
  if (fd < 0) return;
  record_->closing.store(fd);
  if (!record_->fd.compare_exchange_strong(fd, -1)) return;  // another thread closes it
  if (record_->is_open_as(fd)) sys.close(fd);
  record_->closing.store(-1);
}

int attachment::fd() const noexcept { return record_->fd.load(std::memory_order_relaxed); }

bool attachment::is_ours() const noexcept {
  const int number = fd();
  struct stat s {};
  if (number < 0) return false;
  // Closed only if the system says so, and not if it just cannot tell.
  return sys.fstat(number, &s) == 0 ? is_same_file(s) : errno != EBADF;
}

bool attachment::is_same_file(const struct stat& other) const noexcept {
  return record_->is_same_file(other);
}

fault attachment::found_fault() const noexcept { return record_->found.load(); }

void attachment::note_truncation() noexcept { record_->found.store(fault::truncated); }

void attachment::prepare_thread() const noexcept {
  if (thread_is_prepared || !is_guarded_) return;
  sigset_t bus;
  sigemptyset(&bus);
  sigaddset(&bus, SIGBUS);
  ::pthread_sigmask(SIG_UNBLOCK, &bus, nullptr);
  thread_is_prepared = true;
}

}  // namespace lockbyfile::file
