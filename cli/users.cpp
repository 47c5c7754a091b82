// SPDX-License-Identifier: Apache-2.0
#include "users.hpp"

#include <pwd.h>

#include <array>

namespace lockbyfile::cli {

std::optional<std::string> user_name(unsigned uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0) return {};
  if (found == nullptr || found->pw_name == nullptr) return {};
  return found->pw_name;
}

}  // namespace lockbyfile::cli
