// SPDX-License-Identifier: Apache-2.0
#include "file/tokens.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <lockbyfile/error.hpp>
#include <optional>

#include "core/instant.hpp"
#include "file/attachment.hpp"
#include "file/lifeline.hpp"
#include "file/word.hpp"

namespace lockbyfile::file {

namespace {

constexpr std::uint64_t reserve = std::uint64_t{1} << 26;
constexpr std::uint64_t longest_wait_us = 1'000'000;
constexpr unsigned most_tries = 10'000;  // of 100 us at least
constexpr std::string_view suffix = ".tokens";

std::uint64_t wall_clock_us() noexcept { return read_clock(CLOCK_REALTIME) / 1000; }

void wait_us(std::uint64_t us) noexcept {
  const std::uint32_t nobody_wakes = 0;
  const auto until = to_timespec(now() + us * 1000);
  sys.futex_wait(&nobody_wakes, 0, &until);
}

int open_mark(const std::string& path, int flags) noexcept {
  return sys.open((path + std::string(suffix)).c_str(),
                  flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
}

/// 0 for an empty file, nothing for one that holds no number.
std::optional<std::uint64_t> read_mark(int fd) noexcept {
  char text[24] = {};
  const ssize_t n = sys.pread(fd, text, sizeof text, 0);
  if (n < 0) return std::nullopt;
  if (n == 0) return 0;
  std::uint64_t mark = 0;
  const auto [end, error] = std::from_chars(text, text + n, mark);
  if (error != std::errc{} || end == text + n || *end != '\n') return std::nullopt;
  if (mark >= word::counter_end) return std::nullopt;
  return mark;
}

bool write_mark(int fd, std::uint64_t mark) noexcept {
  // The same width always, so that a mark never has the tail of another.
  std::string text = std::to_string(mark);
  text.insert(0, 16 - std::min<std::size_t>(16, text.size()), '0');
  text += '\n';
  return sys.pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
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

enum class raised { yes, busy, failed };

raised raise_mark_in(int fd, std::uint64_t token, std::uint64_t& mark) noexcept {
  struct stat s {};
  if (sys.fstat(fd, &s) != 0) return raised::failed;
  if (!S_ISREG(s.st_mode)) {
    errno = EINVAL;
    return raised::failed;
  }
  switch (try_hold(fd, {0, 1})) {
    case try_result::failed: return raised::failed;
    case try_result::busy: return raised::busy;
    case try_result::taken: break;
  }
  const auto found = read_mark(fd);
  if (!found) {
    errno = EINVAL;
    return raised::failed;
  }
  mark = *found;
  if (mark >= token) return raised::yes;  // somebody else was faster
  if (sys.fstat(fd, &s) != 0) return raised::failed;
  if (s.st_nlink == 0) return raised::busy;  // removed before we had it
  mark = token + reserve;
  return write_mark(fd, mark) ? raised::yes : raised::failed;
}

raised try_to_raise(const std::string& path, int lockfile, std::uint64_t token,
                    std::uint64_t& mark) noexcept {
  const auto no_fork = hold_off_fork();
  int fd = open_mark(path, 0);
  if (fd < 0 && errno == ENOENT) fd = create_mark(path, lockfile);
  if (fd < 0) return errno == EEXIST ? raised::busy : raised::failed;
  const raised done = raise_mark_in(fd, token, mark);
  const int error = errno;
  sys.close(fd);
  errno = error;
  return done;
}

/// A mark of at least `token`; nothing, with errno, on failure.
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
  std::uint64_t mark = 0;
  const int fd = open_mark(path, 0);
  if (fd >= 0) {
    const auto found = read_mark(fd);
    sys.close(fd);
    if (!found) {
      throw lock_error(errc::damaged, path + std::string(suffix) + " holds no token", path);
    }
    mark = *found;
  } else if (errno != ENOENT && errno != ENAMETOOLONG) {
    throw lock_error({errno, std::system_category()},
                     "cannot read the last tokens from " + path + std::string(suffix), path);
  }
  return std::max(mark, wall_clock_us()) + 1;
}

std::uint64_t raise_ceiling(const std::string& path, int lockfile, std::uint64_t token) {
  const std::uint64_t clock = wall_clock_us();
  if (token <= clock) return clock;
  if (const auto mark = raise_mark(path, lockfile, token)) return *mark;
  const int error = errno;
  const std::uint64_t ahead = token - clock;
  if (ahead > longest_wait_us) {
    throw lock_error(
        {error, std::system_category()},
        "tokens are ahead of the clock, and cannot be kept in " + path + std::string(suffix), path);
  }
  while (wall_clock_us() < token) wait_us(token - std::min(token, wall_clock_us()));
  return token;
}

void remove_passed_mark(const std::string& path) noexcept {
  const auto no_fork = hold_off_fork();
  const int fd = open_mark(path, 0);
  if (fd < 0) return;
  if (try_hold(fd, {0, 1}) == try_result::taken) {
    const auto mark = read_mark(fd);
    if (mark && *mark < wall_clock_us()) sys.unlink((path + std::string(suffix)).c_str());
  }
  sys.close(fd);
}

void remove_passed_marks(const std::string& directory) noexcept {
  std::error_code ec;
  for (std::filesystem::directory_iterator i(directory, ec), end; !ec && i != end;
       i.increment(ec)) {
    std::string path = i->path().string();
    if (!path.ends_with(suffix)) continue;
    path.resize(path.size() - suffix.size());
    struct stat s {};
    if (sys.lstat(path.c_str(), &s) != 0 && errno == ENOENT) remove_passed_mark(path);
  }
}

}  // namespace lockbyfile::file
