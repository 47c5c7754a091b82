// SPDX-License-Identifier: Apache-2.0
#include "file/records.hpp"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "file/session.hpp"

namespace lockbyfile::file {

namespace {

using wall_time = std::chrono::system_clock::time_point;
using std::chrono::duration_cast;
using std::chrono::microseconds;

constexpr std::uint64_t seed_of_breaks = 0x6272'6f6b'656e'2e31;
constexpr std::uint64_t seed_of_runs = 0x7275'6e2e'656e'6473;

/// The last step of splitmix64: each bit of `n` changes half of the result.
constexpr std::uint64_t mixed(std::uint64_t n) noexcept {
  n = (n ^ (n >> 30)) * 0xbf58'476d'1ce4'e5b9;
  n = (n ^ (n >> 27)) * 0x94d0'49bb'1331'11eb;
  return n ^ (n >> 31);
}

template <std::size_t N>
constexpr std::uint64_t check_of(std::uint64_t seed,
                                 const std::array<std::uint64_t, N>& words) noexcept {
  std::uint64_t sum = seed;
  for (const std::uint64_t word : words) sum = mixed(sum ^ word);
  return sum;
}

std::uint64_t loaded(const shared<std::uint64_t>& from) noexcept {
  return from.load(std::memory_order_acquire);
}

std::uint64_t as_us(wall_time t) noexcept {
  return static_cast<std::uint64_t>(duration_cast<microseconds>(t.time_since_epoch()).count());
}

wall_time from_us(std::uint64_t us) noexcept {
  return wall_time(duration_cast<wall_time::duration>(microseconds(us)));
}

/// Whether a record can be of a grant, and whether its instant can be shown.
bool is_sane(std::uint64_t token, std::uint64_t us) noexcept {
  return token != 0 && token < word::counter_end && us < word::counter_end;
}

std::array<std::uint64_t, 9> break_in(const header& h) noexcept {
  std::array<std::uint64_t, 9> words{
      loaded(h.broken_token), loaded(h.broken_at),
      std::uint64_t{h.broken_by_user.load(std::memory_order_acquire)} << 32 |
          h.broken_by_pid.load(std::memory_order_acquire)};
  for (std::size_t i = 0; i < 6; ++i) words.at(3 + i) = loaded(h.broken_by_command[i]);
  return words;
}

std::array<std::uint64_t, 4> run_in(const header& h) noexcept {
  return {loaded(h.run_token), loaded(h.run_ended), loaded(h.run_duration),
          loaded(h.run_exit_code)};
}

bool has_break(const header& h, const std::array<std::uint64_t, 9>& words) noexcept {
  return loaded(h.broken_check) == check_of(seed_of_breaks, words) && is_sane(words[0], words[1]);
}

bool has_run(const header& h, const std::array<std::uint64_t, 4>& words) noexcept {
  return loaded(h.run_check) == check_of(seed_of_runs, words) && is_sane(words[0], words[1]) &&
         words[2] <= static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count());
}

void store(shared<std::uint64_t>& to, std::uint64_t n) noexcept {
  to.store(n, std::memory_order_relaxed);
}

}  // namespace

void write_break(header& h, const break_info& record) noexcept {
  const auto before = break_in(h);
  const std::uint64_t token = record.token.value();
  if (has_break(h, before) && before[0] > token) return;  // (R2)
  std::array<std::uint64_t, 9> words{token, as_us(record.at),
                                     std::uint64_t{record.by.user} << 32 | record.by.pid};
  char text[sizeof h.broken_by_command] = {};
  record.by.command.copy(text, sizeof text - 1);
  std::memcpy(&words[3], text, sizeof text);
  store(h.broken_token, words[0]);
  store(h.broken_at, words[1]);
  h.broken_by_pid.store(record.by.pid, std::memory_order_relaxed);
  h.broken_by_user.store(record.by.user, std::memory_order_relaxed);
  for (std::size_t i = 0; i < 6; ++i) store(h.broken_by_command[i], words.at(3 + i));
  h.broken_check.store(check_of(seed_of_breaks, words), std::memory_order_release);
}

std::optional<break_info> read_break(const header& h) {
  const auto words = break_in(h);
  if (!has_break(h, words)) return std::nullopt;
  char text[sizeof h.broken_by_command];
  std::memcpy(text, &words[3], sizeof text);
  return break_info{fencing_token(words[0]),
                    party{static_cast<unsigned>(words[2]), static_cast<unsigned>(words[2] >> 32),
                          std::string(text, ::strnlen(text, sizeof text))},
                    from_us(words[1])};
}

void write_run(header& h, const run_info& record) noexcept {
  const auto before = run_in(h);
  if (has_run(h, before) && before[0] > record.token.value()) return;  // (R2)
  const std::array<std::uint64_t, 4> words{
      record.token.value(), as_us(record.ended),
      static_cast<std::uint64_t>(std::max<std::int64_t>(record.duration.count(), 0)),
      static_cast<std::uint64_t>(std::int64_t{record.exit_code})};
  store(h.run_token, words[0]);
  store(h.run_ended, words[1]);
  store(h.run_duration, words[2]);
  store(h.run_exit_code, words[3]);
  h.run_check.store(check_of(seed_of_runs, words), std::memory_order_release);
}

std::optional<run_info> read_run(const header& h) {
  const auto words = run_in(h);
  if (!has_run(h, words)) return std::nullopt;
  return run_info{fencing_token(words[0]),
                  std::chrono::nanoseconds(static_cast<std::int64_t>(words[2])),
                  static_cast<int>(static_cast<std::int64_t>(words[3])), from_us(words[1])};
}

void clear_records(header& h) noexcept {
  store(h.broken_token, 0);
  store(h.run_token, 0);
}

party this_party(const std::string& description) {
  return {static_cast<unsigned>(::getpid()), ::geteuid(),
          description.empty() ? program_invocation_short_name : description};
}

}  // namespace lockbyfile::file
