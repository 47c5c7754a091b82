// SPDX-License-Identifier: Apache-2.0
#include "core/name.hpp"

#include <cctype>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <lockbyfile/error.hpp>

namespace lockbyfile {

namespace {

[[noreturn]] void refuse(std::string_view name, errc code, const std::string& why) {
  std::string shown;
  for (const char c : name.substr(0, 80)) {
    shown += std::iscntrl(static_cast<unsigned char>(c)) != 0 ? '?' : c;
  }
  if (name.size() > 80) shown += "…";
  throw lock_error(code, "lock name \"" + shown + "\" " + why, std::string(name));
}

bool has_scheme(std::string_view name) {
  const auto end = name.find("://");
  if (end == std::string_view::npos || end == 0) return false;
  for (const char c : name.substr(0, end)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '+' && c != '-' && c != '.') {
      return false;
    }
  }
  return true;
}

std::string default_directory(const std::string& directory) {
  if (!directory.empty()) return directory;
  // A setuid program must not create a file where its caller chooses.
  const char* from_environment = ::secure_getenv("LOCKBYFILE_DIR");
  return from_environment != nullptr && *from_environment != '\0' ? from_environment : ".";
}

/// `text` with %XX for every character that means something in a URL.
std::string escaped(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  constexpr std::string_view plain = "-._~";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || plain.find(c) != std::string_view::npos;
    if (is_plain) {
      out += c;
    } else {
      out += {'%', digits[byte >> 4U], digits[byte & 15U]};
    }
  }
  return out;
}

}  // namespace

std::string full_name(std::string_view name, const std::string& directory) {
  if (name.empty() || name.find('/') != std::string_view::npos) return std::string(name);
  const std::string where = default_directory(directory);
  if (!has_scheme(where)) return std::string(name);
  const auto question = where.find('?');
  std::string url = where.substr(0, question);
  if (!url.ends_with('/')) url += '/';
  url += escaped(name);
  if (question != std::string::npos) url += where.substr(question);
  return url;
}

std::string resolve(std::string_view name, const std::string& directory) {
  if (name.empty()) refuse(name, errc::invalid_name, "is empty");
  if (name.find('\0') != std::string_view::npos) {
    refuse(name, errc::invalid_name, "contains a NUL byte");
  }
  if (has_scheme(name)) {
    refuse(name, errc::wrong_engine, "asks for an engine that there is not here");
  }

  const auto slash = name.rfind('/');
  const bool is_path = slash != std::string_view::npos;
  const std::string_view last = is_path ? name.substr(slash + 1) : name;
  if (last.empty()) refuse(name, errc::invalid_name, "ends in a slash: it names no file");
  if (last == "." || last == "..") refuse(name, errc::invalid_name, "names a directory");

  // A name that is typed with its suffix, as by the shell's Tab key, is the same lock.
  const bool has_suffix = last.size() > lockfile_suffix.size() && last.ends_with(lockfile_suffix);
  std::string file(last);
  if (!is_path && !has_suffix) file += lockfile_suffix;
  if (file.size() > NAME_MAX) {
    refuse(name, errc::invalid_name,
           "is too long: the file's name has " + std::to_string(file.size()) +
               " bytes, at most 255 are possible");
  }
  const std::string parent =
      is_path ? std::string(name.substr(0, slash + 1)) : default_directory(directory);
  std::error_code ec;
  const auto resolved = std::filesystem::canonical(parent, ec);
  if (ec == std::errc::filename_too_long) refuse(name, errc::invalid_name, "is too long");
  if (ec) {
    throw lock_error({ec.value(), std::system_category()},
                     "cannot find the directory \"" + parent + "\" of the lock", parent);
  }
  std::string path = (resolved / file).string();
  if (path.size() >= PATH_MAX) refuse(name, errc::invalid_name, "is too long with its directory");
  return path;
}

}  // namespace lockbyfile
