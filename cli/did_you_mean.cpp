// SPDX-License-Identifier: Apache-2.0
#include "did_you_mean.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace lockbyfile::cli {

namespace {

/// The number of letters that must be changed, added, left out or swapped with the next letter.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string likely_word(std::string_view typed, const std::vector<std::string>& known) {
  if (typed.size() > 64) return "";
  std::string best;
  std::size_t least = typed.size() < 5 ? 2 : 3;  // not reached: a short word needs more of it right
  for (const std::string& word : known) {
    if (const std::size_t d = distance(typed, word); d < least) {
      least = d;
      best = word;
    }
  }
  if (!best.empty() || typed.size() < 2) return best;
  for (const std::string& word : known) {
    if (!word.starts_with(typed)) continue;
    if (!best.empty()) return "";
    best = word;
  }
  return best;
}

}  // namespace lockbyfile::cli
