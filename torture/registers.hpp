// SPDX-License-Identifier: Apache-2.0
//
// registers: the data that the locks protect. Each name has one register, in memory that all
// processes of a storm share. It has a number, and the largest token that was shown to it.
//
// A read or a write shows the token of its grant. A fenced register refuses a smaller token than it
// has seen. So a read fences off all earlier holders. This makes "read, think, write" of a holder
// one step, even if the holder was stopped while it thought and has long been replaced when it
// writes. An unfenced register refuses nothing, and then it is not one step.
//
// A register is one word (token above, number below), changed by compare-exchange, so that SIGKILL
// leaves nothing half done. Relaxed order would be enough for the word itself. seq_cst keeps it in
// order with the clock readings around it.
#pragma once

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>

namespace lockbyfile::torture {

class registers {
 public:
  static constexpr std::size_t most = 100;

  explicit registers(bool fenced) : is_fenced_(fenced) {
    void* p =
        ::mmap(nullptr, sizeof(words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::system_error(errno, std::system_category(), "registers");
    words_ = static_cast<words*>(p);
  }
  ~registers() { ::munmap(words_, sizeof(words)); }
  registers(const registers&) = delete;
  registers& operator=(const registers&) = delete;

  /// Resets each register to 0, with no token seen. No other process may use them meanwhile.
  void reset() {
    for (auto& w : *words_) w.store(0, std::memory_order_seq_cst);
  }

  std::optional<std::uint32_t> read(std::size_t which, std::uint64_t token) {
    return exchange(which, token, std::nullopt);
  }
  bool write(std::size_t which, std::uint64_t token, std::uint32_t value) {
    return exchange(which, token, value).has_value();
  }

 private:
  using words = std::array<std::atomic<std::uint64_t>, most>;

  std::optional<std::uint32_t> exchange(std::size_t which, std::uint64_t token,
                                        std::optional<std::uint32_t> value) {
    std::atomic<std::uint64_t>& word = (*words_)[which];
    std::uint64_t seen = word.load(std::memory_order_seq_cst);
    for (;;) {
      if (is_fenced_ && token < seen >> 32) return std::nullopt;
      const auto old = static_cast<std::uint32_t>(seen);
      if (word.compare_exchange_weak(seen, token << 32 | value.value_or(old),
                                     std::memory_order_seq_cst))
        return old;
    }
  }

  const bool is_fenced_;
  words* words_;
};

}  // namespace lockbyfile::torture
