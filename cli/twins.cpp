// SPDX-License-Identifier: Apache-2.0
#include "twins.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <lockbyfile/observe.hpp>
#include <string_view>
#include <system_error>

#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view suffix = ".lockfile";

bool is_lockfile(const std::string& path) {
  std::error_code ec;
  // Opening a file that is no plain file may have an effect on it.
  if (!fs::is_regular_file(fs::symlink_status(path, ec))) return false;
  return observe(path, {}, ec).has_value();
}

std::string absolute(const std::string& path) {
  std::error_code ec;
  const fs::path folder = fs::canonical(fs::path(path).parent_path(), ec);
  return ec ? path : (folder / fs::path(path).filename()).string();
}

}  // namespace

std::vector<std::string> twins_of(const std::string& name, const std::string& path) {
  std::vector<std::string> candidates;
  if (!path.starts_with('/')) return candidates;
  candidates.push_back(path + std::string(suffix));
  if (path.ends_with(suffix) && !path.ends_with("/.lockfile")) {
    candidates.push_back(path.substr(0, path.size() - suffix.size()));
  }
  if (name.find('/') == std::string::npos) {
    const std::string file = path.substr(path.rfind('/') + 1);
    candidates.push_back("./" + file);
    const char* variable = ::secure_getenv("LOCKBYFILE_DIR");
    if (variable != nullptr && *variable != '\0') {
      candidates.push_back(std::string(variable) + '/' + file);
    }
    candidates.push_back("/run/lock/" + file);
  }
  std::vector<std::string> twins;
  for (const std::string& candidate : candidates) {
    const std::string other = absolute(candidate);
    std::error_code ec;
    if (fs::equivalent(other, path, ec) || other == path || !is_lockfile(other)) continue;
    if (std::find(twins.begin(), twins.end(), other) == twins.end()) twins.push_back(other);
  }
  return twins;
}

std::string twins_text(const std::vector<std::string>& twins) {
  if (twins.empty()) return "";
  std::string text =
      twins.size() == 1 ? "another lock of a like name: " : "other locks of a like name: ";
  for (const std::string& twin : twins)
    text += (&twin == twins.data() ? "" : ", ") + printable(twin);
  return text;
}

}  // namespace lockbyfile::cli
