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

/// A script that starts itself again and again would collect grants without end.
constexpr std::size_t most_grants = 16;

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::optional<fencing_token> token_in(std::string_view text) {
  std::uint64_t token = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), token);
  if (error != std::errc{} || end != text.data() + text.size() || token == 0) return {};
  return fencing_token(token);
}

std::string on_one_line(std::string_view path) {
  std::string line;
  for (const char c : path) {
    if (c == '\n') {
      line += "\\n";
    } else {
      line.append(c == '\\' ? 2 : 1, c);
    }
  }
  return line;
}

std::string path_on(std::string_view line) {
  std::string path;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      path += line[i];
    } else {
      ++i;
      path += line[i] == 'n' ? '\n' : line[i];
    }
  }
  return path;
}

}  // namespace

std::optional<inherited_grant> innermost_grant() {
  const std::string_view file = variable("LOCKBYFILE_FILE");
  const auto token = token_in(variable("LOCKBYFILE_TOKEN"));
  if (file.empty() || !token) return {};
  return inherited_grant{std::string(file), *token};
}

std::vector<inherited_grant> inherited_grants() {
  std::vector<inherited_grant> grants;
  if (auto innermost = innermost_grant()) grants.push_back(*std::move(innermost));
  std::string_view lines = variable("LOCKBYFILE_OUTER");
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos) continue;
    if (const auto token = token_in(line.substr(0, blank))) {
      grants.push_back({path_on(line.substr(blank + 1)), *token});
    }
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
  std::vector<inherited_grant> grants = inherited_grants();
  if (grants.size() > most_grants) grants.resize(most_grants);
  std::string lines;
  for (const inherited_grant& grant : grants) {
    if (!lines.empty()) lines += '\n';
    lines.append(std::to_string(grant.token.value())).append(1, ' ');
    lines.append(on_one_line(grant.path));
  }
  return lines;
}

}  // namespace lockbyfile::cli
