// SPDX-License-Identifier: Apache-2.0
//
// The few figures that summarize a set of measurements.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

namespace lockbyfile::demo {

struct figures {
  double min = 0;
  double median = 0;
  double mean = 0;
  double max = 0;
};

/// All zero if there are no values.
inline figures figures_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return {.min = values.front(),
          .median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2,
          .mean = std::accumulate(values.begin(), values.end(), 0.0) /
                  static_cast<double>(values.size()),
          .max = values.back()};
}

inline double milliseconds_of(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

inline double seconds_of(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;
}

/// `value` with that many decimals.
inline std::string fixed(double value, int decimals) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(decimals) << value;
  return text.str();
}

}  // namespace lockbyfile::demo
