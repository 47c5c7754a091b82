// SPDX-License-Identifier: Apache-2.0
//
// The instant that lies a duration ahead; the end of time if that is past it.
#pragma once

#include <chrono>

namespace lockbyfile::cli {

[[nodiscard]] inline std::chrono::steady_clock::time_point from_now(
    std::chrono::nanoseconds duration) noexcept {
  using clock = std::chrono::steady_clock;
  const auto now = clock::now();
  return duration >= clock::time_point::max() - now ? clock::time_point::max() : now + duration;
}

}  // namespace lockbyfile::cli
