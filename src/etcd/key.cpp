// SPDX-License-Identifier: Apache-2.0
#include "etcd/key.hpp"

#include <charconv>

namespace lockbyfile::etcd {

namespace {

constexpr std::string_view mark = ":lock";

bool stands_for_itself(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

int digit(char c) { return c <= '9' ? c - '0' : c - 'A' + 10; }

}  // namespace

std::string escaped(std::string_view text, escape_slash slash) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (stands_for_itself(c) || (c == '/' && slash == escape_slash::no)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
  return out;
}

lock_keys::lock_keys(std::string_view name, bool raw)
    : prefix(raw ? std::string(name) : escaped(name, escape_slash::no).append(mark)) {
  if (!raw) record = prefix;
  prefix_end = prefix + '0';  // '0' follows '/'
  prefix += '/';
}

std::string lock_keys::place(std::int64_t lease) const {
  char hex[16];
  auto* const end = std::to_chars(hex, hex + sizeof hex, static_cast<std::uint64_t>(lease), 16).ptr;
  return prefix + std::string(hex, end);
}

std::optional<std::string> name_of_key(std::string_view key) {
  const auto colon = key.find(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view after = key.substr(colon);
  if (after != mark && !(after.starts_with(mark) && after[mark.size()] == '/')) return std::nullopt;
  std::string name;
  for (std::size_t i = 0; i < colon; ++i) {
    if (key[i] == '%' && i + 2 < colon) {
      name += static_cast<char>(digit(key[i + 1]) * 16 + digit(key[i + 2]));
      i += 2;
    } else {
      name += key[i];
    }
  }
  return name;
}

}  // namespace lockbyfile::etcd
