// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace lockbyfile::torture {

class dice {
 public:
  explicit dice(std::uint64_t seed) : random_(seed) {}

  /// Evenly from `from` to `to`, both included.
  std::uint64_t pick(std::uint64_t from, std::uint64_t to) {
    return std::uniform_int_distribution<std::uint64_t>(from, to)(random_);
  }
  bool one_in(std::uint64_t n) { return pick(1, n) == 1; }

  /// Mostly short, now and then as long as `longest`. The average is a tenth of `longest`.
  std::chrono::nanoseconds mostly_short(std::chrono::nanoseconds longest) {
    const double x = std::uniform_real_distribution<double>(0, 1)(random_);
    const double cube = x * x * x;
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(cube * cube * cube * static_cast<double>(longest.count())));
  }

  std::uint64_t seed() { return random_(); }

 private:
  std::mt19937_64 random_;
};

}  // namespace lockbyfile::torture
