// SPDX-License-Identifier: Apache-2.0
#include "demo_log.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace lockbyfile::demo {

void write_line(const std::string& text) {
  const std::string line = text + '\n';
  // A demo goes on even if nobody can read it any more.
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, line.data(), line.size());
}

std::string time_and_process() {
  using namespace std::chrono;
  const auto now = system_clock::now();
  const std::time_t whole = system_clock::to_time_t(now);
  const auto milliseconds = static_cast<int>(now.time_since_epoch() / 1ms % 1000);
  std::tm local{};
  ::localtime_r(&whole, &local);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "[%02d:%02d:%02d.%03d] [pId=%d] ", local.tm_hour,
                local.tm_min, local.tm_sec, milliseconds, ::getpid());
  return text.data();
}

}  // namespace lockbyfile::demo
