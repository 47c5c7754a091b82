// SPDX-License-Identifier: Apache-2.0
//
// registers: what the locks protect. One of each name, in memory that all processes of a storm
// share: a number, and the largest token that was shown to it.
//
// A read and a write show the token of the grant under which they are made. A fenced register
// refuses those with a smaller token than it has seen: whoever reads fences off all earlier
// holders. So the deed "read, think, write" of a holder is one step, even if the holder was
// stopped while it thought, and long replaced when it writes. An unfenced register refuses nothing,
// and then it is not.
//
// Each is one word, changed by compare-exchange (token above, number below), so that SIGKILL leaves
// nothing half done. Relaxed would do for the word itself; seq_cst keeps it in the order of the
// clock readings around it.
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

  /// To 0, and to having seen no token. Nobody else may be there.
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
