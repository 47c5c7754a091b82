// SPDX-License-Identifier: Apache-2.0
#include "say.hpp"

#include <unistd.h>

#include <string>

#include "printable.hpp"

namespace lockbyfile::cli {

void say(std::string_view message) {
  std::string line = "lockbyfile: ";
  line.append(printable(message)).append(1, '\n');
  // There is nobody to tell if stderr cannot be written.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace lockbyfile::cli
