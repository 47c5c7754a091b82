// SPDX-License-Identifier: Apache-2.0
//
// A directory of one's own, gone with all it holds when the test is over; also for the
// storm (torture/) and the fuzzers.
//
// A forked child that lets this object be destroyed removes nothing.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

class temporary_directory {
 public:
  explicit temporary_directory(
      const std::filesystem::path& in = std::filesystem::temp_directory_path())
      : maker_(::getpid()), path_((in / "lockbyfile-test-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr)
      throw std::system_error(errno, std::system_category(), "mkdtemp " + path_);
  }

  ~temporary_directory() {
    if (::getpid() != maker_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  /// Absolute, if `in` is, and without a slash at the end.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  pid_t maker_;
  std::string path_;
};
