// SPDX-License-Identifier: Apache-2.0
#include "etcd_plays.hpp"

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "command.hpp"
#include "etcd_contenders.hpp"
#include "etcd_metrics.hpp"
#include "together.hpp"

namespace bench {

namespace {

template <class Lock>
findings alone(const options& o) {
  const scratch here;
  Lock lock(here.path());
  section inside;
  lock.acquire();  // which opens
  lock.release();
  std::vector<double> ms;
  const counters before = etcd_counters();
  for (int i = o.count("grants"); i > 0; --i) {
    const instant begun = now();
    lock.acquire();
    inside.enter(1);
    inside.leave(1);
    lock.release();
    ms.push_back(static_cast<double>(now() - begun) / 1e6);
  }
  findings found;
  add_counts(found, before, static_cast<double>(ms.size()));
  add_samples(found, "ms", std::move(ms));
  found.overlaps = inside.overlaps();
  return found;
}

/// handoff() of together.hpp in milliseconds. The counts have opening and closing in them.
template <class Lock>
findings handed_on(const options& o) {
  const counters before = etcd_counters();
  findings in_us = handoff<Lock>(o);
  findings found;
  add_counts(found, before, o.number("grants") + 2 * o.number("processes"));
  std::vector<double> ms = std::move(in_us.samples.at("us"));
  for (double& each : ms) each /= 1e3;
  add_samples(found, "ms", std::move(ms));
  found.overlaps = in_us.overlaps;
  return found;
}

/// The waiters are threads of this process: only the work that they cause in etcd counts.
findings long_line(const options& o) {
  const int waiters = o.count("waiters");
  const scratch here;
  ours_in_etcd lock(here.path(), lockbyfile::no_lease);  // joining takes all waiters a while
  lock.acquire();
  section inside;
  std::atomic<int> joining = waiters;
  std::atomic<instant> last_grant = 0;
  std::deque<ours_in_etcd> locks;
  std::vector<std::thread> all;
  for (int i = 1; i <= waiters; ++i) {
    ours_in_etcd& mine = locks.emplace_back(here.path());
    mine.open();  // one after the other: all at once are too much for a busy machine
    all.emplace_back([&, i] {
      --joining;
      mine.acquire();
      inside.enter(i);
      inside.leave(i);
      last_grant = now();
      mine.release();
    });
  }
  while (joining > 0) nap_us(1000);
  // Until all are in the wait queue: then nothing is put any more.
  for (double puts = 0, last = -1; puts != last;) {
    nap_us(500'000);
    last = std::exchange(puts, etcd_counters().at("puts"));
  }
  findings found;
  counters before = etcd_counters();
  const double seconds = o.number("seconds");
  nap_us(static_cast<int>(seconds * 1e6));
  findings idle;
  add_counts(idle, before, seconds * waiters);
  for (const auto& [what, rate] : idle.figures) found.figures["waiting_" + what] = rate;

  before = etcd_counters();
  const instant released = now();
  lock.release();
  for (std::thread& each : all) each.join();
  add_counts(found, before, waiters);
  found.figures["drain_ms"] = static_cast<double>(last_grant - released) / 1e6;
  found.overlaps = inside.overlaps();
  return found;
}

findings command(const options& o, const std::vector<std::string>& words) {
  const counters before = etcd_counters();
  findings found = run_command(o, words);
  add_counts(found, before, o.number("runs"));
  return found;
}

template <class... Locks>
void add_alone(plays& all) {
  ((all["etcd_alone"][Locks::name] = alone<Locks>), ...);
}

template <class... Locks>
void add_handoff(plays& all) {
  ((all["etcd_handoff"][Locks::name] = handed_on<Locks>), ...);
}

/// AT in a word stands for the server.
void add_command(plays& all, const std::string& name, const std::vector<std::string>& words) {
  all["etcd_command"][name] = [words](const options& o) {
    std::vector<std::string> said = words;
    for (std::size_t i = 1; i < said.size(); ++i) {
      if (const auto at = said[i].find("AT"); at != std::string::npos)
        said[i].replace(at, 2, etcd_endpoint());
    }
    return command(o, said);
  };
}

}  // namespace

plays etcd_plays() {
  plays all;
  add_alone<ours_in_etcd, two_transactions, clientv3_mutex>(all);
  add_handoff<ours_in_etcd, clientv3_mutex>(all);
  all["etcd_line"][ours_in_etcd::name] = long_line;
  add_command(all, "lockbyfile run (etcd)",
              {LOCKBYFILE_COMMAND, "run", "etcd://AT/bench/ours", "true"});
  add_command(all, "etcdctl lock", {"etcdctl", "--endpoints=AT", "lock", "bench/theirs", "true"});
  add_command(all, "true", {"true"});
  return all;
}

}  // namespace bench
