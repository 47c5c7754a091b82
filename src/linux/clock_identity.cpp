// SPDX-License-Identifier: Apache-2.0
#include "linux/clock_identity.hpp"

#include <atomic>
#include <cctype>
#include <cerrno>
#include <lockbyfile/error.hpp>
#include <optional>
#include <string>

#include "core/instant.hpp"
#include "linux/process_epoch.hpp"
#include "linux/system_calls.hpp"

namespace lockbyfile {

namespace {

constexpr const char* boot_id_path = "/proc/sys/kernel/random/boot_id";
constexpr const char* time_namespace_path = "/proc/self/ns/time";

// Threads that read at once store the same values. So there is no lock, which a child forked
// meanwhile would find locked forever.
std::atomic<std::uint64_t> cached[3];
std::atomic<std::uint64_t> cached_for{0};  // process epoch: unshare acts on children

/// For a file that we cannot see: no /proc, or a part of it that a sandbox hides.
bool is_hidden(int error) noexcept {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM;
}

/// Leaves zeros where no id can be seen.
void read_boot_id(std::uint64_t (&id)[2]) {
  char text[40] = {};
  const int fd = sys.open(boot_id_path, O_RDONLY | O_CLOEXEC, 0);
  const ssize_t n = fd < 0 ? -1 : sys.pread(fd, text, sizeof text - 1, 0);
  const int error = errno;
  if (fd >= 0) sys.close(fd);
  if (fd < 0 && is_hidden(error)) return;

  unsigned digits = 0;
  for (ssize_t i = 0; i < n; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (std::isxdigit(c) == 0) continue;
    const unsigned value =
        std::isdigit(c) != 0 ? c - '0' : static_cast<unsigned>(std::tolower(c)) - 'a' + 10;
    if (digits < 32) id[digits / 16] = id[digits / 16] << 4 | value;
    ++digits;
  }
  if (digits != 32) {
    throw lock_error(n < 0 ? std::error_code(error, std::system_category())
                           : make_error_code(std::errc::protocol_error),
                     std::string("cannot tell this boot from the last one by ") + boot_id_path,
                     boot_id_path);
  }
}

/// The namespace's inode; 0 where the kernel has none; none where a sandbox hides it. Any other
/// failure may pass, and is an error: taken for 0 it would set us apart from all other processes.
std::optional<std::uint64_t> read_time_namespace() {
  const int fd = sys.open(time_namespace_path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return 0;
  if (fd < 0 && (errno == EACCES || errno == EPERM)) return std::nullopt;
  struct stat s {};
  const int r = fd < 0 ? -1 : sys.fstat(fd, &s);
  const int error = errno;
  if (fd >= 0) sys.close(fd);
  if (r == 0) return s.st_ino;
  throw lock_error({error, std::system_category()},
                   std::string("cannot tell the time namespace by ") + time_namespace_path,
                   time_namespace_path);
}

constexpr std::uint64_t origin_slack = milliseconds(20);

/// Uses the kernel's clocks, because libfaketime fakes the C library's.
std::uint64_t read_origin() noexcept {
  std::uint64_t best = 0;
  instant shortest = never;
  for (int tries = 0; tries < 8 && shortest > milliseconds(1); ++tries) {  // we may be held up
    struct timespec before {};
    struct timespec wall {};
    struct timespec after {};
    if (sys.kernel_clock_gettime(CLOCK_BOOTTIME, &before) != 0 ||
        sys.kernel_clock_gettime(CLOCK_REALTIME, &wall) != 0 ||
        sys.kernel_clock_gettime(CLOCK_BOOTTIME, &after) != 0) {
      return 0;
    }
    const instant took = from_timespec(after) - from_timespec(before);
    if (took >= shortest) continue;
    shortest = took;
    best = from_timespec(wall) - from_timespec(before) - took / 2;
  }
  return best;
}

}  // namespace

bool same_origin(const clock_identity& a, const clock_identity& b) noexcept {
  return a.origin != 0 && b.origin != 0 &&
         (a.origin - b.origin <= origin_slack || b.origin - a.origin <= origin_slack);
}

bool same_boot_id(const clock_identity& a, const clock_identity& b) noexcept {
  return a.has_boot_id() && a.boot_id[0] == b.boot_id[0] && a.boot_id[1] == b.boot_id[1];
}

bool same_boot(const clock_identity& a, const clock_identity& b) noexcept {
  if (a.has_boot_id() && b.has_boot_id()) return same_boot_id(a, b);
  return same_origin(a, b);
}

bool same_time_namespace(const clock_identity& a, const clock_identity& b) noexcept {
  if (a.time_namespace != 0 && b.time_namespace != 0) return a.time_namespace == b.time_namespace;
  if (same_origin(a, b)) return true;
  // Both see /proc and no namespace in it: the kernel has none.
  return a.time_namespace == b.time_namespace && a.has_boot_id() && b.has_boot_id();
}

clock_identity this_clock() {
  const std::uint64_t epoch = process_epoch();
  if (cached_for.load(std::memory_order_acquire) == epoch) {
    return {{cached[0].load(std::memory_order_relaxed), cached[1].load(std::memory_order_relaxed)},
            cached[2].load(std::memory_order_relaxed)};
  }
  clock_identity fresh;
  read_boot_id(fresh.boot_id);
  const auto time_namespace = read_time_namespace();
  fresh.time_namespace = time_namespace.value_or(0);
  cached[0].store(fresh.boot_id[0], std::memory_order_relaxed);
  cached[1].store(fresh.boot_id[1], std::memory_order_relaxed);
  cached[2].store(fresh.time_namespace, std::memory_order_relaxed);
  if (time_namespace) cached_for.store(epoch, std::memory_order_release);
  return fresh;
}

clock_identity this_clock_and_origin() {
  clock_identity ours = this_clock();
  ours.origin = read_origin();
  return ours;
}

bool clock_is_the_kernels() noexcept {
  constexpr instant slack = milliseconds(1);
  struct timespec t {};
  const instant before = now();
  if (sys.kernel_clock_gettime(CLOCK_MONOTONIC, &t) != 0) return true;  // it does not say
  const instant after = now();
  const instant kernels = from_timespec(t);
  return before <= kernels + slack && kernels <= after + slack;
}

void forget_this_clock() noexcept { cached_for.store(0); }

}  // namespace lockbyfile
