// SPDX-License-Identifier: Apache-2.0
#include "json.hpp"

#include <chrono>
#include <nlohmann/json.hpp>

#include "describe.hpp"
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

json time_json(std::chrono::system_clock::time_point time) {
  return seconds(time.time_since_epoch());
}

json party_json(const party& who) {
  const auto user = user_name(who.user);
  return {{"pid", who.pid},
          {"command", who.command},
          {"uid", who.user},
          {"user", user ? json(*user) : json(nullptr)}};
}

json holder_json(const holder_info& holder) {
  json result = party_json(holder.who);
  result["token"] = holder.token.value();
  result["since"] = time_json(holder.since);
  result["lease"] = lease_json(holder.lease);
  result["lease_left"] = lease_json(holder.lease_left);
  result["alive"] = holder.alive;
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

json lock_json(const observed_lock& lock) {
  json waiters = json::array();
  for (const waiter_info& waiter : lock.state.waiters) waiters.push_back(waiter_json(waiter));
  json grants = json::array();
  for (const grant_info& grant : lock.state.grants) grants.push_back(grant_json(grant));
  return {{"name", lock.name},
          {"path", lock.state.path},
          {"state", lock.error ? "unreadable" : state_word(lock.state)},
          {"error", lock.error ? json(lock.error.message()) : json(nullptr)},
          {"holder", lock.state.holder ? holder_json(*lock.state.holder) : json(nullptr)},
          {"waiters", std::move(waiters)},
          {"grants", std::move(grants)}};
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
