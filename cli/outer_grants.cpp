// SPDX-License-Identifier: Apache-2.0
#include "outer_grants.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <lockbyfile/observe.hpp>
#include <string_view>
#include <system_error>
#include <vector>

namespace lockbyfile::cli {

namespace {

constexpr int most_grants = 16;  // a script that starts itself again and again has no end of them

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// TOKEN, a blank, FILE; a line each, the innermost first.
std::string grants_around_us() {
  const std::string_view file = variable("LOCKBYFILE_FILE");
  const std::string_view token = variable("LOCKBYFILE_TOKEN");
  std::string lines;
  if (!file.empty() && !token.empty() && file.find('\n') == std::string_view::npos) {
    lines.append(token).append(1, ' ').append(file);
  }
  const std::string_view outer = variable("LOCKBYFILE_OUTER");
  if (!outer.empty()) lines.append(lines.empty() ? "" : "\n").append(outer);
  return lines;
}

}  // namespace

std::vector<inherited_grant> inherited_grants() {
  std::vector<inherited_grant> grants;
  const std::string all = grants_around_us();
  std::string_view lines = all;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos) continue;
    std::uint64_t token = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + blank, token);
    if (error != std::errc{} || end != line.data() + blank || token == 0) continue;
    grants.push_back({std::string(line.substr(blank + 1)), fencing_token(token)});
  }
  return grants;
}

bool is_of(const inherited_grant& grant, const std::string& path) {
  if (grant.path == path) return true;
  std::error_code ec;
  return path.find("://") == std::string::npos && std::filesystem::equivalent(path, grant.path, ec);
}

bool is_held_for_us(const std::string& path) {
  const std::vector<inherited_grant> grants = inherited_grants();
  return std::any_of(grants.begin(), grants.end(), [&path](const inherited_grant& grant) {
    if (!is_of(grant, path)) return false;
    std::error_code ec;
    const auto state = observe(path, {}, ec);
    return state && !state->is_open() && state->holder->token == grant.token;
  });
}

std::string outer_grants() {
  std::string lines = grants_around_us();
  std::size_t end = 0;
  for (int i = 0; i < most_grants && end != std::string::npos; ++i) end = lines.find('\n', end + 1);
  if (end != std::string::npos) lines.resize(end);
  return lines;
}

}  // namespace lockbyfile::cli
