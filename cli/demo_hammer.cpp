// SPDX-License-Identifier: Apache-2.0
//
// demo hammer: hundreds of processes want one lock. Each uses it for 50 ms, notes the time, and
// unlocks. Sorted, the end times must be at least 50 ms apart. Two processes whose end times are
// closer had the lock at once. This is the massive example of 2015, where they were threads.
//
// The time above 50 ms is overhead: the sleeper's own lateness, and the handoff to the next.
#include <algorithm>
#include <atomic>
#include <lockbyfile/named_lock.hpp>
#include <string>
#include <vector>

#include "demo_figures.hpp"
#include "demo_log.hpp"
#include "demo_plays.hpp"
#include "demo_processes.hpp"
#include "progress.hpp"

namespace lockbyfile::demo {
namespace {

constexpr const char* lock_name = "oneNarrowBedForManySleepers";
constexpr double median_of_2015 = 28;  // ms per handoff

/// One consumer's use of the lock.
struct use {
  std::int64_t start;
  std::int64_t end;
};

struct scoreboard {
  std::atomic<std::size_t> done;
};

bool consume(use& mine, scoreboard& score, std::chrono::nanoseconds nap) {
  named_lock bed(lock_name);
  bed.set_lease(nap + std::chrono::seconds(10));
  bed.acquire();
  mine.start = monotonic_now();
  sleep_until(mine.start + nap.count());
  mine.end = monotonic_now();
  std::error_code ec;
  bed.release(ec);
  if (ec) log("unlocking failed: ", ec.message());
  score.done.fetch_add(1);
  return !ec;
}

/// By end time; consumers that failed have none.
std::vector<use> in_order(shared_array<use>& uses) {
  std::vector<use> sorted;
  std::copy_if(uses.begin(), uses.end(), std::back_inserter(sorted),
               [](const use& u) { return u.end != 0; });
  std::sort(sorted.begin(), sorted.end(), [](const use& a, const use& b) { return a.end < b.end; });
  return sorted;
}

void print_figures(const std::string& what, const figures& f) {
  print("  ", what, "  min ", fixed(f.min, 3), "  median ", fixed(f.median, 3), "  mean ",
        fixed(f.mean, 3), "  max ", fixed(f.max, 3), " ms");
}

verdict sum_up(const std::vector<use>& uses, const hammer_options& options, double seconds) {
  const double nap = milliseconds_of(std::chrono::nanoseconds(options.nap).count());
  std::vector<double> differences;
  std::vector<double> overheads;
  std::vector<double> handoffs;
  for (std::size_t i = 1; i < uses.size(); ++i) {
    differences.push_back(milliseconds_of(uses[i].end - uses[i - 1].end));
    overheads.push_back(differences.back() - nap);
    handoffs.push_back(milliseconds_of(uses[i].start - uses[i - 1].end));
  }
  const auto overlaps =
      std::count_if(differences.begin(), differences.end(), [&](double d) { return d < nap; });
  const bool all_came = uses.size() == options.consumers;

  print(uses.size(), " of ", options.consumers, " consumers used the lock for ", fixed(nap, 0),
        " ms each, in ", fixed(seconds, 2), " s.");
  print("Differences between their sorted end times; none may be below ", fixed(nap, 0), " ms:");
  print_figures("difference      ", figures_of(differences));
  print_figures("overhead        ", figures_of(overheads));
  print_figures("of which handoff", figures_of(handoffs));
  print("  (the lock of 2015: a median overhead of ", fixed(median_of_2015, 0), " ms)");
  print(overlaps == 0 ? "No two overlapped."
                      : "THE LOCK FAILED: " + std::to_string(overlaps) + " overlapped.");
  return overlaps == 0 && all_came ? verdict::held : verdict::failed;
}

}  // namespace

verdict hammer(const hammer_options& options) {
  shared_array<use> uses(options.consumers);
  shared_array<scoreboard> shared(1);
  scoreboard& score = shared[0];

  print(options.consumers, " processes want one lock, for ", options.nap.count(), " ms each.");
  const std::int64_t start = monotonic_now();
  bool all_ended_well = false;
  {
    cli::progress bar("hammering", options.consumers);
    processes all;
    for (std::size_t i = 0; i < options.consumers; ++i)
      all.start([&, i] { return consume(uses[i], score, options.nap); });
    all_ended_well = all.wait([&] { bar.update(score.done.load()); });
  }
  const verdict result = sum_up(in_order(uses), options, seconds_of(monotonic_now() - start));
  return all_ended_well ? result : verdict::failed;
}

}  // namespace lockbyfile::demo
