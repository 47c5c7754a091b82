// SPDX-License-Identifier: Apache-2.0
#include "supervisor.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include "duration.hpp"
#include "from_now.hpp"
#include "lost.hpp"
#include "printable.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

constexpr std::chrono::milliseconds between_looks{100};
constexpr std::chrono::milliseconds between_looks_when_ending{20};

}  // namespace

supervisor::supervisor(named_lock& lock, const signal_gate& gate, const process_tree& tree,
                       supervision plan)
    : lock_(lock), gate_(gate), tree_(tree), plan_(std::move(plan)) {}

command_end supervisor::stay_with(pid_t command) {
  command_ = command;
  if (plan_.renew_every) renew_at_ = from_now(*plan_.renew_every);
  for (;;) {
    reap();
    if (was_killed_by_passed_signal()) end_command(end_reason::passed_signal, "");
    if (is_over()) break;
    keep_grant();
    kill_if_due();
    if (const auto signal = gate_.next(next_look())) pass_on(*signal);
  }
  return {*status_, reason_, interrupted_from_terminal_};
}

/// Takes the command's status, and buries the orphans that have become our children.
void supervisor::reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == command_) status_ = status;
  }
}

bool supervisor::was_killed_by_passed_signal() const {
  return reason_ == end_reason::none && status_ && WIFSIGNALED(*status_) &&
         WTERMSIG(*status_) == last_passed_signal_;
}

bool supervisor::is_over() const {
  return status_ && (reason_ == end_reason::none || tree_.is_empty());
}

void supervisor::keep_grant() {
  if (reason_ == end_reason::grant_lost || reason_ == end_reason::lease_ends) return;
  renew_if_due();
  const auto now = clock::now();
  if (now >= plan_.term_at && reason_ == end_reason::none) {
    end_command(end_reason::lease_ends, "the lease of " + in_quotes(plan_.name) + " ends in " +
                                            duration_text(lock_.lease_remaining()));
  } else if (!lock_.is_held()) {
    end_command(end_reason::grant_lost,
                "lost " + in_quotes(plan_.name) + ": " + why_lost(lock_, lock_.lease_remaining()));
  } else {
    heed_silence(now);
  }
}

/// Servers that are not heard of may give the lock to others when our last sign of life has
/// ended: the command is ended before that.
void supervisor::heed_silence(clock::time_point now) {
  const std::chrono::nanoseconds certain = lock_.certain_for();
  if (certain == no_lease) return;
  most_certain_ = std::max(most_certain_, certain);
  if (certain > most_certain_ / 5) return;
  kill_at_ = std::min(kill_at_, now + certain * 9 / 10);
  end_command(end_reason::grant_lost, in_quotes(plan_.name) + " may be lost in " +
                                          duration_text(certain) +
                                          ": the servers that keep it do not answer");
}

/// Also when late: a lease that has run out can be renewed if nobody took the lock.
void supervisor::renew_if_due() {
  if (!plan_.renew_every || clock::now() < renew_at_) return;
  std::error_code ec;
  lock_.renew(ec);  // a loss shows in is_held
  renew_at_ = from_now(*plan_.renew_every);
}

void supervisor::end_command(end_reason reason, const std::string& why) {
  reason_ = reason;
  kill_at_ = std::min({kill_at_, plan_.kill_at, from_now(plan_.kill_after)});
  if (!why.empty()) {
    say(why + "; ending " + in_quotes(plan_.command) + " by SIGTERM, and by SIGKILL after " +
        duration_text(kill_at_ - clock::now()));
  }
  const std::vector<pid_t> refused = tree_.signal_all(SIGTERM);
  tree_.signal_all(SIGCONT);
  for (const pid_t pid : refused) {
    say("process " + std::to_string(pid) +
        " belongs to another user and cannot be ended: waiting until it does so by itself");
  }
}

void supervisor::kill_if_due() {
  if (reason_ != end_reason::none && clock::now() >= kill_at_) tree_.signal_all(SIGKILL);
}

void supervisor::pass_on(const received_signal& signal) {
  if (signal.number == SIGCHLD || status_) return;
  if (signal.origin == signal_origin::kernel) {
    if (signal.number == SIGINT) interrupted_from_terminal_ = true;
    return;
  }
  if (signal.sender == command_) return;  // `kill 0` in the command: it has had its own
  ::kill(command_, signal.number);
  last_passed_signal_ = signal.number;
}

supervisor::clock::time_point supervisor::next_look() const {
  const auto now = clock::now();
  if (reason_ == end_reason::none) {
    return std::min({now + between_looks, plan_.term_at, renew_at_});
  }
  const auto soon = now + between_looks_when_ending;
  return kill_at_ > now ? std::min(soon, kill_at_) : soon;
}

}  // namespace lockbyfile::cli
