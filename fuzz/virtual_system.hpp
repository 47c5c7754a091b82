// SPDX-License-Identifier: Apache-2.0
//
// The system of the lockfile target. It makes every run of an input the same, at any time and on
// any machine. The boot and the time namespace are always the same. Time is virtual and begins anew
// with every input. A clock moves by a microsecond when it is read. Nobody sleeps: a wait moves the
// clock to the end of the wait. Sleeping forever is a finding, as there is nobody to wake us.
#pragma once

#include <cerrno>
#include <fstream>
#include <string>
#include <string_view>

#include "core/instant.hpp"
#include "linux/system_calls.hpp"
#include "support.hpp"

namespace lockbyfile::fuzz {

class virtual_system {
 public:
  explicit virtual_system(const std::string& directory) {
    it().boot_id_path = directory + "/boot_id";
    std::ofstream(it().boot_id_path) << "10c4b7f1-1e00-4000-8000-00000000b007\n";
    it().real_open = sys.open;
    sys.open = open;
    sys.clock_gettime = clock_gettime;
    sys.kernel_clock_gettime = clock_gettime;
    sys.futex_wait = futex_wait;
  }

  /// Lets time begin anew.
  static void restart() noexcept { it().elapsed = 0; }
  static void advance(instant by) noexcept { it().elapsed += by; }

 private:
  static constexpr instant uptime = 1'000'000'000'000;             // at the beginning
  static constexpr instant wall_time = 1'800'000'000'000'000'000;  // likewise, in 2027
  static constexpr instant coarse_tick = milliseconds(4);

  static int open(const char* path, int flags, mode_t mode) {
    const std::string_view asked = path;
    if (asked == "/proc/self/ns/time") return errno = ENOENT, -1;
    if (asked == "/proc/sys/kernel/random/boot_id") path = it().boot_id_path.c_str();
    return it().real_open(path, flags, mode);
  }

  static int clock_gettime(clockid_t clock, struct timespec* result) {
    it().elapsed += 1000;
    instant now = (clock == CLOCK_REALTIME ? wall_time : uptime) + it().elapsed;
    if (clock == CLOCK_MONOTONIC_COARSE) now -= now % coarse_tick;
    *result = to_timespec(now);
    return 0;
  }

  static int futex_wait(const std::uint32_t* word, std::uint32_t expected,
                        const struct timespec* deadline) {
    if (*word != expected) return errno = EAGAIN, -1;
    require(deadline != nullptr, "nobody sleeps for ever");
    const instant end = from_timespec(*deadline);
    if (end > uptime + it().elapsed) it().elapsed = end - uptime;
    return errno = ETIMEDOUT, -1;
  }

  struct state {
    instant elapsed = 0;
    std::string boot_id_path;
    int (*real_open)(const char*, int, mode_t) = nullptr;
  };
  static state& it() {
    static state the_one;
    return the_one;
  }
};

}  // namespace lockbyfile::fuzz
