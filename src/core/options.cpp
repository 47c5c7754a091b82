// SPDX-License-Identifier: Apache-2.0
#include "core/options.hpp"

#include <lockbyfile/error.hpp>
#include <sstream>
#include <string>

namespace lockbyfile {

void check_lease(std::chrono::nanoseconds lease, std::string_view name) {
  if (lease > std::chrono::nanoseconds(0)) return;
  throw lock_error(errc::invalid_option,
                   "a lease of " + std::to_string(lease.count()) + " ns is not above zero",
                   std::string(name));
}

void check(const lock_options& options, std::string_view name) {
  check_lease(options.lease, name);
  if (options.directory.find('\0') != std::string::npos) {
    throw lock_error(errc::invalid_option, "the directory's name contains a NUL byte",
                     std::string(name));
  }
  if ((options.mode & ~0777U) != 0 || (options.mode & 0600U) != 0600U) {
    std::ostringstream octal;
    octal << std::oct << std::showbase << options.mode;
    throw lock_error(
        errc::invalid_option,
        "the mode " + octal.str() + " is not one of permissions that let the owner read and write",
        std::string(name));
  }
}

}  // namespace lockbyfile
