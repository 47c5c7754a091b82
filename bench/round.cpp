// SPDX-License-Identifier: Apache-2.0
#include "round.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace bench {

void options::set(const std::string& argument) {
  const auto equals = argument.find('=');
  if (equals == std::string::npos) throw std::invalid_argument(argument + " is no KEY=VALUE");
  values_[argument.substr(0, equals)] = std::stod(argument.substr(equals + 1));
}

double options::number(const std::string& key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) throw std::invalid_argument("this scenario needs " + key + "=");
  return found->second;
}

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) throw std::runtime_error("nothing was measured");
  const auto rank = static_cast<std::size_t>(static_cast<double>(values.size()) * percent / 100);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::min(rank, values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void add_samples(findings& to, const std::string& unit, std::vector<double> values) {
  to.figures["p50_" + unit] = percentile(values, 50);
  to.figures["p99_" + unit] = percentile(values, 99);
  to.samples[unit] = std::move(values);
}

scratch::scratch()
    : path_(std::filesystem::temp_directory_path() / "lockbyfile-bench-XXXXXX"),
      owner_(::getpid()) {
  if (::mkdtemp(path_.data()) == nullptr) {
    throw std::system_error(errno, std::system_category(), "cannot make " + path_);
  }
}

scratch::~scratch() {
  std::error_code ignored;
  if (::getpid() == owner_) std::filesystem::remove_all(path_, ignored);
}

}  // namespace bench
