// SPDX-License-Identifier: Apache-2.0
#include "etcd/value.hpp"

#include <unistd.h>

#include <cerrno>
#include <chrono>
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

/// Replaces bytes that are not UTF-8: commands may have any bytes.
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

using wall_time = std::chrono::system_clock::time_point;

std::int64_t ms_of(wall_time t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
}

/// An instant too far away for the clock's type counts as the clock's origin.
wall_time at_ms(std::int64_t ms) {
  constexpr std::int64_t farthest = 9'000'000'000'000;  // in the year 2255
  return wall_time(std::chrono::milliseconds(ms > 0 && ms < farthest ? ms : 0));
}

json as_json(const break_info& b) {
  json j{{"pid", b.by.pid}, {"uid", b.by.user}, {"command", b.by.command}};
  j["host"] = b.by.host.empty() ? this_host() : b.by.host;
  j["at_ms"] = ms_of(b.at);
  j["token"] = b.token.value();
  return j;
}

json as_json(const run_info& r) {
  return {{"ns", r.duration.count()},
          {"exit", r.exit_code},
          {"ended_ms", ms_of(r.ended)},
          {"token", r.token.value()}};
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
  if (how <= static_cast<unsigned>(grant_kind::broken)) e.how = static_cast<grant_kind>(how);
  return e;
}

fencing_token token_in(const json& j) {
  std::uint64_t token = 0;
  take(j, "token", token);
  return fencing_token(token);
}

std::optional<break_info> break_in(const json& j) {
  if (!j.is_object()) return std::nullopt;
  break_info b;
  b.by = entry_in(j).who();
  std::int64_t at = 0;
  take(j, "at_ms", at);
  b.at = at_ms(at);
  b.token = token_in(j);
  return b;
}

std::optional<run_info> run_in(const json& j) {
  if (!j.is_object()) return std::nullopt;
  run_info r;
  std::int64_t number = 0;
  take(j, "ns", number);
  r.duration = std::chrono::nanoseconds(number > 0 ? number : 0);
  take(j, "exit", r.exit_code);
  number = 0;
  take(j, "ended_ms", number);
  r.ended = at_ms(number);
  r.token = token_in(j);
  return r;
}

}  // namespace

party entry::who() const {
  const bool is_elsewhere = !host.empty() && host != this_host();
  return {pid, user, command, is_elsewhere ? host : std::string()};
}

entry this_process(const std::string& description) {
  constexpr std::size_t longest = 256;
  static const std::string host = this_host();
  entry e;
  e.is_ours = true;
  e.pid = static_cast<unsigned>(::getpid());
  e.user = ::geteuid();
  e.command =
      (description.empty() ? program_invocation_short_name : description).substr(0, longest);
  e.host = host;
  return e;
}

std::string written(const entry& e) { return text_of(as_json(e)); }

/// As short as possible: each grant writes it once into etcd's log.
std::string written(const record& r) {
  entry who = r.holder;
  who.lease_ns = 0;
  who.is_granted = who.is_expired = false;
  json j{{"holder", as_json(who)}, {"created", r.created}};
  if (r.end != ending::released) j["end"] = static_cast<int>(r.end);
  if (r.is_told) j["told"] = true;
  if (r.before.last_break) j["break"] = as_json(*r.before.last_break);
  if (r.before.last_run) j["run"] = as_json(*r.before.last_run);
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
  take(j, "told", r.is_told);
  if (const auto b = j.find("break"); b != j.end()) r.before.last_break = break_in(*b);
  if (const auto run = j.find("run"); run != j.end()) r.before.last_run = run_in(*run);
  return r;
}

std::string this_host() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace lockbyfile::etcd
