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

std::string why_lost_in_etcd(const named_lock& lock, const std::optional<lock_state>& state,
                             std::chrono::nanoseconds lease_left) {
  if (!state) return "no server of etcd answers";
  const bool is_known_to_have_ended = is_known(*state, lock.token());
  if (lease_left == std::chrono::nanoseconds(0) && is_known_to_have_ended)
    return "its lease ran out, or it was broken";
  return is_known_to_have_ended ? "it was broken"
                                : "its lease in etcd ended, or somebody removed its key";
}

}  // namespace

std::string why_lost(const named_lock& lock, std::chrono::nanoseconds lease_left) {
  std::error_code ec;
  const auto state = observe(lock.path(), {}, ec);
  if (lock.path().starts_with("etcd")) return why_lost_in_etcd(lock, state, lease_left);
  if (ec == errc::not_found) {
    return std::filesystem::exists(lock.path(), ec) ? "its lockfile was emptied"
                                                    : "its lockfile was deleted";
  }
  if (!state) return "its lockfile cannot be read: " + ec.message();

  const fencing_token token = lock.token();
  if (!is_known(*state, token)) return "its lockfile was deleted or replaced";

  const grant_info* next = successor(*state, token);
  if (next == nullptr) {
    return lease_left == std::chrono::nanoseconds(0) ? "its lease ran out" : "it was broken";
  }
  if (next->how == grant_kind::expired) {
    return "its lease ran out, and " + party_text(next->who) + " took it over";
  }
  return "it was broken, and " + party_text(next->who) + " got it";
}

}  // namespace lockbyfile::cli
