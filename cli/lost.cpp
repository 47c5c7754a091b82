// SPDX-License-Identifier: Apache-2.0
#include "lost.hpp"

#include <algorithm>
#include <filesystem>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <system_error>

#include "describe.hpp"

namespace lockbyfile::cli {

namespace {

bool is_on_server(const std::string& path) { return path.find("://") != std::string::npos; }

/// The grant that followed the one with `token`, if the lock still knows it.
const grant_info* successor(const lock_state& state, fencing_token token) {
  const auto newer = std::find_if(state.grants.rbegin(), state.grants.rend(),
                                  [token](const grant_info& g) { return g.token > token; });
  return newer == state.grants.rend() ? nullptr : &*newer;
}

bool is_known(const lock_state& state, fencing_token token) {
  return std::any_of(state.grants.begin(), state.grants.end(),
                     [token](const grant_info& g) { return g.token == token; });
}

std::string broken_text(const lock_state& state, fencing_token token) {
  if (!state.last_break || state.last_break->token != token) return "it was broken";
  return "it was broken by " + party_text(state.last_break->by);
}

std::string why_lost_on_server(const std::optional<lock_state>& state, const std::error_code& ec,
                               fencing_token token, std::chrono::nanoseconds lease_left) {
  if (ec == errc::unreachable) return "no server of etcd answers";
  if (!state && ec != errc::not_found) return "the servers of etcd say: " + ec.message();
  if (state && state->last_break && state->last_break->token == token) {
    return broken_text(*state, token);
  }
  const bool is_known_to_have_ended = state && is_known(*state, token);
  if (lease_left == std::chrono::nanoseconds(0) && is_known_to_have_ended)
    return "its lease ran out, or it was broken";
  return is_known_to_have_ended ? "it was broken"
                                : "its key in etcd was deleted, or its lease there was revoked";
}

}  // namespace

std::string loss_text(const failure& what) {
  const std::string next = what.holder ? ", and " + party_text(*what.holder) + " has it now" : "";
  switch (what.cause) {
    case lost_cause::none: return "";
    case lost_cause::expired: return "its lease ran out" + next;
    case lost_cause::broken: return "it was broken" + next;
    case lost_cause::deleted:
      return (is_on_server(what.path)
                  ? "its key in etcd was deleted, or its lease there was revoked"
                  : "its lockfile was deleted or replaced") +
             next;
    case lost_cause::unreachable: return "no server of etcd answered in time" + next;
    case lost_cause::lifeline_closed: return "the descriptor that keeps the lock was closed" + next;
  }
  return "";
}

std::string why_lost(const std::string& path, fencing_token token,
                     std::chrono::nanoseconds lease_left) {
  std::error_code ec;
  const auto state = observe(path, {}, ec);
  if (is_on_server(path)) return why_lost_on_server(state, ec, token, lease_left);
  if (ec == errc::not_found) {
    return std::filesystem::exists(path, ec) ? "its lockfile was emptied"
                                             : "its lockfile was deleted";
  }
  if (!state) return "its lockfile cannot be read: " + ec.message();
  if (!is_known(*state, token)) return "its lockfile was deleted or replaced";

  const grant_info* next = successor(*state, token);
  if (next == nullptr) {
    return lease_left == std::chrono::nanoseconds(0) ? "its lease ran out"
                                                     : broken_text(*state, token);
  }
  if (next->how == grant_kind::expired) {
    return "its lease ran out, and " + party_text(next->who) + " took it over";
  }
  return broken_text(*state, token) + ", and " + party_text(next->who) + " got it";
}

}  // namespace lockbyfile::cli
