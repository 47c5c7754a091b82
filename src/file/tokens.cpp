// SPDX-License-Identifier: Apache-2.0
#include "file/tokens.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <lockbyfile/error.hpp>
#include <optional>

#include "core/instant.hpp"
#include "core/name.hpp"
#include "file/lifeline.hpp"
#include "file/point.hpp"
#include "file/word.hpp"
#include "linux/apart.hpp"
#include "linux/system_calls.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile::file {

namespace {

constexpr std::uint64_t reserve = std::uint64_t{1} << 30;
constexpr std::uint64_t longest_wait_us = 1'000'000;
constexpr unsigned most_tries = 1000;  // of 100 us at least
constexpr std::size_t digits = 16;
constexpr std::size_t line_size = digits + 1;
constexpr byte_range guard_byte{0, 1};
constexpr std::string_view suffix = ".tokens";

void wait_us(std::uint64_t us) noexcept {
  const std::uint32_t nobody_wakes = 0;
  const auto until = to_timespec(now() + us * 1000);
  sys.futex_wait(&nobody_wakes, 0, &until);
}

std::string mark_path(const std::string& path) { return path + std::string(suffix); }

int open_mark(const std::string& path, int flags) noexcept {
  return sys.open(mark_path(path).c_str(),
                  flags | O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
}

/// fork is not held off while a mark is open, because the calls may hang, on a frozen filesystem
/// for instance. So a child may have the descriptor, but through it no share in a lock.
void close_mark(int fd) noexcept {
  let_go(fd, guard_byte);
  sys.close(fd);
}

struct mark_content {
  std::uint64_t largest = 0;   // of its lines
  std::size_t unfinished = 0;  // bytes of a last line whose writer ran out of disk space
};

/// None, with errno, on failure: EINVAL for a file that is no mark. Nobody has ever relied on an
/// unfinished line.
std::optional<mark_content> read_mark(int fd) noexcept {
  struct stat s {};
  if (sys.fstat(fd, &s) != 0) return std::nullopt;
  errno = EINVAL;
  if (!S_ISREG(s.st_mode)) return std::nullopt;
  mark_content found;
  for (off_t offset = 0;; offset += line_size) {
    char line[line_size];
    const ssize_t n = sys.pread(fd, line, sizeof line, offset);
    if (n == 0) return found;
    if (n < 0) return std::nullopt;
    errno = EINVAL;
    if (n < static_cast<ssize_t>(line_size) && offset > 0 &&
        std::all_of(line, line + n, [](char c) { return c >= '0' && c <= '9'; })) {
      found.unfinished = static_cast<std::size_t>(n);
      return found;
    }
    std::uint64_t mark = 0;
    if (n != line_size || line[digits] != '\n') return std::nullopt;
    const auto [end, error] = std::from_chars(line, line + digits, mark);
    if (error != std::errc{} || end != line + digits) return std::nullopt;
    if (mark > word::counter_end + reserve) return std::nullopt;  // not one of ours
    found.largest = std::max(found.largest, mark);
  }
}

/// Appends a line. If there is an unfinished line, finishes it first, which makes that line smaller
/// than it would have been.
bool append(int fd, std::uint64_t mark, std::size_t unfinished) noexcept {
  std::string text;
  if (unfinished != 0) text.assign(digits - unfinished, '0') += '\n';
  const std::string number = std::to_string(mark);
  text.append(digits - std::min(digits, number.size()), '0') += number + '\n';
  struct stat s {};
  struct rlimit limit {};
  if (sys.fstat(fd, &s) != 0) return false;
  if (sys.file_size_limit(&limit) == 0 &&  // beyond it a write ends the process by SIGXFSZ
      static_cast<std::uint64_t>(s.st_size) + text.size() > limit.rlim_cur) {
    errno = EFBIG;
    return false;
  }
  const ssize_t n = sys.write(fd, text.data(), text.size());
  if (n >= 0) errno = ENOSPC;  // if it is less than all
  return n == static_cast<ssize_t>(text.size());
}

int create_mark(const std::string& path, int lockfile) noexcept {
  const int fd = open_mark(path, O_CREAT | O_EXCL);
  struct stat like {};
  if (fd >= 0 && sys.fstat(lockfile, &like) == 0) {
    sys.fchown(fd, static_cast<uid_t>(-1), like.st_gid);
    sys.fchmod(fd, like.st_mode & 0777);
  }
  return fd;
}

bool leads_to(const std::string& path, int fd) noexcept {
  struct stat there {};
  struct stat here {};
  return sys.lstat(mark_path(path).c_str(), &there) == 0 && sys.fstat(fd, &here) == 0 &&
         there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

[[noreturn]] void cannot_read(int error, const std::string& path) {
  throw lock_error({error, std::system_category()},
                   "cannot read the last tokens from " + mark_path(path), path);
}

enum class raised { yes, busy, failed };

raised raise_mark_in(const std::string& path, int fd, std::uint64_t token,
                     std::uint64_t& mark) noexcept {
  switch (try_reserve(fd, guard_byte)) {
    case try_result::failed: return raised::failed;
    case try_result::busy: return raised::busy;
    case try_result::taken: break;
  }
  if (!leads_to(path, fd)) return raised::busy;  // removed before we had it
  auto found = read_mark(fd);
  if (found && found->unfinished != 0) {  // only one at a time can finish it
    if (try_hold(fd, guard_byte) != try_result::taken) return raised::busy;
    found = read_mark(fd);
  }
  if (!found) return raised::failed;
  mark = found->largest;
  if (mark >= token) return raised::yes;  // another process was faster
  mark = token + reserve;
  reach(point::mark_reserved);
  if (!append(fd, mark, found->unfinished)) return raised::failed;
  reach(point::mark_raised);
  return raised::yes;
}

raised try_to_raise(const std::string& path, int lockfile, std::uint64_t token,
                    std::uint64_t& mark) noexcept {
  int fd = open_mark(path, 0);
  if (fd < 0 && errno == ENOENT) fd = create_mark(path, lockfile);
  if (fd < 0) return errno == EEXIST ? raised::busy : raised::failed;
  const raised done = raise_mark_in(path, fd, token, mark);
  const int error = errno;
  close_mark(fd);
  errno = error;
  return done;
}

/// A mark of at least `token`; none, with errno, on failure.
std::optional<std::uint64_t> raise_mark(const std::string& path, int lockfile,
                                        std::uint64_t token) noexcept {
  for (unsigned tries = 0; tries < most_tries; ++tries) {
    std::uint64_t mark = 0;
    switch (try_to_raise(path, lockfile, token, mark)) {
      case raised::yes: return mark;
      case raised::failed: return std::nullopt;
      case raised::busy: wait_us(100);
    }
  }
  errno = EBUSY;
  return std::nullopt;
}

}  // namespace

std::uint64_t first_counter(const std::string& path) {
  const uncancelled us;
  std::uint64_t mark = 0;
  const int fd = open_mark(path, 0);
  if (fd >= 0) {
    const auto found = read_mark(fd);
    const int error = errno;
    sys.close(fd);
    if (!found && error == EINVAL) {
      throw lock_error(errc::damaged, mark_path(path) + " holds no token", path);
    }
    if (!found) cannot_read(error, path);
    mark = found->largest;
    if (mark >= word::counter_end - reserve) {
      throw lock_error(errc::damaged, mark_path(path) + " leaves no tokens", path);
    }
  } else if (errno != ENOENT && errno != ENAMETOOLONG) {
    cannot_read(errno, path);
  }
  const std::uint64_t clock = wall_clock_us();
  if (clock >= word::counter_end - reserve) {
    throw lock_error(errc::clock_mismatch,
                     "the wall clock is past the year 2112, for which there are no tokens; " +
                         path + " cannot begin to count",
                     path);
  }
  return std::max(mark, clock) + 1;
}

std::uint64_t last_removal_in(const std::string& path) noexcept {
  struct stat s {};
  if (sys.lstat((path.substr(0, path.rfind('/') + 1) + ".").c_str(), &s) != 0) return 0;
  if (s.st_mtim.tv_sec < 0) return 0;
  constexpr std::uint64_t tick_us = 10'000;  // of the clock that stamps directories
  const std::uint64_t changed = from_timespec(s.st_mtim) / 1000 + tick_us;
  const bool is_usable = changed < word::counter_end - 2 * reserve;
  return is_usable && changed > wall_clock_us() + tick_us ? changed : 0;
}

std::uint64_t raise_ceiling(const std::string& path, int lockfile, std::uint64_t token) {
  const std::uint64_t clock = wall_clock_us();
  if (token <= clock) return clock;
  const uncancelled us;
  if (const auto mark = raise_mark(path, lockfile, token)) return *mark;
  const int error = errno;
  const std::uint64_t ahead = token - clock;
  if (ahead > longest_wait_us) {
    throw lock_error({error, std::system_category()},
                     "tokens are ahead of the clock, and cannot be kept in " + mark_path(path),
                     path);
  }
  while (wall_clock_us() < token) wait_us(token - std::min(token, wall_clock_us()));
  return token;
}

void remove_passed_mark(const std::string& path) noexcept {
  const uncancelled us;
  const int fd = open_mark(path, 0);
  if (fd < 0) return;
  if (try_hold(fd, guard_byte) == try_result::taken && leads_to(path, fd)) {
    const std::uint64_t mark = read_mark(fd).value_or(mark_content{}).largest;
    if (mark != 0 && mark < wall_clock_us()) sys.unlink(mark_path(path).c_str());
  }
  close_mark(fd);
}

static int remove_passed_mark_at(void* path) {
  remove_passed_mark(static_cast<const char*>(path));
  return 0;
}

void remove_passed_marks(const std::string& directory) noexcept {
  std::error_code ec;
  for (std::filesystem::directory_iterator i(directory, ec), end; !ec && i != end;
       i.increment(ec)) {
    std::string path = i->path().string();
    if (!path.ends_with(suffix)) continue;
    path.resize(path.size() - suffix.size());
    struct stat s {};
    if (sys.lstat(path.c_str(), &s) == 0 || errno != ENOENT) continue;
    // Our look must not drop the program's own locks on a file of another kind.
    if (path.ends_with(lockfile_suffix) || run_apart(remove_passed_mark_at, path.data()) < 0) {
      remove_passed_mark(path);
    }
  }
}

}  // namespace lockbyfile::file
