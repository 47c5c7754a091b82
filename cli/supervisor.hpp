// SPDX-License-Identifier: Apache-2.0
//
// supervisor: stays with the command until it has ended, and makes sure that the command does not
// outlive its grant. It is one thread with one loop, which sleeps until a signal arrives or an
// action is due. It acts first and talks afterwards, and its messages never wait (say.hpp).
//
//   what happens                     what is done
//   ---------------------------------+---------------------------------------------
//   the command ends                 done at once; daemons that it left are left alone
//   a signal for us                  passed to the command, unless the command has already
//                                    received it (see below)
//   a third of the lease (--renew)   renew; a lock on servers, in a thread of its own, since
//                                    they may be silent
//   every 100 ms                     look whether the grant is still ours
//   the grant is lost                end the command: SIGTERM, --kill-after, SIGKILL
//   the lease comes to its end       the same, in time (lease_plan.hpp)
//   such a signal has killed the     end what is left of it, so that `sh -c 'a; b'`
//   command                          does not go on without the lock
//
// Ending the command means ending its process tree. A stopped process gets SIGCONT after SIGTERM.
// Otherwise it would never see the SIGTERM.
//
// A signal reaches the command once, from any sender:
//
//   from                             the command has already received it if
//   ---------------------------------+---------------------------------------------
//   the terminal: Ctrl-C, Ctrl-\     it is in our group, which was signalled as a whole. It is
//                                    not under timeout(1), which makes a group of its own
//   the terminal has gone (SIGHUP)   it is in our group, and we do not lead the session: the
//                                    kernel signals the leader alone (ssh -t, xterm -e)
//   a process                        it is in our group, and the signal was sent to the group
//                                    (witness.hpp)
//   the command itself               always: it called `kill 0`
//   any, before the command began    never, even if the whole group was signalled
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <lockbyfile/keep_alive.hpp>
#include <lockbyfile/named_lock.hpp>
#include <optional>
#include <string>

#include "process_tree.hpp"
#include "signals.hpp"
#include "witness.hpp"

namespace lockbyfile::cli {

struct supervision {
  using time_point = std::chrono::steady_clock::time_point;

  std::string name;                        // of the lock, for messages
  std::string command;                     // likewise
  std::chrono::nanoseconds kill_after{0};  // from SIGTERM to SIGKILL
  time_point term_at = time_point::max();  // because the lease ends
  time_point kill_at = time_point::max();  // likewise, whatever happens
  std::optional<std::chrono::nanoseconds> renew_every;
};

/// Why the command was ended, if it did not end by itself.
enum class end_reason { none, grant_lost, lease_ends, passed_signal };

struct command_end {
  int status = 0;  // as of waitpid
  end_reason reason = end_reason::none;
  bool interrupted_from_terminal = false;  // Ctrl-C was pressed
};

class supervisor {
 public:
  /// Must be constructed before the command is started.
  supervisor(named_lock& lock, const signal_gate& gate, process_tree& tree, supervision plan);

  /// Call it as soon as `command`, a child of ours, has been started.
  void has_started(pid_t command) noexcept;

  /// Returns when the command has ended; if we had to end it, when its whole tree has ended.
  command_end stay();

 private:
  using clock = std::chrono::steady_clock;

  void start_witness();
  void reap();
  [[nodiscard]] bool was_killed_by_signal_for_us() const;
  [[nodiscard]] bool is_over() const;
  void keep_grant();
  void heed_silence(clock::time_point now);
  void begin_to_renew();
  void renew_if_due();
  void end_command(end_reason reason);
  void say_what_is_done(const std::string& why) const;
  void kill_if_due();
  void pass_on(const received_signal& signal);
  [[nodiscard]] bool command_has_got(const received_signal& signal);
  [[nodiscard]] clock::time_point next_look() const;

  named_lock& lock_;
  const signal_gate& gate_;
  process_tree& tree_;
  const supervision plan_;
  witness witness_;

  pid_t command_ = -1;
  sigset_t came_before_it_{};  // and are still to be taken
  std::optional<int> status_;
  int last_signal_ = 0;
  end_reason reason_ = end_reason::none;
  bool interrupted_from_terminal_ = false;
  clock::time_point kill_at_ = clock::time_point::max();
  clock::time_point renew_at_ = clock::time_point::max();
  clock::time_point watch_witness_until_ = clock::time_point::min();
  std::chrono::nanoseconds most_certain_{0};
  std::optional<keep_alive> renewer_;  // of a lock on servers
};

}  // namespace lockbyfile::cli
