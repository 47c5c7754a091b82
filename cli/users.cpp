// SPDX-License-Identifier: Apache-2.0
#include "users.hpp"

#include <pwd.h>

#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

namespace lockbyfile::cli {

namespace {

/// The first entry for `uid` in a file like /etc/passwd.
std::optional<std::string> name_in(std::FILE* file, unsigned uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  while (::fgetpwent_r(file, &entry, buffer.data(), buffer.size(), &found) == 0) {
    if (found->pw_uid == uid) return found->pw_name;
  }
  return {};
}

std::optional<std::string> ask_the_system(unsigned uid) {
  using closed_file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  if (const closed_file local{std::fopen("/etc/passwd", "re"), &std::fclose}) {
    if (auto name = name_in(local.get(), uid)) return name;
  }
  const std::string command = "exec getent passwd " + std::to_string(uid) + " 2>/dev/null";
  const closed_file others{::popen(command.c_str(), "re"), &::pclose};
  return others ? name_in(others.get(), uid) : std::nullopt;
}

}  // namespace

std::optional<std::string> user_name(unsigned uid) {
  static std::mutex mutex;
  static std::map<unsigned, std::optional<std::string>> known;
  const std::lock_guard guard(mutex);
  const auto found = known.find(uid);
  return found != known.end() ? found->second : known[uid] = ask_the_system(uid);
}

}  // namespace lockbyfile::cli
