// SPDX-License-Identifier: Apache-2.0
//
// storm: processes that use locks, and the faults that hit them. The storm goes in rounds. Each
// round has new processes, on the same lockfiles. It ends with all of them gone, so that its
// history is complete. Then the history is checked, together with the largest token of the rounds
// before.
//
// Over etcd, faults hit its members, too, and a round has two parts. In the first part faults hit
// members and clients. In the second part there are no faults, and everything has to move.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checker.hpp"
#include "cluster.hpp"
#include "dice.hpp"
#include "history.hpp"
#include "outages.hpp"
#include "plan.hpp"
#include "registers.hpp"

namespace lockbyfile::torture {

struct storm_options {
  std::string directory;  // exists, and is empty
  std::uint64_t seed = 0;
  unsigned processes = 16;
  unsigned names = weathers;
  std::string keep;         // a file for the histories of rounds with violations, or empty
  cluster* over = nullptr;  // the locks are in etcd, not in files
  bool is_fenced = true;    // whether the registers that they protect are fenced
  bool (*is_over)() = [] { return false; };  // asked all the time: whether to end early
};

/// The number of operations of each kind.
using counts = std::array<std::uint64_t, deed_kinds>;

class storm {
 public:
  explicit storm(const storm_options& options);

  /// Plays one round, and checks it.
  report play(std::chrono::nanoseconds duration);

  /// Over etcd: whether the storm has left nothing in it except the records.
  report look_for_remains();

  [[nodiscard]] const counts& done() const { return done_; }
  [[nodiscard]] std::uint64_t pace() const { return plan_.pace; }
  /// Null, if the locks are in files.
  [[nodiscard]] const outages* of_members() const { return outages_ ? &*outages_ : nullptr; }

 private:
  struct stopped {
    pid_t process = 0;
    instant until{};
    instant since{};
    history::open_deed deed;
  };
  using life = void (*)(history&, const plan&, std::uint64_t);

  void rename_scribbled();
  void start(life what, std::set<pid_t>& group);
  void befall(bool is_rough);
  void kill_some();
  void stop_one();
  void resume(instant until);
  void signal_some();
  void reap();
  void gone(pid_t process);
  void end_round();
  void end_processes();
  void close_round();
  void note(deed_kind kind, pid_t process);
  pid_t any_of(const std::set<pid_t>& group);

  storm_options options_;
  dice dice_;
  history log_;
  registers registers_;
  plan plan_;
  std::optional<outages> outages_;
  unsigned round_ = 0;
  std::set<pid_t> workers_;
  std::set<pid_t> operators_;
  std::set<pid_t> players_;
  std::vector<stopped> stopped_;
  std::map<std::uint8_t, std::uint64_t> last_token_;
  counts done_{};
};

}  // namespace lockbyfile::torture
