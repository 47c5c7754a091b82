// SPDX-License-Identifier: Apache-2.0
#include "describe.hpp"

#include <array>
#include <ctime>
#include <lockbyfile/options.hpp>
#include <string_view>

#include "duration.hpp"
#include "printable.hpp"
#include "users.hpp"

namespace lockbyfile::cli {

std::string party_text(const party& who) {
  const std::string command = who.command.empty() ? "a process" : printable(who.command);
  const auto user = user_name(who.user);
  return command + " (pid " + std::to_string(who.pid) + ", " +
         (user ? printable(*user) : "uid " + std::to_string(who.user)) +
         (who.host.empty() ? "" : ", on " + printable(who.host)) + ')';
}

std::string time_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm local{};
  if (::localtime_r(&seconds, &local) == nullptr) return "an unknown time";
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return text.data();
}

std::string ago_text(std::chrono::system_clock::time_point time) {
  const auto age = std::chrono::system_clock::now() - time;
  if (age < std::chrono::seconds(0)) return "in the future";
  return duration_text(age) + " ago";
}

const char* state_word(const lock_state& state) noexcept {
  if (!state.holder) return "free";
  if (!state.holder->alive) return "abandoned";
  return state.is_open() ? "expired" : "held";
}

const char* kind_word(grant_kind how) noexcept {
  switch (how) {
    case grant_kind::free: return "free";
    case grant_kind::expired: return "expired";
    case grant_kind::abandoned: return "abandoned";
    case grant_kind::broken: return "broken";
  }
  return "unknown";
}

std::string name_of(const std::string& path) {
  constexpr std::string_view suffix = ".lockfile";
  if (!path.ends_with(suffix)) return path;
  const auto slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  name.resize(name.size() - suffix.size());
  return name.empty() ? path : name;
}

}  // namespace lockbyfile::cli
