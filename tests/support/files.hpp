// SPDX-License-Identifier: Apache-2.0
//
// Files as a test needs them, and what a process has open and mapped.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "core/instant.hpp"
#include "file/session.hpp"

inline std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

inline void append_to_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary | std::ios::app) << content;
}

inline void truncate_file(const std::string& path, std::size_t size) {
  if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0)
    throw std::system_error(errno, std::system_category(), "truncate " + path);
}

/// Type and permissions, of the file itself if it is a symbolic link.
inline mode_t mode_of(const std::string& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0)
    throw std::system_error(errno, std::system_category(), "lstat " + path);
  return s.st_mode;
}

/// How many files are in a directory.
inline std::size_t files_in(const std::string& directory) {
  const std::filesystem::directory_iterator begin(directory);
  return static_cast<std::size_t>(std::distance(begin, std::filesystem::directory_iterator()));
}

/// Lets time pass until a session that looked at its path just now has to look again: the
/// promise is once per millisecond of the coarse clock.
inline void outlive_the_last_look_at_the_path() {
  using namespace lockbyfile;
  const instant then = now_coarse();
  while (now_coarse() <= then + file::path_check_interval)
    std::this_thread::sleep_for(std::chrono::microseconds(500));
}

/// What a process has of the system, to be the same before and after.
struct resources {
  std::size_t descriptors = 0;
  std::size_t mappings = 0;  // of files: others come and go with memory

  static resources in_use() {
    resources r;
    r.descriptors = files_in("/proc/self/fd");
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
      if (line.find('/') != std::string::npos) ++r.mappings;
    return r;
  }
  friend bool operator==(const resources&, const resources&) = default;
  friend std::ostream& operator<<(std::ostream& out, const resources& r) {
    return out << r.descriptors << " descriptors, " << r.mappings << " mappings";
  }
};
