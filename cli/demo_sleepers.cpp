// SPDX-License-Identifier: Apache-2.0
//
// demo sleepers: 4 processes share one narrow bed, so only one can sleep at a time;
// the others wait, or get impatient and give up. The example of 2015.
//
// In 2015 each sleeper forgot to unlock with a probability of one in four. Here exactly one of the
// four forgets, the first, so that every run shows the lease. It lives on until its lease is over,
// because a process that ends opens the lock at once.
#include <algorithm>
#include <atomic>
#include <lockbyfile/flock.hpp>
#include <lockbyfile/observe.hpp>
#include <string>
#include <vector>

#include "demo_figures.hpp"
#include "demo_log.hpp"
#include "demo_plays.hpp"
#include "demo_processes.hpp"

namespace lockbyfile::demo {
namespace {

constexpr std::size_t how_many = 4;
constexpr const char* lock_name = "oneBed";

/// The times of 2015 in seconds, at another pace.
struct times {
  explicit times(double pace) : sleep(6 * pace), timeout(10 * pace), patience(13 * pace) {}
  double sleep;
  double timeout;
  double patience;
};

/// The way to change the defaults: a subclass.
class bed_lock : public FLock {
 public:
  explicit bed_lock(const times& t) : FLock(lock_name) {
    TIMEOUT = t.timeout;
    PATIENCE = t.patience;
  }
};

/// What the sleepers report; zeroes to begin with.
struct bedroom {
  std::atomic<int> in_bed;
  std::atomic<int> ever_in_bed;
  std::atomic<int> gave_up;
  std::atomic<int> collisions;
};

std::string text_of_kind(grant_kind how) {
  switch (how) {
    case grant_kind::free: return "free";
    case grant_kind::expired: return "expired (the sleeper before had forgotten to unlock)";
    case grant_kind::abandoned: return "abandoned (the sleeper before had died)";
    case grant_kind::broken: return "broken (somebody woke the sleeper before)";
  }
  return "";
}

void sleep_for(double seconds) {
  sleep_until(monotonic_now() + static_cast<std::int64_t>(seconds * 1e9));
}

/// Returns after that long, if nobody else was in the bed.
void use_the_bed(bedroom& room, double seconds) {
  if (room.in_bed.fetch_add(1) != 0) room.collisions.fetch_add(1);
  sleep_for(seconds);
  if (room.in_bed.fetch_sub(1) != 1) room.collisions.fetch_add(1);
}

void forget_to_unlock(const std::string& who, bed_lock& L, const times& t) {
  log(who, ".D ) unlocking FORGOTTEN. Sorry. You need to wait for my TIMEOUT.");
  sleep_for(t.timeout - t.sleep + 0.1);
  log(who, ".D ) oh, the bed! L.unlocking = ", L.unlocking(), " (too late)");
}

bool compete(std::size_t number, const times& t, bedroom& room) {
  const std::string who = text_of("(", number);
  bed_lock L(t);
  log(who, ".A ) created lock instance  FLock L(\"", lock_name, "\")");

  log(who, ".B1) entering L.LoopWhileLocked_ThenLocking");
  const bool acquired = L.LoopWhileLocked_ThenLocking();
  log(who, ".B2) L.LoopWhileLocked_ThenLocking ended with = ", acquired);
  if (!acquired) {
    room.gave_up.fetch_add(1);
    log(who, "   ) ending: I NEVER slept :-(  (lack of patience)");
    return true;
  }

  const bool forgets = room.ever_in_bed.fetch_add(1) == 0;
  log(who, ".C1) USING THE BED for ", fixed(t.sleep, 1), " seconds ...");
  use_the_bed(room, t.sleep);
  log(who, ".C2) end of sleep!");

  if (forgets) {
    forget_to_unlock(who, L, t);
  } else {
    log(who, ".D ) L.unlocking = ", L.unlocking());
  }
  log(who, "   ) ending: I slept very well :-)");
  return true;
}

/// Reports the result, and whether it is the expected one.
verdict sum_up(const bedroom& room, bool all_ended_well) {
  std::vector<grant_info> grants = observe(lock_name).grants;
  std::reverse(grants.begin(), grants.end());  // oldest first
  bool lease_showed = false;
  print("");
  print(room.ever_in_bed.load(), " slept, ", room.gave_up.load(), " gave up. Who slept:");
  for (const grant_info& got : grants) {
    print("  pId=", got.who.pid, " token ", got.token.value(),
          ", got the lock: ", text_of_kind(got.how));
    lease_showed = lease_showed || got.how == grant_kind::expired;
  }
  const bool empty = !FLock(lock_name).isLocked();
  print("Two in the bed at once: ", room.collisions.load() == 0 ? "never" : "YES, THE LOCK FAILED");
  print("A forgotten lock opened by itself after TIMEOUT: ", lease_showed ? "yes" : "NO");
  print("Bed is empty: ", empty ? "yes" : "NO");
  const bool held = all_ended_well && room.collisions.load() == 0 && lease_showed && empty;
  return held ? verdict::held : verdict::failed;
}

}  // namespace

verdict sleepers(const sleepers_options& options) {
  const times t(options.pace);
  shared_array<bedroom> shared(1);
  bedroom& room = shared[0];

  log("EXAMPLE: several processes compete for the same resource:");
  log("There is only 1 bed, but ", how_many, " sleepers. ;-)");
  log("Each sleeps ", fixed(t.sleep, 1), " s; TIMEOUT ", fixed(t.timeout, 1), ", PATIENCE ",
      fixed(t.patience, 2), ". The first will forget to unlock.");
  log("(Its process lives on meanwhile: if it ended, the lock would open at once.)");

  processes all;
  for (std::size_t number = 1; number <= how_many; ++number)
    all.start([&, number] { return compete(number, t, room); });
  const bool all_ended_well = all.wait();
  log("All ", how_many, " processes ended.");
  return sum_up(room, all_ended_well);
}

}  // namespace lockbyfile::demo
