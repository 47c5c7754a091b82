// SPDX-License-Identifier: Apache-2.0
//
// Reading a lockfile without taking part. Others may write every field while it is read. So a
// holder counts only if the word is the same before and after. A grant in the list counts only if
// its marks are the same.

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <lockbyfile/observe.hpp>

#include "core/engines.hpp"
#include "core/failures.hpp"
#include "core/name.hpp"
#include "file/initialise.hpp"
#include "file/lockfile.hpp"
#include "file/records.hpp"
#include "file/session.hpp"

namespace lockbyfile {
inline namespace v0 {

namespace {

using namespace file;

using wall_time = std::chrono::system_clock::time_point;

/// Both clocks, read together once for all that a look shows. So the same instant is the same time
/// everywhere in it. The clocks cannot be read at one instant. Of a few tries the shortest counts,
/// so that two looks at one grant differ by less than a microsecond.
struct both_clocks {
  instant now = 0;
  wall_time wall;

  both_clocks() {
    constexpr int tries = 5;
    instant shortest = never;
    for (int i = 0; i < tries; ++i) {
      const instant before = lockbyfile::now();
      const wall_time between_them = std::chrono::system_clock::now();
      const instant took = lockbyfile::now() - before;
      if (took >= shortest) continue;
      shortest = took;
      now = before + took / 2;
      wall = between_them;
    }
  }

  [[nodiscard]] wall_time at(instant t) const {
    return wall - std::chrono::duration_cast<wall_time::duration>(between(t, now));
  }
};

/// None, if the file's values cannot belong to any grant.
fencing_token token_up_to(std::uint64_t largest, std::uint64_t found) {
  return fencing_token(found <= largest ? found : 0);
}

constexpr std::size_t most_grants = 8;  // shown

constexpr unsigned longest_try = 1000;  // of looks at a word that keeps changing

std::optional<holder_info> read_holder(const lockfile& file, const both_clocks& clocks) {
  const image& f = file.get();
  for (unsigned i = 0;; ++i) {
    const word seen(f.header.word.load());
    if (!seen.is_held()) return std::nullopt;
    if (seen.slot() >= file.capacity()) file.throw_damaged();
    const slot& s = f.slots[seen.slot()];
    const instant deadline = s.lease_deadline.load();
    const std::uint64_t lease = s.lease.load(std::memory_order_relaxed);
    holder_info h{.who = described(s.pid, s.user, s.command, std::size(s.command)),
                  .token = token_up_to(seen.counter(), s.token.load(std::memory_order_relaxed)),
                  .since = clocks.at(s.since.load(std::memory_order_relaxed)),
                  .lease = deadline == never ? no_lease : between(0, lease),
                  .lease_left = between(now(), deadline),
                  .lifeline = lifeline_of(seen.slot()).start,
                  .alive = file.is_alive(seen.slot())};
    if (f.header.word.load() == seen.bits() || i == longest_try) return h;
  }
}

std::vector<waiter_info> read_waiters(const lockfile& file) {
  std::vector<std::pair<std::uint64_t, waiter_info>> found;
  const std::uint32_t n = file.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    const slot& s = file.get().slots[i];
    const std::uint64_t ticket = s.ticket.load();
    if (ticket == 0 || !file.is_alive(i)) continue;
    found.emplace_back(ticket,
                       waiter_info{described(s.pid, s.user, s.command, std::size(s.command)),
                                   between(s.waiting_since.load(), now())});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<waiter_info> waiters;
  waiters.reserve(found.size());
  for (auto& f : found) waiters.push_back(std::move(f.second));
  return waiters;
}

std::vector<grant_info> read_grants(const lockfile& file, const both_clocks& clocks) {
  std::vector<grant_info> grants;
  const std::uint32_t n = file.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    const slot& s = file.get().slots[i];
    const std::uint64_t mark = s.last_grant.load(std::memory_order_acquire);
    const std::uint64_t token = token_in(mark);
    if (!token_up_to(word::counter_end, token) ||
        how_in(mark) > static_cast<std::uint64_t>(grant_kind::broken))
      continue;
    grant_info g{described(s.pid, s.user, s.command, std::size(s.command)), fencing_token(token),
                 static_cast<grant_kind>(how_in(mark)),
                 clocks.at(s.since.load(std::memory_order_acquire))};
    // `since` is written before the word, with the token: it may be another try's.
    const bool is_whole = s.token.load(std::memory_order_acquire) == token &&
                          s.last_grant.load(std::memory_order_relaxed) == mark;
    if (is_whole) grants.push_back(std::move(g));
  }
  std::sort(grants.begin(), grants.end(),
            [](const auto& a, const auto& b) { return a.token > b.token; });
  if (grants.size() > most_grants) grants.resize(most_grants);
  return grants;
}

}  // namespace

namespace {

lock_state look_at(std::string_view name, const lock_options& options) {
  const std::string full = full_name(name, options.directory);
  if (const engine_table* other = other_engine(full)) return other->observe(full, options);
  lock_state state;
  state.path = resolve(full, options.directory);
  lockfile file(state.path, options);
  file.require_true_clock();
  if (!file.attach_without_slot(access::read_only)) file.throw_never_used();
  switch (file.judge()) {
    case condition::ready: {
      const both_clocks clocks;
      state.holder = read_holder(file, clocks);
      state.waiters = read_waiters(file);
      state.grants = read_grants(file, clocks);
      state.last_break = read_break(file.get().header);
      state.last_run = read_run(file.get().header);
      break;
    }
    case condition::damaged: file.throw_damaged();
    case condition::other_clock:
      // From another boot, unless somebody has it open: then its instants are not ours.
      if (is_held_elsewhere(file.fd(), all_lifelines)) {
        throw lock_error(errc::clock_mismatch, state.path + " is in use in another time namespace",
                         state.path);
      }
      state.last_break = read_break(file.get().header);
      state.last_run = read_run(file.get().header);
      break;
    case condition::blank:
    case condition::tombstone: break;
  }
  return state;
}

}  // namespace

lock_state observe(std::string_view name, const lock_options& options) {
  return told([&] { return look_at(name, options); });
}

std::optional<lock_state> observe(std::string_view name, const lock_options& options,
                                  std::error_code& ec) {
  return caught(ec, [&] { return std::optional<lock_state>(look_at(name, options)); });
}

std::vector<std::string> list(const std::string& directory) {
  return list(directory, which_names::with_suffix);
}

std::vector<std::string> list(const std::string& directory, which_names which) {
  if (const engine_table* other = other_engine(directory)) return other->list(directory);
  std::error_code ec;
  std::vector<std::string> paths;
  const std::string shown = directory.empty() ? "." : directory;
  for (std::filesystem::directory_iterator i(shown, ec), end; !ec && i != end; i.increment(ec)) {
    std::error_code ignored;
    // Judged by the directory entry, without opening the file: opening a device may act on it.
    if (i->is_symlink(ignored) || !i->is_regular_file(ignored)) continue;
    if (which == which_names::with_suffix &&
        !i->path().filename().native().ends_with(lockfile_suffix)) {
      continue;
    }
    const found what = file_at(i->path().c_str());
    // A file that may not be read is judged by its name.
    if (what == found::lockfile ||
        (what == found::unreadable && i->path().native().ends_with(lockfile_suffix))) {
      paths.push_back(i->path().string());
    }
  }
  if (ec) {
    told([&] {
      throw lock_error({ec.value(), std::system_category()}, "cannot read the directory " + shown,
                       shown);
    });
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace v0
}  // namespace lockbyfile
