// SPDX-License-Identifier: Apache-2.0
//
// demo counter: 8 processes each count 500 times in one SQLite database: read the
// number, then write it back plus one.
//
// The first run has no lock, and updates get lost. In the second run each step holds one named
// lock, and no update may get lost. Each process notes its steps in shared memory. Sorted by token,
// these notes are the history of the lock. They must agree with the database: the n-th grant has
// written n, under a token larger than all before.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <lockbyfile/named_lock.hpp>
#include <string>
#include <vector>

#include "demo_counter_table.hpp"
#include "demo_figures.hpp"
#include "demo_log.hpp"
#include "demo_plays.hpp"
#include "demo_processes.hpp"
#include "progress.hpp"

namespace lockbyfile::demo {
namespace {

/// One step under the lock, as its process saw it.
struct note {
  std::uint64_t token;
  std::size_t place;      // in the wait queue when it joined
  std::int64_t written;   // the counter's new value
  std::int64_t asked;     // when it asked for the lock,
  std::int64_t granted;   // when it got it,
  std::int64_t released;  // and when it began to release it
};

/// The result of one run of all processes.
struct outcome {
  std::int64_t counter = 0;
  double seconds = 0;
  bool all_ended_well = false;
};

/// Enough to fork so many and to open their databases.
std::int64_t time_to_get_ready(std::size_t processes) {
  return 50'000'000 + static_cast<std::int64_t>(processes) * 3'000'000;
}

enum class pause { none, between_read_and_write };

void step_without_lock(counter_table& table, pause p) {
  counter_table::row row = table.read();
  if (p == pause::between_read_and_write) ::sched_yield();
  ++row.value;
  table.write(row);
}

/// False if the database has seen a larger token already.
bool step_with_lock(counter_table& table, named_lock& lock, note& noted) {
  noted.asked = monotonic_now();
  const grant granted = lock.acquire();
  noted.granted = monotonic_now();
  const auto token = static_cast<std::int64_t>(granted.token.value());

  counter_table::row row = table.read();
  const bool grows = token > row.token;
  row = {.value = row.value + 1, .token = token};
  table.write(row);

  noted.token = granted.token.value();
  noted.place = granted.place;
  noted.written = row.value;
  noted.released = monotonic_now();
  std::error_code ec;
  lock.release(ec);
  return grows && !ec;
}

struct report {
  std::atomic<std::size_t> steps = 0;
  std::int64_t ended = 0;
};

/// Runs the processes, all from the same instant on. Each opens the database for itself and then
/// calls `make_step` for its step function.
template <class MakeStep>
outcome run(const std::string& label, const counter_options& options, MakeStep make_step) {
  const std::string database = label + ".db";
  (void)counter_table(database);  // made before the processes need it
  shared_array<report> reports(options.processes);
  const auto steps_done = [&] {
    std::size_t sum = 0;
    for (const report& r : reports) sum += r.steps.load(std::memory_order_relaxed);
    return sum;
  };
  const std::int64_t start = monotonic_now() + time_to_get_ready(options.processes);
  outcome result;
  {
    cli::progress bar(label, options.processes * options.steps);
    processes all;
    for (std::size_t i = 0; i < options.processes; ++i) {
      all.start([&, i] {
        counter_table table(database);
        auto step = make_step(i);
        sleep_until(start);
        for (std::size_t n = 0; n < options.steps; ++n) {
          if (!step(table, n)) return false;
          reports[i].steps.store(n + 1, std::memory_order_relaxed);
        }
        reports[i].ended = monotonic_now();
        return true;
      });
    }
    result.all_ended_well = all.wait([&] { bar.update(steps_done()); });
  }
  for (const report& r : reports)
    result.seconds = std::max(result.seconds, seconds_of(r.ended - start));
  result.counter = counter_table(database).read().value;
  return result;
}

outcome run_without_lock(const std::string& label, const counter_options& options, pause p) {
  return run(label, options, [p](std::size_t) {
    return [p](counter_table& table, std::size_t) {
      step_without_lock(table, p);
      return true;
    };
  });
}

outcome run_with_lock(const counter_options& options, shared_array<note>& notes) {
  return run("with the lock", options, [&](std::size_t process) {
    return [&notes, first = process * options.steps, lock = named_lock("counter")](
               counter_table& table, std::size_t n) mutable {
      return step_with_lock(table, lock, notes[first + n]);
    };
  });
}

/// Prints the run's line and returns how many updates were lost.
std::int64_t tell(const std::string& label, const outcome& ran, const counter_options& options) {
  const auto expected = static_cast<std::int64_t>(options.processes * options.steps);
  const std::int64_t lost = expected - ran.counter;
  print(label, ": ", expected, " steps, counter = ", ran.counter, ", ",
        lost == 0 ? "none" : std::to_string(lost), " lost.  ", fixed(ran.seconds, 2), " s, ",
        fixed(static_cast<double>(expected) / ran.seconds, 0), " steps per second");
  return lost;
}

/// The times from a release to the next grant, if the next process was already waiting.
std::vector<double> handoffs_of(const std::vector<note>& history) {
  std::vector<double> handoffs;
  for (std::size_t i = 1; i < history.size(); ++i) {
    const note& before = history[i - 1];
    const note& next = history[i];
    if (next.asked < before.released)
      handoffs.push_back(milliseconds_of(next.granted - before.released));
  }
  return handoffs;
}

/// Whether the n-th grant wrote n, under a token larger than all before, and began
/// after the one before had ended.
bool is_exact(const std::vector<note>& history) {
  for (std::size_t i = 0; i < history.size(); ++i) {
    if (history[i].token == 0 || history[i].written != static_cast<std::int64_t>(i) + 1)
      return false;
    if (i == 0) continue;
    if (history[i].token == history[i - 1].token) return false;
    if (history[i].granted < history[i - 1].released) return false;
  }
  return true;
}

verdict sum_up(shared_array<note>& notes) {
  std::vector<note> history(notes.begin(), notes.end());
  std::sort(history.begin(), history.end(),
            [](const note& a, const note& b) { return a.token < b.token; });
  std::int64_t longest_wait = 0;
  std::size_t longest_line = 0;
  for (const note& n : history) {
    longest_wait = std::max(longest_wait, n.granted - n.asked);
    longest_line = std::max(longest_line, n.place);
  }
  const bool exact = is_exact(history);
  const std::vector<double> handoffs = handoffs_of(history);
  const figures handoff = figures_of(handoffs);
  print("  grants        ", history.size(),
        exact ? ", each with a larger token, and none began before the one before had ended"
              : ": THEIR HISTORY DOES NOT FIT THE COUNTER, THE LOCK FAILED");
  print("  longest wait  ", fixed(milliseconds_of(longest_wait), 1), " ms");
  print("  longest line  ", longest_line);
  if (handoffs.empty()) {
    print("  handoff       none: nobody had to wait");
  } else {
    print("  handoff       median ", fixed(handoff.median * 1000, 0), " µs, max ",
          fixed(handoff.max, 2), " ms, of ", handoffs.size(), " to somebody who waited");
  }
  return exact ? verdict::held : verdict::failed;
}

}  // namespace

verdict counter(const counter_options& options) {
  print(options.processes, " processes, each counting ", options.steps,
        " times in one SQLite database: read, then write back plus one.");

  outcome without_lock = run_without_lock("without lock", options, pause::none);
  std::int64_t lost = tell("without lock ", without_lock, options);
  if (lost == 0) {
    print("Nothing was lost, by luck. Again, yielding the processor between read and write:");
    without_lock =
        run_without_lock("without lock, yielding", options, pause::between_read_and_write);
    lost = tell("without lock ", without_lock, options);
  }

  shared_array<note> notes(options.processes * options.steps);
  const outcome with_lock = run_with_lock(options, notes);
  const std::int64_t lost_with_lock = tell("with the lock", with_lock, options);
  const verdict history = sum_up(notes);
  if (lost == 0) print("The lock had nothing to prevent here: too few processes or steps.");
  const bool held = without_lock.all_ended_well && with_lock.all_ended_well &&
                    lost_with_lock == 0 && history == verdict::held;
  return held ? verdict::held : verdict::failed;
}

}  // namespace lockbyfile::demo
