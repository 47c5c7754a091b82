// SPDX-License-Identifier: Apache-2.0
//
// Random tests print their seed. LOCKBYFILE_TEST_SEED repeats one.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <random>

/// Prints the seed, so that a failed test can be repeated.
inline std::mt19937_64 seeded(const char* test) {
  const char* given = std::getenv("LOCKBYFILE_TEST_SEED");
  const auto seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("%s: LOCKBYFILE_TEST_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return std::mt19937_64(seed);
}

/// Evenly from `from` to `to`, both included.
inline std::uint64_t pick(std::mt19937_64& random, std::uint64_t from, std::uint64_t to) {
  return std::uniform_int_distribution<std::uint64_t>(from, to)(random);
}
