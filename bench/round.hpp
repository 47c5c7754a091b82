// SPDX-License-Identifier: Apache-2.0
//
// The parts of every scenario: its options, its findings, and its place.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;
using instant = std::int64_t;  // ns

inline instant now() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now().time_since_epoch())
      .count();
}

/// KEY=VALUE of the command line. Throws std::invalid_argument for a key that is missing.
class options {
 public:
  void set(const std::string& argument);
  [[nodiscard]] double number(const std::string& key) const;
  [[nodiscard]] int count(const std::string& key) const { return static_cast<int>(number(key)); }
  [[nodiscard]] instant nanoseconds(const std::string& key, double unit) const {
    return static_cast<instant>(number(key) * unit);
  }

 private:
  std::map<std::string, double> values_;
};

/// The findings of one round of a scenario.
struct findings {
  std::map<std::string, double> figures;
  std::map<std::string, std::vector<double>> samples;
  std::uint64_t overlaps = 0;  // of two holders
};

/// The value below which `percent` of all lie.
double percentile(std::vector<double> values, double percent);

/// Stores the samples, and their p50 and p99.
void add_samples(findings& to, const std::string& unit, std::vector<double> values);

/// An empty directory, removed at the end by the process that made it.
class scratch {
 public:
  scratch();
  ~scratch();
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  int owner_;
};

}  // namespace bench
