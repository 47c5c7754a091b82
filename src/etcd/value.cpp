// SPDX-License-Identifier: Apache-2.0
#include "etcd/value.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace lockbyfile::etcd {

namespace {

using json = nlohmann::ordered_json;

json as_json(const entry& e) {
  json j{{"pid", e.pid},
         {"uid", e.user},
         {"command", e.command},
         {"host", e.host},
         {"since_ms", e.since_ms}};
  if (e.lease_ns != 0) j["lease_ns"] = e.lease_ns;
  if (e.is_granted) j["granted"] = true;
  if (e.is_expired) j["expired"] = true;
  if (e.token != 0) j["token"] = e.token;
  if (e.how != grant_kind::free) j["how"] = static_cast<int>(e.how);
  return j;
}

/// Replaces what is no UTF-8: commands may have any bytes.
std::string text_of(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

template <class T>
void take(const json& j, const char* key, T& target) {
  const auto found = j.find(key);
  if (found == j.end()) return;
  if constexpr (std::is_same_v<T, bool>) {
    if (found->is_boolean()) target = found->get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (found->is_string()) target = found->get<std::string>();
  } else {
    if (found->is_number_integer()) target = found->get<T>();
  }
}

entry entry_in(const json& j) {
  entry e;
  if (!j.is_object()) return e;
  e.is_ours = j.contains("pid");
  take(j, "pid", e.pid);
  take(j, "uid", e.user);
  take(j, "command", e.command);
  take(j, "host", e.host);
  take(j, "since_ms", e.since_ms);
  take(j, "lease_ns", e.lease_ns);
  if (e.lease_ns < 0) e.lease_ns = 0;
  take(j, "granted", e.is_granted);
  take(j, "expired", e.is_expired);
  take(j, "token", e.token);
  unsigned how = 0;
  take(j, "how", how);
  if (how <= static_cast<unsigned>(grant_kind::abandoned)) e.how = static_cast<grant_kind>(how);
  return e;
}

}  // namespace

party entry::who() const {
  const bool is_elsewhere = !host.empty() && host != this_host();
  return {pid, user, is_elsewhere ? command + '@' + host : command};
}

std::string written(const entry& e) { return text_of(as_json(e)); }

/// As short as can be: it is in etcd's log once for each grant.
std::string written(const record& r) {
  entry who = r.holder;
  who.lease_ns = 0;
  who.is_granted = who.is_expired = false;
  json j{{"holder", as_json(who)}, {"created", r.created}};
  if (r.end != ending::released) j["end"] = static_cast<int>(r.end);
  return text_of(j);
}

entry read_entry(std::string_view text) { return entry_in(json::parse(text, nullptr, false)); }

std::optional<record> read_record(std::string_view text) {
  const json j = json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("holder")) return std::nullopt;
  record r;
  r.holder = entry_in(j["holder"]);
  take(j, "created", r.created);
  unsigned end = 0;
  take(j, "end", end);
  if (end <= static_cast<unsigned>(ending::broken)) r.end = static_cast<ending>(end);
  return r;
}

std::string this_host() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace lockbyfile::etcd
