// SPDX-License-Identifier: Apache-2.0
#include "etcd/url.hpp"

#include <charconv>
#include <lockbyfile/error.hpp>
#include <optional>

#include "etcd/key.hpp"

namespace lockbyfile::etcd {

namespace {

constexpr std::size_t longest_name = 1024;  // bytes, decoded

[[noreturn]] void refuse(std::string_view url, const std::string& why) {
  // The part before an @ may hold a password.
  std::string shown(url.substr(0, 120));
  const auto authority = shown.find("://");
  const auto at = shown.find('@');
  if (authority != std::string::npos && at != std::string::npos && at > authority)
    shown.replace(authority + 3, at - authority - 3, "...");
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  throw lock_error(errc::invalid_name, "lock name \"" + shown + "\" " + why, shown);
}

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number n{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text, std::string_view url) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) refuse(url, "has a % without two hexadecimal digits after it");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

bool is_host(std::string_view host) {
  for (const char c : host) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    if (!plain) return false;
  }
  return !host.empty();
}

bool is_ipv6(std::string_view host) {
  if (host.find(':') == std::string_view::npos) return false;
  for (const char c : host)
    if (hex_digit(c) < 0 && c != ':' && c != '.' && c != '%') return false;
  return true;
}

std::string endpoint(std::string_view text, std::string_view url) {
  std::string_view host = text;
  std::string_view port = "2379";
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos || !is_ipv6(text.substr(1, end - 1)))
      refuse(url, "has an address in brackets that is none of IPv6");
    host = text.substr(0, end + 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) refuse(url, "has something after its ]");
    if (!rest.empty()) port = rest.substr(1);
  } else {
    const auto colon = text.find(':');
    if (colon != text.rfind(':')) refuse(url, "has an IPv6 address without [brackets]");
    host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon + 1);
    if (!is_host(host)) refuse(url, "has an empty or impossible host");
  }
  const auto number = number_in<unsigned>(port);
  if (!number || *number == 0 || *number > 65535) refuse(url, "has a port that is not 1 to 65535");
  return std::string(host) + ':' + std::to_string(*number);
}

void read_authority(address& a, std::string_view text, std::string_view url) {
  if (const auto at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = text.substr(0, at);
    if (user.find(':') != std::string_view::npos)
      refuse(url, "has a password in it: give it by LOCKBYFILE_ETCD_PASSWORD_FILE or an option");
    if (user.empty()) refuse(url, "has an empty user");
    a.user = decoded(user, url);
    text.remove_prefix(at + 1);
  }
  for (;;) {
    const auto comma = text.find(',');
    a.endpoints.push_back(endpoint(text.substr(0, comma), url));
    if (comma == std::string_view::npos) return;
    text.remove_prefix(comma + 1);
  }
}

void read_option(address& a, std::string_view option, std::string_view url) {
  if (option == "raw") {
    a.raw = true;
  } else if (option.starts_with("ttl=")) {
    const auto ttl = number_in<unsigned>(option.substr(4));
    if (!ttl || *ttl < 1 || *ttl > 3600) refuse(url, "has a ttl that is not 1 to 3600 seconds");
    a.ttl = *ttl;
  } else {
    refuse(url, "has an unknown option after the ?: there are ttl=SECONDS and raw");
  }
}

void read_options(address& a, std::string_view text, std::string_view url) {
  for (;;) {
    const auto end = text.find('&');
    read_option(a, text.substr(0, end), url);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

void check_parts(std::string_view name, std::string_view url) {
  for (;;) {
    const auto slash = name.find('/');
    if (name.substr(0, slash).empty()) refuse(url, "has an empty part between its slashes");
    if (slash == std::string_view::npos) return;
    name.remove_prefix(slash + 1);
  }
}

address parse(std::string_view url, bool is_folder) {
  address a;
  std::string_view rest = url;
  a.tls = rest.starts_with("etcds://");
  if (!a.tls && !rest.starts_with("etcd://")) refuse(url, "is not etcd://… or etcds://…");
  rest.remove_prefix(a.tls ? 8 : 7);
  if (const auto question = rest.find('?'); question != std::string_view::npos) {
    read_options(a, rest.substr(question + 1), url);
    rest = rest.substr(0, question);
  }
  const auto slash = rest.find('/');
  read_authority(a, rest.substr(0, slash), url);
  std::string_view name = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  if (is_folder && name.ends_with('/')) name.remove_suffix(1);
  a.name = decoded(name, url);
  if (a.name.empty()) {
    if (is_folder) return a;
    refuse(url, "names no lock: it goes on as HOST/NAME");
  }
  if (a.name.size() > longest_name) {
    refuse(url, "is too long: it has " + std::to_string(a.name.size()) +
                    " bytes after the host, at most 1024 are possible");
  }
  if (a.raw) return a;  // others chose it: any key of etcd
  if (a.name.find('\0') != std::string::npos) refuse(url, "contains a NUL byte");
  check_parts(a.name, url);
  return a;
}

}  // namespace

std::string address::text_of(std::string_view other_name) const {
  std::string url = tls ? "etcds://" : "etcd://";
  if (!user.empty()) url += escaped(user, escape_slash::yes) + '@';
  url += servers() + '/' + escaped(other_name, escape_slash::no);
  if (ttl != address{}.ttl) url += "?ttl=" + std::to_string(ttl);
  if (raw) url += ttl != address{}.ttl ? "&raw" : "?raw";
  return url;
}

std::string address::servers() const {
  std::string all;
  for (const std::string& e : endpoints) all += (all.empty() ? "" : ",") + e;
  return all;
}

address parse_url(std::string_view url) { return parse(url, false); }
address parse_folder(std::string_view url) { return parse(url, true); }

}  // namespace lockbyfile::etcd
