// SPDX-License-Identifier: Apache-2.0
#include "say.hpp"

#include <unistd.h>

#include "printable.hpp"

namespace lockbyfile::cli {

void say(std::string_view message) {
  const std::string line = "lockbyfile: " + printable(message) + '\n';
  // There is nobody to tell if stderr cannot be written.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string in_quotes(std::string_view name) { return "'" + std::string(name) + "'"; }

}  // namespace lockbyfile::cli
