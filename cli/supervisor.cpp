// SPDX-License-Identifier: Apache-2.0
#include "supervisor.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
/// How long the same signal may still arrive at the others of our group. A sender may signal them
/// one by one, as systemd does with all processes of a service.
constexpr std::chrono::seconds to_tell_all{2};

std::string how_it_is_ended(const std::string& command, std::chrono::nanoseconds left) {
  return "; ending " + in_quotes(command) + " by SIGTERM, and by SIGKILL after " +
         duration_text(std::max(left, std::chrono::nanoseconds(0)));
}

}  // namespace

supervisor::supervisor(named_lock& lock, const signal_gate& gate, process_tree& tree,
                       supervision plan)
    : lock_(lock), gate_(gate), tree_(tree), plan_(std::move(plan)) {
  // Before the command: a signal to the group that reaches the command then reaches the witness.
  start_witness();
}

/// These include a signal that arrived while the command was being started. If that signal has
/// reached the command, it has ended the command: no program has a handler that early.
void supervisor::has_started(pid_t command) noexcept {
  ::sigpending(&came_before_it_);
  command_ = command;
  tree_.set_command(command);
}

command_end supervisor::stay() {
  begin_to_renew();
  for (;;) {
    reap();
    if (was_killed_by_signal_for_us()) end_command(end_reason::passed_signal);
    if (is_over()) break;
    keep_grant();
    kill_if_due();
    if (const auto signal = gate_.next(next_look())) pass_on(*signal);
    if (clock::now() < watch_witness_until_) {
      witness_.forget();
      tree_.leave_out(witness_.pid());
    }
  }
  return {*status_, reason_, interrupted_from_terminal_};
}

void supervisor::start_witness() {
  witness_.begin();
  tree_.leave_out(witness_.pid());
}

/// Takes the command's status, and reaps the orphans that have become our children.
void supervisor::reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == command_) status_ = status;
    if (pid == witness_.pid()) witness_.is_gone();
    tree_.forget(pid);
  }
}

bool supervisor::was_killed_by_signal_for_us() const {
  return reason_ == end_reason::none && status_ && WIFSIGNALED(*status_) &&
         WTERMSIG(*status_) == last_signal_;
}

bool supervisor::is_over() const {
  return status_ && (reason_ == end_reason::none || tree_.is_empty());
}

void supervisor::keep_grant() {
  if (reason_ == end_reason::grant_lost || reason_ == end_reason::lease_ends) return;
  renew_if_due();
  const auto now = clock::now();
  if (now >= plan_.term_at && reason_ == end_reason::none) {
    end_command(end_reason::lease_ends);
    say_what_is_done("the lease of " + in_quotes(plan_.name) + " ends in " +
                     duration_text(lock_.lease_remaining()));
  } else if (!lock_.is_held()) {
    end_command(end_reason::grant_lost);
    // The look at the lock may take long, and SIGKILL must not wait for it.
    const std::string lost = "lost " + in_quotes(plan_.name);
    const std::string ending = how_it_is_ended(plan_.command, kill_at_ - now);
    say_when_known(
        [lost, ending, path = lock_.path(), token = lock_.token(),
         lease_left = lock_.lease_remaining()] {
          return lost + ": " + why_lost(path, token, lease_left) + ending;
        },
        lost + ending);
  } else {
    heed_silence(now);
  }
}

/// Servers that do not reply may grant the lock to another when our server lease has ended. The
/// command must end before that.
void supervisor::heed_silence(clock::time_point now) {
  const std::chrono::nanoseconds certain = lock_.certain_for();
  if (certain == no_lease) return;
  most_certain_ = std::max(most_certain_, certain);
  if (certain > most_certain_ / 5) return;
  kill_at_ = std::min(kill_at_, now + certain * 9 / 10);
  end_command(end_reason::grant_lost);
  say_what_is_done(in_quotes(plan_.name) + " may be lost in " + duration_text(certain) +
                   ": the servers that keep it do not answer");
}

void supervisor::begin_to_renew() {
  if (!plan_.renew_every) return;
  if (lock_.native_handle() >= 0) {
    renew_at_ = from_now(*plan_.renew_every);
    return;
  }
  try {
    renewer_.emplace(lock_);
  } catch (const std::system_error&) {
    // The grant is already lost, which is_held() reports.
  }
}

/// Renews even when late: a lease that has run out can be renewed if nobody took the lock.
void supervisor::renew_if_due() {
  if (clock::now() < renew_at_) return;
  std::error_code ec;
  lock_.renew(ec);  // is_held() reports a loss
  renew_at_ = from_now(*plan_.renew_every);
}

void supervisor::end_command(end_reason reason) {
  reason_ = reason;
  kill_at_ = std::min({kill_at_, plan_.kill_at, from_now(plan_.kill_after)});
  witness_.end();
  const std::vector<pid_t> refused = tree_.signal_all(SIGTERM);
  tree_.signal_all(SIGCONT);
  for (const pid_t pid : refused) {
    say("process " + std::to_string(pid) +
        " belongs to another user and cannot be ended: waiting until it does so by itself");
  }
}

void supervisor::say_what_is_done(const std::string& why) const {
  say(why + how_it_is_ended(plan_.command, kill_at_ - clock::now()));
}

void supervisor::kill_if_due() {
  if (reason_ != end_reason::none && clock::now() >= kill_at_) tree_.signal_all(SIGKILL);
}

void supervisor::pass_on(const received_signal& signal) {
  if (signal.number == SIGCHLD || status_) return;
  if (signal.origin == signal_origin::kernel && signal.number == SIGINT)
    interrupted_from_terminal_ = true;
  if (!command_has_got(signal)) tree_.signal_command(signal.number);
  last_signal_ = signal.number;
}

bool supervisor::command_has_got(const received_signal& signal) {
  if (signal.sender != 0 && signal.sender == command_) return true;
  const bool was_before_it = ::sigismember(&came_before_it_, signal.number) == 1;
  ::sigdelset(&came_before_it_, signal.number);
  // Even for a signal that the kernel sent: the witness must not remember it.
  const bool was_for_all = witness_.has_got(signal.number);
  tree_.leave_out(witness_.pid());
  watch_witness_until_ = from_now(to_tell_all);
  if (was_before_it || ::getpgid(command_) != ::getpgrp()) return false;
  if (signal.origin == signal_origin::process) return was_for_all;
  const bool was_told_alone = signal.number == SIGHUP && ::getsid(0) == ::getpid();
  return !was_told_alone;
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
