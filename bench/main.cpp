// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile_bench --list
// lockbyfile_bench SCENARIO CONTENDER KEY=VALUE...
//
// Plays one round of one scenario with one lock and prints the findings, as JSON. bench.py selects
// the rounds and their order, and interprets the findings.
#include <string>
#include <vector>

#include "alone.hpp"
#include "command.hpp"
#include "contenders.hpp"
#include "ends.hpp"
#include "files.hpp"
#include "line.hpp"
#include "program.hpp"
#include "together.hpp"

namespace bench {

namespace {

template <class... Locks>
void add_contenders(plays& all) {
  ((all["uncontended"][Locks::name] = uncontended<Locks>,
    all["handoff"][Locks::name] = handoff<Locks>,
    all["throughput"][Locks::name] = throughput<Locks>,
    all["fairness"][Locks::name] = fairness<Locks>),
   ...);
}

template <class... Locks>
void add_sleepers(plays& all) {
  ((all["line"][Locks::name] = line<Locks>), ...);
}

template <class... Locks>
void add_crash_released(plays& all) {
  ((all["death"][Locks::name] = death<Locks>), ...);
}

void add_command(plays& all, const std::string& name, const std::vector<std::string>& command) {
  all["command"][name] = [command](const options& o) { return run_command(o, command); };
}

plays all_plays() {
  plays all;
  add_contenders<ours, ours_without_lease, robust_mutex, flock_2, ofd_lock, boost_named_mutex,
                 boost_file_lock, create_and_unlink>(all);
  add_sleepers<ours_without_lease, robust_mutex, flock_2>(all);
  add_crash_released<ours, robust_mutex, flock_2, ofd_lock>(all);
  all["lease_end"][ours::name] = lease_end;
  all["open"][ours::name] = open_ours;
  all["open"]["open+flock+close"] = open_flock_close;
  all["names"][ours::name] = names;
  add_command(all, "true", {"true"});
  add_command(all, "flock", {"flock", "HERE/lock", "true"});
  add_command(all, "lockbyfile run", {LOCKBYFILE_COMMAND, "run", "--dir", "HERE", "lock", "true"});
  add_command(all, "dotlockfile", {"dotlockfile", "-l", "HERE/lock", "true"});
  return all;
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) {
  return bench::program_main(bench::all_plays(), {argv + 1, argv + argc});
}
