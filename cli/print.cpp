// SPDX-License-Identifier: Apache-2.0
#include "print.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace lockbyfile::cli {

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write the output");
  }
}

}  // namespace lockbyfile::cli
