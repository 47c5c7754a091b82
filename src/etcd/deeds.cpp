// SPDX-License-Identifier: Apache-2.0
#include "etcd/deeds.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "etcd/errors.hpp"
#include "etcd/line.hpp"

namespace lockbyfile::etcd {

namespace {

using wall_time = std::chrono::system_clock::time_point;

wall_time at_ms(std::int64_t ms) { return wall_time(std::chrono::milliseconds(ms)); }

std::chrono::nanoseconds since(std::int64_t ms) {
  return std::max<std::chrono::nanoseconds>(std::chrono::system_clock::now() - at_ms(ms), {});
}

/// A lock as it is in etcd.
struct looked_at {
  address where;
  client on;
  line places_of;
  std::vector<place> places;
  std::optional<record> last;
  bool has_record = false;

  looked_at(address a, const lock_options& options)
      : where(std::move(a)),
        on(where, options.etcd),
        places_of(on, lock_keys(where.name, where.raw)) {}

  /// A holder that has just been granted the lock after a wait gets the time to write its token.
  void read(const char* what, instant longest = longest_call) {
    for (int tries = 20; tries != 0; --tries) {
      const auto status = places_of.read(places, last, has_record, now() + longest);
      if (!status.ok()) throw error_of(status, what, where);
      if (places.empty() || !places.front().is_silent()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  [[nodiscard]] lock_error refused(errc code, const std::string& why) const {
    const std::string path = where.text();
    return {code, path + why, path};
  }
};

/// Only the mark shows that its lease has ended: clocks of two machines are not compared.
holder_info holder_of(const place& p) {
  holder_info h;
  h.who = p.what.who();
  h.token = fencing_token(p.token());
  h.since = at_ms(p.what.since_ms);
  h.alive = true;
  h.lease = h.lease_left = no_lease;
  if (p.what.lease_ns == 0) return h;
  h.lease = std::chrono::nanoseconds(p.what.lease_ns);
  h.lease_left = p.what.is_expired
                     ? std::chrono::nanoseconds(0)
                     : std::max<std::chrono::nanoseconds>(h.lease - since(p.what.since_ms),
                                                          std::chrono::milliseconds(1));
  return h;
}

grant_info grant_of(const entry& e, std::uint64_t token) {
  return {e.who(), fencing_token(token), e.how, at_ms(e.since_ms)};
}

}  // namespace

namespace {

lock_state look_at(std::string_view url, const lock_options& options, instant longest) {
  looked_at l(parse_url(url), options);
  l.read("cannot look at", longest);
  if (l.places.empty() && !l.has_record)
    throw l.refused(errc::not_found, " is not held, and has no record of an earlier grant");
  lock_state state;
  state.path = l.where.text();
  if (!l.places.empty()) {
    const place& first = l.places.front();
    state.holder = holder_of(first);
    if (first.what.is_granted) state.grants.push_back(grant_of(first.what, first.token()));
  }
  for (std::size_t i = 1; i < l.places.size(); ++i)
    state.waiters.push_back({l.places[i].what.who(), since(l.places[i].what.since_ms)});
  if (l.last) {
    state.grants.push_back(grant_of(l.last->holder, l.last->holder.token));
    state.last_break = l.last->before.last_break;
    state.last_run = l.last->before.last_run;
  }
  return state;
}

}  // namespace

lock_state observe(std::string_view url, const lock_options& options) {
  return look_at(url, options, longest_call);
}

lock_state glance(std::string_view url, const lock_options& options) {
  return look_at(url, options, milliseconds(100));
}

void break_lock(std::string_view url, fencing_token expected, const lock_options& options) {
  looked_at l(parse_url(url), options);
  for (bool done = false; !done;) {
    l.read("cannot break");
    if (l.places.empty()) throw l.refused(errc::token_mismatch, " is not held by anybody");
    const place& holder = l.places.front();
    if (expected && holder.is_silent())
      throw l.refused(errc::token_mismatch, " is held by a process that has not told its token");
    if (expected && holder.token() != expected.value()) {
      throw l.refused(errc::token_mismatch,
                      " is held under token " + std::to_string(holder.token()));
    }
    history h = l.last ? l.last->before : history();
    h.last_break =
        break_info{fencing_token(holder.token()), this_process(options.description).who(),
                   std::chrono::system_clock::now()};
    const auto status = l.places_of.break_open(holder, h, done, now() + longest_call);
    if (!status.ok()) throw error_of(status, "cannot break", l.where);
  }
}

void remove(std::string_view url, const lock_options& options) {
  looked_at l(parse_url(url), options);
  l.read("cannot remove");
  if (!l.places.empty()) throw l.refused(errc::in_use, " is held");
  if (!l.has_record) throw l.refused(errc::not_found, " was never held");
  bool done = false;
  const auto status = l.places_of.forget(done, now() + longest_call);
  if (!status.ok()) throw error_of(status, "cannot remove", l.where);
  if (!done) throw l.refused(errc::in_use, " has just been acquired");
}

std::vector<std::string> list(std::string_view folder) {
  const address where = parse_folder(folder);
  client on(where, {});
  wire::RangeRequest request;
  const std::string below = where.name.empty() ? "" : escaped(where.name, escape_slash::no) + '/';
  request.set_key(below.empty() ? std::string(1, '\0') : below);
  request.set_range_end(below.empty() ? std::string(1, '\0')
                                      : below.substr(0, below.size() - 1) + '0');
  request.set_keys_only(true);
  wire::RangeResponse answer;
  const auto status = on.call("/etcdserverpb.KV/Range", request, answer, now() + longest_call);
  if (!status.ok()) throw error_of(status, "cannot list", where);
  std::set<std::string> found;
  for (const auto& kv : answer.kvs())
    if (const auto name = name_of_key(kv.key())) found.insert(where.text_of(*name));
  return {found.begin(), found.end()};
}

std::vector<std::string> prune(std::string_view folder) {
  std::vector<std::string> removed;
  for (const std::string& url : list(folder)) {
    try {
      remove(url, {});
      removed.push_back(url);
    } catch (const lock_error& e) {
      if (e.code() == errc::unreachable) throw;  // the others are skipped
    }
  }
  return removed;
}

}  // namespace lockbyfile::etcd
