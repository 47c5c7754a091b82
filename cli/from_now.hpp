// SPDX-License-Identifier: Apache-2.0
//
// The instant a duration ahead, or the end of time if the sum would lie past it.
#pragma once

#include <chrono>

namespace lockbyfile::cli {

[[nodiscard]] inline std::chrono::steady_clock::time_point later(
    std::chrono::steady_clock::time_point instant, std::chrono::nanoseconds duration) noexcept {
  using time_point = std::chrono::steady_clock::time_point;
  return duration >= time_point::max() - instant ? time_point::max() : instant + duration;
}

[[nodiscard]] inline std::chrono::steady_clock::time_point from_now(
    std::chrono::nanoseconds duration) noexcept {
  return later(std::chrono::steady_clock::now(), duration);
}

}  // namespace lockbyfile::cli
