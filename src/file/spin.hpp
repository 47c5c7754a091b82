// SPDX-License-Identifier: Apache-2.0
//
// adaptive_spin: watching the word for a moment before joining the line.
//
// To sleep and be woken costs several microseconds and two context switches. If the
// holder is about to release, to look again a few times is cheaper. Nobody knows how
// long it will hold the lock, so we ask the past: a spin that saw the word change earns
// the next one more time, one that was in vain halves it, down to a probe.
//
// Only a newcomer spins, and only while nobody is in line: a waiter keeps its place.
// Measured: docs/performance.md.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/instant.hpp"

namespace lockbyfile::file {

class adaptive_spin {
 public:
  /// Whether the word has become another than `seen` within the time that may pay.
  bool sees_change(const std::atomic<std::uint64_t>& word, std::uint64_t seen) noexcept {
    const instant deadline = now() + budget_;
    do {
      for (unsigned i = 0; i < looks_between_clocks; ++i) {
        if (word.load(std::memory_order_relaxed) != seen) {
          budget_ = budget_ < most / 2 ? budget_ * 2 : most;
          return true;
        }
        pause();
      }
    } while (now() < deadline);
    budget_ = budget_ > least * 2 ? budget_ / 2 : least;
    return false;
  }

 private:
  static constexpr unsigned looks_between_clocks = 16;
  static constexpr instant least = 250;  // ns
  static constexpr instant most = 8000;

  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  instant budget_ = most;
};

}  // namespace lockbyfile::file
