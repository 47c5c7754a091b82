// SPDX-License-Identifier: Apache-2.0
#include "columns.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace lockbyfile::cli {

namespace {

struct range {
  char32_t first;
  char32_t last;
};

/// Not wcwidth(3): it needs a locale, which a static program may not find. The ranges are those of
/// Unicode 15 that names of files are likely to have.
constexpr std::array zero_width{
    range{0x0300, 0x036F},  range{0x0483, 0x0489}, range{0x0591, 0x05BD}, range{0x0610, 0x061A},
    range{0x064B, 0x065F},  range{0x093C, 0x093C}, range{0x0941, 0x0948}, range{0x0E31, 0x0E31},
    range{0x0E34, 0x0E3A},  range{0x0E47, 0x0E4E}, range{0x1AB0, 0x1AFF}, range{0x1DC0, 0x1DFF},
    range{0x200B, 0x200F},  range{0x202A, 0x202E}, range{0x2060, 0x2064}, range{0x20D0, 0x20FF},
    range{0x3099, 0x309A},  range{0xFE00, 0xFE0F}, range{0xFE20, 0xFE2F}, range{0xFEFF, 0xFEFF},
    range{0xE0100, 0xE01EF}};

constexpr std::array double_width{
    range{0x1100, 0x115F},   range{0x231A, 0x231B},   range{0x23E9, 0x23EC},
    range{0x2614, 0x2615},   range{0x26A1, 0x26A1},   range{0x2705, 0x2705},
    range{0x274C, 0x274C},   range{0x2753, 0x2757},   range{0x2795, 0x2797},
    range{0x2B50, 0x2B50},   range{0x2E80, 0x303E},   range{0x3041, 0x33FF},
    range{0x3400, 0x4DBF},   range{0x4E00, 0x9FFF},   range{0xA000, 0xA4CF},
    range{0xA960, 0xA97F},   range{0xAC00, 0xD7A3},   range{0xF900, 0xFAFF},
    range{0xFE30, 0xFE6F},   range{0xFF00, 0xFF60},   range{0xFFE0, 0xFFE6},
    range{0x16FE0, 0x18AFF}, range{0x1B000, 0x1B2FF}, range{0x1F300, 0x1F64F},
    range{0x1F680, 0x1F6FF}, range{0x1F7E0, 0x1F7EB}, range{0x1F900, 0x1F9FF},
    range{0x1FA70, 0x1FAFF}, range{0x20000, 0x3FFFD}};

template <class Ranges>
bool contains(const Ranges& ranges, char32_t character) noexcept {
  return std::any_of(ranges.begin(), ranges.end(), [character](const range& r) {
    return r.first <= character && character <= r.last;
  });
}

/// Takes the first character off `text` and returns it.
char32_t take_character(std::string_view& text) noexcept {
  const auto first = static_cast<std::uint8_t>(text[0]);
  std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  length = std::min(length, text.size());
  char32_t character = length == 1 ? first : first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    character = character << 6 | (static_cast<std::uint8_t>(text[i]) & 0x3FU);
  }
  text.remove_prefix(length);
  return character;
}

}  // namespace

std::size_t columns_of(std::string_view text) noexcept {
  std::size_t columns = 0;
  while (!text.empty()) {
    const char32_t character = take_character(text);
    columns += contains(zero_width, character) ? 0 : contains(double_width, character) ? 2 : 1;
  }
  return columns;
}

std::string padded(std::string text, std::size_t columns) {
  const std::size_t taken = columns_of(text);
  if (taken < columns) text.append(columns - taken, ' ');
  return text;
}

}  // namespace lockbyfile::cli
