// SPDX-License-Identifier: Apache-2.0
#include "duration.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

struct unit {
  std::string_view name;
  std::int64_t nanoseconds;
};

constexpr std::array<unit, 7> units{{{"d", 86'400'000'000'000},
                                     {"h", 3'600'000'000'000},
                                     {"m", 60'000'000'000},
                                     {"s", 1'000'000'000},
                                     {"ms", 1'000'000},
                                     {"us", 1'000},
                                     {"ns", 1}}};
constexpr std::size_t seconds_unit = 3;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Reads one duration from left to right; every refusal names the whole text.
class reader {
 public:
  explicit reader(std::string_view text) : text_(text), rest_(text) {}

  std::int64_t read() {
    refuse_the_usual_mistakes();
    std::size_t smallest_unit_so_far = 0;
    do {
      const number n = read_number();
      const std::size_t u = read_unit(smallest_unit_so_far);
      smallest_unit_so_far = u + 1;
      add(n, units[u].nanoseconds);
    } while (!rest_.empty());
    return total_;
  }

 private:
  struct number {
    std::string_view whole;
    std::string_view fraction;
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw std::invalid_argument(in_quotes(text_) + " is no duration: " + why +
                                " (write 10s, 250ms, 1h30m, or plain seconds like 1.5)");
  }

  void refuse_the_usual_mistakes() const {
    if (text_.empty()) refuse("it is empty");
    if (text_.front() == '-') refuse("it is negative");
    if (is_letter(text_.front())) refuse("it does not begin with a number");
  }

  std::string_view take_digits() {
    std::size_t n = 0;
    while (n < rest_.size() && is_digit(rest_[n])) ++n;
    const std::string_view digits = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return digits;
  }

  number read_number() {
    number n;
    n.whole = take_digits();
    if (!rest_.empty() && rest_.front() == '.') {
      rest_.remove_prefix(1);
      n.fraction = take_digits();
      if (n.fraction.empty()) refuse("digits are missing after the point");
    }
    if (n.whole.empty() && n.fraction.empty()) {
      refuse("a number is missing at " + in_quotes(rest_));
    }
    return n;
  }

  /// The index of the unit. `first_allowed` keeps them in descending order.
  std::size_t read_unit(std::size_t first_allowed) {
    std::size_t n = 0;
    while (n < rest_.size() && is_letter(rest_[n])) ++n;
    const std::string_view name = rest_.substr(0, n);
    if (name.empty()) {
      if (rest_.empty() && first_allowed == 0) return seconds_unit;
      if (rest_.empty()) refuse("the last number has no unit");
      refuse(in_quotes(rest_) + " is out of place");
    }
    for (std::size_t u = 0; u < units.size(); ++u) {
      if (units[u].name != name) continue;
      if (u < first_allowed) refuse("its units do not descend, each once");
      rest_.remove_prefix(n);
      return u;
    }
    refuse(in_quotes(name) + " is none of the units d, h, m, s, ms, us, ns");
  }

  void add(const number& n, std::int64_t scale) {
    std::int64_t whole = 0;
    for (const char c : n.whole) {
      whole = checked_sum(checked_product(whole, 10), c - '0');
    }
    total_ = checked_sum(total_, checked_product(whole, scale));
    total_ = checked_sum(total_, part_of(scale, n.fraction));
  }

  /// scale * 0.fraction, which must be whole. More than 16 digits never are: no scale
  /// has the factor 2 or 5 more often, and digits that do not end in 0 lack one of them.
  std::int64_t part_of(std::int64_t scale, std::string_view fraction) const {
    while (!fraction.empty() && fraction.back() == '0') fraction.remove_suffix(1);
    if (fraction.size() > 16) refuse("it is finer than a nanosecond");
    std::int64_t digits = 0;
    std::int64_t power = 1;
    for (const char c : fraction) {
      digits = digits * 10 + (c - '0');
      power *= 10;
    }
    const std::int64_t common = std::gcd(power, scale);
    if (digits % (power / common) != 0) refuse("it is finer than a nanosecond");
    return digits / (power / common) * (scale / common);
  }

  std::int64_t checked_product(std::int64_t a, std::int64_t b) const {
    std::int64_t result = 0;
    if (__builtin_mul_overflow(a, b, &result)) refuse_size();
    return result;
  }

  /// The largest value means `forever` in the library, so digits must not reach it.
  std::int64_t checked_sum(std::int64_t a, std::int64_t b) const {
    std::int64_t result = 0;
    if (__builtin_add_overflow(a, b, &result) ||
        result == std::numeric_limits<std::int64_t>::max()) {
      refuse_size();
    }
    return result;
  }

  [[noreturn]] void refuse_size() const { refuse("it is too long, 292 years are the limit"); }

  std::string_view text_;
  std::string_view rest_;
  std::int64_t total_ = 0;
};

std::string two_units(std::int64_t large, const char* large_name, std::int64_t small,
                      const char* small_name) {
  std::string text = std::to_string(large) + ' ' + large_name;
  if (small != 0) text += ' ' + std::to_string(small) + ' ' + small_name;
  return text;
}

std::string one_unit(double value, const char* name) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), value < 9.95 ? "%.2g %s" : "%.0f %s", value, name);
  return text.data();
}

}  // namespace

std::chrono::nanoseconds parse_duration(std::string_view text) {
  return std::chrono::nanoseconds(reader(text).read());
}

std::string duration_text(std::chrono::nanoseconds duration) {
  const std::int64_t ns = std::max<std::int64_t>(duration.count(), 0);
  if (ns == 0) return "0 s";
  if (ns < 1'000) return std::to_string(ns) + " ns";
  if (ns < 999'500) return one_unit(static_cast<double>(ns) / 1e3, "us");
  if (ns < 999'500'000) return one_unit(static_cast<double>(ns) / 1e6, "ms");
  if (ns < 59'500'000'000) return one_unit(static_cast<double>(ns) / 1e9, "s");

  const std::int64_t s = ns / 1'000'000'000 + (ns % 1'000'000'000 >= 500'000'000 ? 1 : 0);
  if (s < 3'600) return two_units(s / 60, "min", s % 60, "s");
  if (s < 86'400) return two_units(s / 3'600, "h", s % 3'600 / 60, "min");
  return two_units(s / 86'400, "d", s % 86'400 / 3'600, "h");
}

}  // namespace lockbyfile::cli
