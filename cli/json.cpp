// SPDX-License-Identifier: Apache-2.0
#include "json.hpp"

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <ratio>

#include "base64.hpp"
#include "describe.hpp"
#include "printable.hpp"
#include "users.hpp"

namespace lockbyfile::cli {

namespace {

using json = nlohmann::ordered_json;

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

json lease_json(std::chrono::nanoseconds lease) {
  return lease == no_lease ? json(nullptr) : json(seconds(lease));
}

/// Rounded, because it is computed from two clocks that cannot be read at one instant.
json time_json(std::chrono::system_clock::time_point time) {
  const auto hundredths =
      std::chrono::round<std::chrono::duration<std::int64_t, std::centi>>(time.time_since_epoch());
  return static_cast<double>(hundredths.count()) / 100;
}

/// For a path that JSON cannot hold as a string: a path may be any bytes.
json base64_unless_utf8(const std::string& bytes) {
  if (is_utf8(bytes)) return nullptr;
  return base64(bytes);
}

json party_json(const party& who) {
  const auto user = user_name(who.user);
  return {{"pid", who.pid},
          {"command", who.command},
          {"host", who.host.empty() ? json(nullptr) : json(who.host)},
          {"uid", who.user},
          {"user", user ? json(*user) : json(nullptr)}};
}

json process_json(const lifeline_process& process) {
  const auto user = user_name(process.identity.user);
  return {{"pid", process.facts.pid},
          {"uid", process.identity.user},
          {"user", user ? json(*user) : json(nullptr)},
          {"state", std::string(1, process.facts.state)},
          {"age", process.facts.age ? json(seconds(*process.facts.age)) : json(nullptr)},
          {"command_line", process.arguments.empty() ? json(nullptr) : json(process.arguments)}};
}

json processes_json(const observed_lock& lock) {
  if (!lock.processes) return nullptr;
  json result = json::array();
  for (const lifeline_process& process : *lock.processes) result.push_back(process_json(process));
  return result;
}

json holder_json(const observed_lock& lock) {
  const holder_info& holder = *lock.state.holder;
  json result = party_json(holder.who);
  result["token"] = holder.token.value();
  result["since"] = time_json(holder.since);
  result["lease"] = lease_json(holder.lease);
  result["lease_left"] = lease_json(holder.lease_left);
  result["alive"] = holder.alive;
  result["processes"] = processes_json(lock);
  return result;
}

json waiter_json(const waiter_info& waiter) {
  json result = party_json(waiter.who);
  result["waiting"] = seconds(waiter.waiting);
  return result;
}

json grant_json(const grant_info& grant) {
  json result = party_json(grant.who);
  result["token"] = grant.token.value();
  result["since"] = time_json(grant.since);
  result["how"] = kind_word(grant.how);
  return result;
}

json break_json(const break_info& last) {
  return {{"token", last.token.value()}, {"by", party_json(last.by)}, {"at", time_json(last.at)}};
}

json run_json(const run_info& last) {
  return {{"token", last.token.value()},
          {"duration", seconds(last.duration)},
          {"exit_code", last.exit_code},
          {"ended", time_json(last.ended)}};
}

json lock_json(const observed_lock& lock) {
  json waiters = json::array();
  for (const waiter_info& waiter : lock.state.waiters) waiters.push_back(waiter_json(waiter));
  json grants = json::array();
  for (const grant_info& grant : lock.state.grants) grants.push_back(grant_json(grant));
  return {
      {"name", lock.name},
      {"path", lock.state.path},
      {"path_base64", base64_unless_utf8(lock.state.path)},
      {"twins", lock.twins},
      {"state", lock.error ? "unreadable" : state_word(lock.state)},
      {"error", lock.error ? json(lock.error.message()) : json(nullptr)},
      {"holder", lock.state.holder ? holder_json(lock) : json(nullptr)},
      {"waiters", std::move(waiters)},
      {"grants", std::move(grants)},
      {"last_break", lock.state.last_break ? break_json(*lock.state.last_break) : json(nullptr)},
      {"last_run", lock.state.last_run ? run_json(*lock.state.last_run) : json(nullptr)}};
}

std::string text_of(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string json_text(const observed_lock& lock) { return text_of(lock_json(lock)); }

std::string json_text(const std::vector<observed_lock>& locks) {
  json result = json::array();
  for (const observed_lock& lock : locks) result.push_back(lock_json(lock));
  return text_of(result);
}

}  // namespace lockbyfile::cli
