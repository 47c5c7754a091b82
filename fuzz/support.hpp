// SPDX-License-Identifier: Apache-2.0
//
// The common parts of the fuzz targets.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace lockbyfile::fuzz {

/// A property that must hold for every input. If it does not, that is a finding.
inline void require(bool holds, std::string_view property, std::string_view got = {}) {
  if (holds) return;
  std::fprintf(stderr, "property violated: %.*s", static_cast<int>(property.size()),
               property.data());
  if (!got.empty()) std::fprintf(stderr, ": %.*s", static_cast<int>(got.size()), got.data());
  std::fputc('\n', stderr);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return size == 0 ? std::string_view()
                   : std::string_view(reinterpret_cast<const char*>(data), size);
}

/// Whether a terminal shows it as it is: valid or not as UTF-8, but no control character.
inline bool has_no_controls(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  }
  return text.find("\xC2\x9B") == std::string_view::npos;  // CSI in one character
}

/// Puts a temporary_directory in memory, if the machine has a place for that.
inline std::filesystem::path memory() {
  const bool has_memory = ::access("/dev/shm", W_OK | X_OK) == 0;
  return std::filesystem::canonical(has_memory ? "/dev/shm"
                                               : std::filesystem::temp_directory_path());
}

}  // namespace lockbyfile::fuzz
