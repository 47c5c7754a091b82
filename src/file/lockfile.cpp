// SPDX-License-Identifier: Apache-2.0
#include "file/lockfile.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <lockbyfile/error.hpp>

#include "core/name.hpp"
#include "file/initialise.hpp"
#include "file/point.hpp"
#include "file/records.hpp"
#include "file/tokens.hpp"
#include "linux/apart.hpp"
#include "linux/clock_identity.hpp"
#include "linux/filesystem.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile::file {

namespace {

/// An error of a sandbox: seccomp and security modules report any of these.
bool is_denial(int error) noexcept { return error == EPERM || error == EACCES || error == ENOSYS; }

constexpr instant longest_pause = 100'000;
constexpr std::chrono::nanoseconds patience_with_others = std::chrono::seconds(2);

void pause(instant until) noexcept {
  const std::uint32_t nobody_wakes = 0;
  const auto t = to_timespec(until);
  sys.futex_wait(&nobody_wakes, 0, &t);
}

const char* kind_of(mode_t mode) noexcept {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISLNK(mode)) return "a symbolic link, which is not followed";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

lock_error cannot_lock(int error, const std::string& path) {
  std::string what = "cannot lock a byte of " + path;
  if (error == EINVAL || error == ENOSYS) {
    what +=
        " (open file description locks are missing: they need Linux 3.15, and a sandbox or "
        "emulator that passes them on)";
  } else if (error == ENOLCK || error == ENOMEM) {
    what += " (the system is out of memory for locks on files)";
  }
  return {{error, std::system_category()}, what, path};
}

}  // namespace

maintenance::maintenance(int fd, const std::string& path) : fd_(fd) {
  const instant deadline = after(now(), patience_with_others);
  for (;;) {
    switch (try_hold(fd, maintenance_byte)) {
      case try_result::taken: return;
      case try_result::failed: throw cannot_lock(errno, path);
      case try_result::busy: break;
    }
    if (now() >= deadline) {
      throw lock_error(errc::stuck, "another process has been setting up " + path + " for 2 s",
                       path);
    }
    pause(now() + milliseconds(1));
  }
}

lockfile::lockfile(std::string path, const lock_options& options)
    : path_(std::move(path)),
      mode_(options.mode),
      group_(options.group),
      any_filesystem_(options.any_filesystem),
      patience_(options.patience),
      gives_up_(options.gives_up),
      attachment_(path_, options.on_truncation) {}

void lockfile::fail(int error, const std::string& what) const {
  throw lock_error({error, std::system_category()}, what + " " + path_, path_);
}

void lockfile::require_true_clock() const {
  if (clock_is_the_kernels()) return;
  throw lock_error(errc::clock_mismatch,
                   path_ +
                       " needs the kernel's CLOCK_MONOTONIC, but this process has another (for "
                       "libfaketime set FAKETIME_DONT_FAKE_MONOTONIC=1)",
                   path_);
}

void lockfile::attach() {
  const uncancelled us;
  prepare_thread();
  try {
    require_true_clock();
    const instant deadline = after(now(), patience_with_others);
    bool is_last_try = false;  // after the deadline, since we may have been stopped
    const auto is_done = [&] {
      if (!attach_without_slot(access::read_write)) return false;
      require_thawed();
      return examine() == condition::ready && claim() == settled::yes;
    };
    while (!is_done()) {
      if (is_last_try) throw lock_error(errc::stuck, path_ + " has been changing for 2 s", path_);
      is_last_try = now() >= deadline;
      if (fd() < 0) {
        create();
      } else {
        mend();
      }
    }
  } catch (...) {
    throw_if_unusable();
    detach();
    throw;
  }
}

bool lockfile::attach_without_slot(access how) {
  const uncancelled us;
  prepare_thread();
  detach();
  own_slot_.store(no_slot, std::memory_order_relaxed);
  const instant lease_deadline =
      after(now(), has_been_attached_ ? std::min(patience_, patience_with_others) : patience_);
  struct stat s {};
  if (sys.lstat("/", &s) == 0) {
    root_device_.store(s.st_dev, std::memory_order_relaxed);
    root_inode_.store(s.st_ino, std::memory_order_relaxed);
  }
  // Asked before opening, because opening a device or a FIFO may act on it.
  const bool is_there = sys.lstat(path_.c_str(), &s) == 0;
  if (is_there && !S_ISREG(s.st_mode)) {
    throw lock_error(errc::wrong_engine, path_ + " is " + kind_of(s.st_mode), path_);
  }
  // Our look must not drop the program's own locks on a file of another kind.
  if (is_there && s.st_size == 0 && how == access::read_only) return false;
  if (is_there && s.st_size != 0 && !has_been_attached_ && !path_.ends_with(lockfile_suffix) &&
      (s.st_size > static_cast<off_t>(map_size) ||
       look_from_afar(path_.c_str()) == likeness::foreign)) {
    throw lock_error(errc::wrong_engine,
                     path_ + " is another program's file, not a lockfile; it is left alone", path_);
  }
  for (;;) {
    switch (open_and_map(how)) {
      case opened::nothing: return false;
      case opened::replaced: break;
      case opened::leased: wait_for_lease(lease_deadline); break;
      case opened::file: return how == access::read_write || examine() != condition::blank;
    }
  }
}

/// A process that has a lease on the file (F_SETLEASE) has been asked to give it up. It does so
/// soon, or the system takes the lease away after /proc/sys/fs/lease-break-time.
void lockfile::wait_for_lease(instant deadline) const {
  if (now() >= deadline) {
    throw lock_error({EWOULDBLOCK, std::system_category()},
                     "cannot open the lockfile " + path_ +
                         " (another program has a lease on it: F_SETLEASE, as Samba and nfsd take)",
                     path_);
  }
  if (gives_up_ && gives_up_()) {
    throw lock_error(errc::cancelled, "gave up opening " + path_, path_);
  }
  pause(std::min(deadline, now() + milliseconds(5)));
}

/// Called before the first store. Patience of less than a second counts as one second: a busy
/// machine may stop the child just before it asks.
void lockfile::require_thawed() const {
  constexpr std::chrono::nanoseconds least_patience = std::chrono::seconds(1);
  if (patience_ == forever || !shows_dirty_pages_ || sys.dirty_pages(fd(), first_size) != 0) return;
  if (write_comes_back(fd(), std::max(patience_, least_patience))) return;
  throw lock_error(errc::timed_out,
                   path_ + " cannot be written: its filesystem is frozen (fsfreeze)", path_);
}

lockfile::closing::~closing() {
  if (fd >= 0) sys.close(fd);
}

lockfile::opened lockfile::open_and_map(access how) {
  // Opening and closing may hang, so fork is not held off meanwhile. If a fork has seen the
  // descriptor, it is opened again.
  const std::uint64_t forks = forks_seen();
  closing lifeline(open_existing(how));
  if (lifeline.fd < 0 && errno == ENOENT) return opened::nothing;
  if (lifeline.fd < 0 && errno == EWOULDBLOCK) return opened::leased;
  if (lifeline.fd < 0) fail(errno, "cannot open the lockfile");
  if (how == access::read_only) {
    const hold_off_fork guard_of_fd;
    if (forks != forks_seen()) return opened::replaced;
    return take(lifeline, lifeline.fd, how);
  }
  // The lifeline is another open file than the mapping (attachment.hpp, A3).
  const closing mapped(open_existing(how));
  if (mapped.fd < 0 && errno == ENOENT) return opened::replaced;
  if (mapped.fd < 0 && errno == EWOULDBLOCK) return opened::leased;
  if (mapped.fd < 0) fail(errno, "cannot open the lockfile");
  const hold_off_fork guard_of_fd;
  if (forks != forks_seen()) return opened::replaced;
  return take(lifeline, mapped.fd, how);
}

int lockfile::open_existing(access how) const noexcept {
  const int flags = how == access::read_only ? O_RDONLY : O_RDWR;
  return uninterrupted([&] {
    return sys.open(path_.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
  });
}

lockfile::opened lockfile::take(closing& lifeline, int mapped, access how) {
  struct stat s {};
  struct stat other {};
  if (sys.fstat(lifeline.fd, &s) != 0 || sys.fstat(mapped, &other) != 0) {
    fail(errno, "cannot examine");
  }
  if (s.st_dev != other.st_dev || s.st_ino != other.st_ino) return opened::replaced;
  if (!S_ISREG(s.st_mode)) {
    throw lock_error(errc::wrong_engine, path_ + " is " + kind_of(s.st_mode), path_);
  }
  const filesystem_type type = filesystem_of(lifeline.fd);
  shows_dirty_pages_ = type.shows_dirty_pages;
  // Looking does no harm where hosts should not share a lock.
  const bool may_be_unknown = any_filesystem_ || how == access::read_only;
  if (type.where != locality::local && (type.where != locality::unknown || !may_be_unknown)) {
    if (type.where == locality::untold) fail(errno, "cannot tell the filesystem of");
    throw lock_error(errc::network_filesystem,
                     type.where == locality::network
                         ? path_ + " is on " + type.name + ", which other hosts may share"
                         : path_ + " is on a filesystem of the unknown type " + type.name +
                               ", which other hosts may share (if none does, any_filesystem or "
                               "--any-filesystem takes it for a local one)",
                     path_);
  }
  if (!attachment_.attach(lifeline.fd, mapped, how, s)) throw cannot_map(errno, path_);
  lifeline.fd = -1;
  return opened::file;
}

bool lockfile::has_room(std::uint64_t size) const noexcept {
  const std::uint32_t slots = get().header.capacity.load(std::memory_order_acquire);
  return slots >= first_capacity && slots <= slot_limit && size >= size_for(slots);
}

bool lockfile::is_at_path() const noexcept { return is_at_path(0); }

bool lockfile::is_current() const noexcept {
  const std::uint32_t slots = get().header.capacity.load(std::memory_order_acquire);
  const bool is_whole = is_signed() && slots >= first_capacity && slots <= slot_limit;
  return (is_whole && is_at_path(size_for(slots))) || (is_unusable() && is_at_path(first_size));
}

bool lockfile::is_signed() const noexcept { return has_signature(get().header); }

bool lockfile::is_at_path(std::uint64_t least_size) const noexcept {
  // The mapped file is no longer a regular file.
  if (attachment_.found_fault() == fault::truncated) return false;
  struct stat s {};
  const bool is_there = sys.lstat(path_.c_str(), &s) == 0;
  // Gone only if the system says so, and not if it just cannot tell.
  if (!is_there && errno != ENOENT && errno != ENOTDIR) return attachment_.is_ours();
  if (is_there && attachment_.is_same_file(s)) {
    return static_cast<std::uint64_t>(s.st_size) >= least_size && attachment_.is_ours();
  }
  // The path means nothing to a process that has another root directory by now. Such a process
  // counts a file as gone when it has no name left.
  return has_other_root() && sys.fstat(fd(), &s) == 0 && attachment_.is_same_file(s) &&
         s.st_nlink > 0 && static_cast<std::uint64_t>(s.st_size) >= least_size;
}

bool lockfile::has_other_root() const noexcept {
  struct stat s {};
  return sys.lstat("/", &s) == 0 && (s.st_dev != root_device_.load(std::memory_order_relaxed) ||
                                     s.st_ino != root_inode_.load(std::memory_order_relaxed));
}

// --- a mapping that the system cannot read or write -----------------------------------

int lockfile::cure() noexcept {
  if (!is_unusable() || !is_at_path()) return 0;
  const uncancelled us;
  // No lock is ever held by this descriptor, so a child may have it, and fork is not held off.
  const int fd = open_existing(attachment_.how());
  if (fd < 0) return errno;
  int error = probe(fd);
  if (error == 0 && is_unusable() && !attachment_.map_again(fd)) error = errno;
  sys.close(fd);
  return error;
}

/// Makes the system say what keeps it from reading or writing the file; a fault does not say it.
/// Writes a byte that is there already.
int lockfile::probe(int fd) noexcept {
  struct stat s {};
  if (sys.fstat(fd, &s) != 0) return errno;
  char start[sizeof signature];
  const ssize_t n = sys.pread(fd, start, sizeof start, 0);
  if (n < 0) return errno;
  if (!attachment_.is_same_file(s) || n != sizeof start ||
      std::memcmp(start, signature, sizeof start) != 0) {
    attachment_.note_truncation();  // replaced, or overwritten
    return 0;
  }
  if (attachment_.how() == access::read_only) return 0;
  const ssize_t written = sys.pwrite(fd, &signature[sizeof start - 1], 1, sizeof start - 1);
  if (written < 0) return errno;
  return written == 1 ? 0 : EIO;
}

void lockfile::throw_if_unusable() {
  const int error = cure();
  if (error == 0) return;
  detach();
  fail(error, "cannot read or write");
}

bool lockfile::names_us(std::uint64_t token) const noexcept {
  const std::uint32_t own = own_slot();
  if (own >= slot_limit || !attachment_.is_ours()) return false;
  bool is_untold = false;
  const auto read = [&](std::size_t offset) {
    std::uint64_t n = 0;
    const ssize_t got = sys.pread(fd(), &n, sizeof n, static_cast<off_t>(offset));
    if (got < 0) is_untold = true;
    return got == sizeof n ? n : 0;
  };
  const bool is_held = word(read(offsetof(header, word))).is_held_by(own);
  const std::uint64_t found =
      read(offsetof(image, slots) + own * sizeof(slot) + offsetof(slot, token));
  return (is_held && found == token) || is_untold;
}

std::uint32_t lockfile::capacity() const noexcept {
  const std::uint32_t n = get().header.capacity.load(std::memory_order_acquire);
  return n < slot_limit ? n : slot_limit;
}

void lockfile::throw_never_used() const {
  struct stat s {};
  const bool is_there = fd() >= 0 || sys.lstat(path_.c_str(), &s) == 0;  // not opened if empty
  const char* const what = is_there ? "nobody has ever used " : "there is no lockfile ";
  throw lock_error(errc::not_found, what + path_, path_);
}

void lockfile::throw_damaged() const {
  struct stat s {};
  const bool is_short = sys.fstat(fd(), &s) == 0 && s.st_size < static_cast<off_t>(first_size);
  throw lock_error(errc::damaged,
                   path_ +
                       (is_short || attachment_.found_fault() == fault::truncated
                            ? " was truncated"
                            : " was overwritten, or is damaged") +
                       "; it is made anew once nobody has it open, or when it is deleted",
                   path_);
}

// --- creating -----------------------------------------------------------------

void lockfile::create() {
  removed_until_ = last_removal_in(path_);  // before we change the directory ourselves
  if (!create_nameless()) create_in_place();
}

bool lockfile::create_nameless() {
  const std::string directory = path_.substr(0, path_.rfind('/') + 1);
  // No lock is ever held by this descriptor, so a child may have it, and fork is not held off.
  const int fd = uninterrupted(
      [&] { return sys.open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); });
  if (fd < 0) {
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT ||
        is_denial(errno)) {
      return false;
    }
    fail(errno, "cannot create the lockfile");
  }
  closing lifeline(fd);
  take(lifeline, fd, access::read_write);
  set_permissions();
  allocate(first_size, "cannot allocate room for");
  // A tombstone: by the time the file has its name, others may have used and deleted a lockfile of
  // that name. So mend() sets its counter afterwards.
  initialise_blank(get(), first_capacity, this_clock_and_origin(),
                   word::free_at(std::max<std::uint64_t>(1, removed_until_)).entombed());
  reach(point::file_made);

  // Opening a lockfile takes two descriptors. If there is no second one, fail now.
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  const int second = uninterrupted([&] { return sys.open(self.c_str(), O_RDWR | O_CLOEXEC, 0); });
  if (second >= 0) sys.close(second);
  if (second < 0 && errno != ENOENT && errno != ENOTDIR && !is_denial(errno))
    fail(errno, "cannot open the lockfile");
  if (sys.linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) != 0 &&
      errno != EEXIST) {
    // Where a nameless file cannot be linked, creating one with a name may be possible.
    if (errno == ENOENT || errno == EOPNOTSUPP || errno == EXDEV || errno == EINVAL ||
        errno == ENOTDIR || errno == ELOOP || errno == EMLINK || is_denial(errno)) {
      return false;
    }
    fail(errno, "cannot link the lockfile to");
  }
  reach(point::file_linked);
  return true;
}

void lockfile::create_in_place() {
  detach();
  const int fd = uninterrupted([&] {
    return sys.open(path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  });
  if (fd < 0) {
    if (errno == EEXIST) return;
    fail(errno, "cannot create the lockfile");
  }
  closing lifeline(fd);
  take(lifeline, fd, access::read_write);
  set_permissions();
  reach(point::file_made);
}

void lockfile::set_permissions() {
  if (group_ && sys.fchown(fd(), static_cast<uid_t>(-1), *group_) != 0) {
    fail(errno, "cannot set the group of");
  }
  if (sys.fchmod(fd(), mode_) != 0) fail(errno, "cannot set the mode of");
}

// --- examining and mending -------------------------------------------------------

std::uint64_t lockfile::size_now() const {
  struct stat s {};
  if (sys.fstat(fd(), &s) != 0) fail(errno, "cannot examine");
  return static_cast<std::uint64_t>(s.st_size);
}

condition lockfile::examine() const {
  const std::uint64_t size = size_now();
  if (size == 0) return condition::blank;

  const header& h = get().header;
  const auto foreign = [&](const std::string& why) {
    if (is_unusable()) fail(EIO, "cannot read or write");  // and so it reads as zeros
    throw lock_error(errc::wrong_engine, path_ + " " + why + "; it is left alone", path_);
  };
  if (!has_signature(h)) {
    if (is_half_made(fd(), size)) return condition::blank;
    // Unless its creator has finished meanwhile.
    if (!has_signature(h)) foreign("is another program's file, not a lockfile");
  }
  if (size < sizeof(header)) return condition::damaged;
  const std::uint32_t format = h.format.load(std::memory_order_relaxed);
  const std::uint32_t flags = h.flags.load(std::memory_order_relaxed);
  if (format != format_version || flags != 0) {
    foreign("has format " + std::to_string(format) + ", flags " + std::to_string(flags) +
            ", which this version does not know");
  }
  // In this order, since the file may be growing: room, capacity, a grant in it.
  const word w(h.word.load());
  const std::uint32_t slots = h.capacity.load(std::memory_order_acquire);
  if (!w.is_sane() || (w.is_held() && w.slot() >= slots)) return condition::damaged;
  if (!has_room(size) && !has_room(size_now())) return condition::damaged;
  if (!has_our_clock()) return condition::other_clock;
  return w.is_tombstone() ? condition::tombstone : condition::ready;
}

bool lockfile::is_proven(const clock_identity& recorded) const noexcept {
  return proven_ && proven_->boot_id[0] == recorded.boot_id[0] &&
         proven_->boot_id[1] == recorded.boot_id[1] && proven_->origin == recorded.origin;
}

bool lockfile::has_our_clock() const {
  const clock_identity recorded = recorded_clock(get().header);
  clock_identity ours = this_clock();
  if (same_boot_id(recorded, ours) && recorded.time_namespace != 0 &&
      recorded.time_namespace == ours.time_namespace) {
    return true;
  }
  ours = this_clock_and_origin();
  return (same_boot(recorded, ours) || is_proven(recorded)) && same_time_namespace(recorded, ours);
}

/// (F3), for a caller that knows that nobody resets the file.
bool lockfile::learn_kernel() {
  const clock_identity recorded = recorded_clock(get().header);
  if (!same_time_namespace(recorded, this_clock_and_origin())) return false;
  if (!is_held_elsewhere(fd(), all_lifelines)) return false;
  proven_ = recorded;
  return true;
}

void lockfile::prove_kernel() {
  if (has_our_clock() || !learn_kernel() || proven_->has_boot_id()) return;
  // The wall clock was set, and there is no id: the others must know the file by its new origin.
  proven_->origin = this_clock_and_origin().origin;
  get().header.clock_origin.store(proven_->origin, std::memory_order_release);
}

condition lockfile::judge() {
  const instant deadline = after(now(), patience_with_others);
  for (;;) {
    const condition found = examine();
    if (found != condition::other_clock || !is_held_elsewhere(fd(), all_lifelines)) return found;
    const clock_identity seen = recorded_clock(get().header);
    if (!is_held_elsewhere(fd(), maintenance_byte) && learn_kernel() && is_proven(seen)) {
      return examine();
    }
    if (!same_time_namespace(seen, this_clock_and_origin()) || now() >= deadline) return found;
    pause(now() + milliseconds(1));
  }
}

void lockfile::mend() {
  const maintenance alone(fd(), path_);
  if (!is_at_path()) return;
  const condition why = examine();
  if (why == condition::tombstone) {
    // The writer of this tombstone held the maintenance lock until the file was gone. It is not
    // gone, and we have that lock: the remover died. Or the file is new.
    const word w(get().header.word.load());
    std::uint64_t bits = w.bits();
    const word revived = word::free_at(std::max(w.counter() + 1, first_token()));
    reach(point::revival_decided);
    if (w.is_tombstone() && get().header.word.compare_exchange_strong(bits, revived.bits())) {
      get().header.first_counter.store(revived.counter(), std::memory_order_relaxed);
      get().header.home.store(home(), std::memory_order_relaxed);
    }
  } else if (why != condition::ready) {
    reset(why);
  }
}

// --- tokens of the path's other files ---------------------------------------------------

std::uint64_t lockfile::first_token() const {
  return std::max(first_counter(path_), removed_until_);
}

/// A number for this file at this path: a hash of its inode, its directory and its name. 0 if the
/// system does not report them. Device numbers and the whole path are left out, because others may
/// see the file under other ones. The inode's birth is included, because a new file often gets the
/// number of a deleted one.
std::uint64_t lockfile::home() const noexcept {
  struct stat file {};
  struct stat directory {};
  const std::size_t name = path_.rfind('/') + 1;
  if (sys.fstat(fd(), &file) != 0) return 0;
  if (sys.lstat((path_.substr(0, name) + ".").c_str(), &directory) != 0) return 0;
  std::uint64_t birth = 0;
  if (sys.birth(fd(), &birth) != 0) birth = 0;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const std::uint64_t number :
       {std::uint64_t{file.st_ino}, std::uint64_t{directory.st_ino}, birth}) {
    for (unsigned i = 0; i < 64; i += 8) add(static_cast<unsigned char>(number >> i));
  }
  for (std::size_t i = name; i < path_.size(); ++i) add(static_cast<unsigned char>(path_[i]));
  return hash | 1;
}

std::uint64_t lockfile::tokens_before() {
  header& h = get().header;
  const std::uint64_t here = home();
  if (here == 0 || h.home.load(std::memory_order_relaxed) == here) return 0;
  const std::uint64_t least = first_counter(path_);
  // The first token above it must not be ahead of the clock, or it would need a mark (tokens.hpp).
  if (least <= wall_clock_us() + 1) pause(now() + 5'000);
  const word found(h.word.load());
  std::uint64_t bits = found.bits();
  if (found.is_sane() && found.is_free()) {
    const std::uint64_t counter = std::max(found.counter() + 1, least);
    const word above = found.was_broken() ? word::broken_at(counter) : word::free_at(counter);
    if (h.word.compare_exchange_strong(bits, above.bits())) {
      h.home.store(here, std::memory_order_relaxed);
    }
  }
  return least;
}

void lockfile::note_departure() noexcept {
  if (was_replaced() && is_signed()) get().header.home.store(0, std::memory_order_relaxed);
}

void lockfile::reset(condition why) {
  switch (try_hold(fd(), all_lifelines)) {
    case try_result::taken: break;
    case try_result::failed: fail_to_lock(errno);
    case try_result::busy:
      if (why == condition::other_clock) {
        prove_kernel();
        if (has_our_clock()) return;
        if (!is_held_elsewhere(fd(), all_lifelines)) {  // reserved only: by a claim, for a moment
          pause(now() + milliseconds(1));
          return;
        }
        throw lock_error(errc::clock_mismatch,
                         path_ +
                             " is in use by processes in another time namespace, whose clock "
                             "cannot be compared with ours",
                         path_);
      }
      throw_damaged();
  }
  reach(point::lifelines_held);
  try {
    allocate(first_size, "cannot allocate room for");
  } catch (...) {
    let_go(fd(), all_lifelines);
    throw;
  }
  const word left(get().header.word.load());
  const bool trusted = why == condition::other_clock && left.is_sane();
  const word first = word::free_at(std::max(trusted ? left.counter() + 1 : 0, first_token()));
  if (why == condition::blank) {
    initialise_blank(get(), first_capacity, this_clock_and_origin(), first);
  } else {
    if (!trusted) clear_records(get().header);
    reinitialise(get(), first_capacity, this_clock_and_origin(), first);
  }
  get().header.home.store(home(), std::memory_order_relaxed);
  let_go(fd(), all_lifelines);
}

void lockfile::fail_to_lock(int error) const { throw cannot_lock(error, path_); }

void lockfile::allocate(std::size_t size, const char* what) const {
  struct stat s {};
  struct rlimit limit {};
  const bool is_short = sys.fstat(fd(), &s) == 0 && static_cast<std::uint64_t>(s.st_size) < size;
  // Asked first, because the kernel would answer with SIGXFSZ, which ends the program.
  if (is_short && sys.file_size_limit(&limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < size) {
    throw lock_error({EFBIG, std::system_category()},
                     std::string(what) + " " + path_ + " (it needs " + std::to_string(size) +
                         " bytes, and the limit on the size of files, ulimit -f, is " +
                         std::to_string(limit.rlim_cur) + ")",
                     path_);
  }
  if (uninterrupted([&] { return sys.fallocate(fd(), 0, static_cast<off_t>(size)); }) == 0) return;
  const bool has_none = errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM;
  if (has_none && fill(is_short ? static_cast<std::uint64_t>(s.st_size) : size, size)) return;
  fail(errno, what);
}

/// Writes zeros where the filesystem cannot allocate (ext2, ext3, ramfs, eCryptfs). Only past the
/// end: the part before may be in use.
bool lockfile::fill(std::uint64_t from, std::uint64_t to) const noexcept {
  static constexpr char zeros[4096] = {};
  while (from < to) {
    const std::size_t part = std::min<std::uint64_t>(to - from, sizeof zeros);
    const ssize_t n =
        uninterrupted([&] { return sys.pwrite(fd(), zeros, part, static_cast<off_t>(from)); });
    if (n == 0) errno = ENOSPC;
    if (n <= 0) return false;
    from += static_cast<std::uint64_t>(n);
  }
  return true;
}

// --- claiming a slot -----------------------------------------------------------------

lockfile::settled lockfile::claim() {
  header& h = get().header;
  // The first page will be written to. Asking for it at once saves a page fault.
  ::madvise(&get(), first_size, MADV_POPULATE_WRITE);
  const std::uint32_t slots = capacity();
  const std::uint32_t hint = h.slot_hint.load(std::memory_order_relaxed);
  bool collided = false;
  for (std::uint32_t i = 0; i < slots; ++i) {
    const std::uint32_t s = (hint % slots + i) % slots;
    const auto names_it = [&] { return word(h.word.load()).is_held_by(s); };
    if (names_it()) continue;  // (F1)
    reach(point::slot_chosen);
    switch (try_reserve(fd(), lifeline_of(s))) {
      case try_result::busy: continue;
      case try_result::failed: fail_to_lock(errno);
      case try_result::taken: break;
    }
    reach(point::slot_reserved);
    const bool is_named = names_it();
    if (is_named || try_hold(fd(), lifeline_of(s)) != try_result::taken) {  // (F1)
      let_go(fd(), lifeline_of(s));
      collided = collided || !is_named;
      continue;
    }
    reach(point::lifeline_held);
    if (examine() != condition::ready || !is_current()) {  // (F2)
      let_go(fd(), lifeline_of(s));
      return settled::try_again;
    }
    h.slot_hint.store(s + 1 < slots ? s + 1 : 0, std::memory_order_relaxed);
    own_slot_.store(s, std::memory_order_relaxed);
    has_been_attached_ = true;
    // The last owner's ticket, if it died while waiting: for those behind it the queue moved (L4).
    if (own().ticket.exchange(0) != 0) h.moves.fetch_add(1);
    return settled::yes;
  }
  if (collided) {
    pause(now() + now() % longest_pause);  // otherwise two claimants may keep step
  } else {
    grow(slots);
  }
  return settled::try_again;
}

void lockfile::grow(std::uint32_t seen) {
  const maintenance alone(fd(), path_);
  header& h = get().header;
  const std::uint32_t slots = h.capacity.load(std::memory_order_acquire);
  if (slots != seen) return;  // another process was faster
  if (slots >= slot_limit) {
    throw lock_error(errc::too_many_sessions,
                     path_ + " is open in " + std::to_string(slot_limit) + " sessions already",
                     path_);
  }
  const std::uint32_t grown =
      std::min(slot_limit, capacity_in(2 * size_for(slots) + first_size - 1));
  allocate(size_for(grown), "cannot allocate room for another session in");
  reach(point::room_allocated);
  h.capacity.store(grown, std::memory_order_release);
}

}  // namespace lockbyfile::file
