// SPDX-License-Identifier: Apache-2.0
#include "carry_out.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <lockbyfile/named_lock.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "describe.hpp"
#include "duration.hpp"
#include "from_now.hpp"
#include "lease_plan.hpp"
#include "lost.hpp"
#include "printable.hpp"
#include "process_tree.hpp"
#include "say.hpp"
#include "signals.hpp"
#include "spawn.hpp"
#include "supervisor.hpp"
#include "waiting_line.hpp"

namespace lockbyfile::cli {

namespace {

using clock = std::chrono::steady_clock;

lock_options lock_options_of(const run_request& request) {
  lock_options options;
  options.lease = request.lease;
  options.patience = request.patience;
  options.directory = request.lock.directory;
  options.mode = request.mode;
  options.description = request.description;
  return options;
}

std::optional<grant> acquire_within(named_lock& lock, std::chrono::nanoseconds patience) {
  try {
    return lock.acquire(patience);
  } catch (const lock_error& error) {
    if (error.code() != errc::timed_out) throw;
    return {};
  }
}

/// The first try does not wait: if it succeeds, nobody has to be told anything.
std::optional<grant> acquire(named_lock& lock, const run_request& request) {
  const auto begin = clock::now();
  std::optional<grant> got = acquire_within(lock, std::chrono::nanoseconds(0));
  if (got || request.patience <= std::chrono::nanoseconds(0)) return got;

  std::optional<waiting_line> line;
  if (request.chatter != chattiness::quiet) line.emplace(request.lock.name, lock.path());
  const auto left =
      request.patience == forever ? forever : request.patience - (clock::now() - begin);
  return acquire_within(lock, left);
}

void tell_of_no_grant(const named_lock& lock, const run_request& request) {
  if (request.chatter == chattiness::quiet) return;
  std::error_code ec;
  const auto state = observe(lock.path(), {}, ec);
  const std::string patience = request.patience <= std::chrono::nanoseconds(0)
                                   ? "did not wait"
                                   : "gave up after " + duration_text(request.patience);
  say("could not get " + in_quotes(request.lock.name) + ", " + patience +
      (state ? ": " + holder_text(*state) : ""));
}

void tell_of_grant(const grant& got, const run_request& request) {
  if (request.chatter != chattiness::verbose) return;
  std::string text = "got " + in_quotes(request.lock.name) + " after " + duration_text(got.waited) +
                     ", token " + std::to_string(got.token.value());
  if (got.how != grant_kind::free) {
    const std::string who = got.previous ? party_text(*got.previous) : "the last holder";
    text += got.how == grant_kind::expired ? "; the lease of " + who + " had run out"
                                           : "; " + who + " had died holding it";
  }
  say(text);
}

supervision supervision_of(const named_lock& lock, const run_request& request) {
  supervision plan;
  plan.name = request.lock.name;
  plan.command = request.description;
  plan.kill_after = request.kill_after.value_or(std::chrono::seconds(5));
  if (request.lease == no_lease) return plan;
  if (request.at_lease_end == lease_policy::renew) {
    plan.renew_every =
        std::max<std::chrono::nanoseconds>(request.lease / 3, std::chrono::microseconds(100));
    return plan;
  }
  const auto now = clock::now();  // before the look at the lease: early rather than late
  const auto lease_end = later(now, lock.lease_remaining());
  const lease_plan times = plan_for(request.lease, request.kill_after);
  plan.term_at = lease_end - times.term_before_end;
  plan.kill_at = lease_end - times.kill_before_end;
  return plan;
}

command_start start_of(const named_lock& lock, const signal_gate& gate,
                       const run_request& request) {
  command_start start;
  start.arguments = request.command;
  start.environment = {"LOCKBYFILE_NAME=" + request.lock.name,
                       "LOCKBYFILE_TOKEN=" + std::to_string(lock.token().value()),
                       "LOCKBYFILE_FILE=" + lock.path()};
  start.signal_mask = gate.outer_mask();
  if (request.lifeline == lifeline_policy::share) start.shared_descriptor = lock.native_handle();
  start.dies_with_us = lock.native_handle() < 0;
  return start;
}

int exit_code_of_status(int status) {
  return WIFSIGNALED(status) ? exit_killed + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Ctrl-C has ended the command, so let it end us. The code is the same for whoever
/// asks a shell for it, but a loop in that shell ends too.
void end_as_the_command(const command_end& end) {
  if (!end.interrupted_from_terminal || !WIFSIGNALED(end.status) ||
      WTERMSIG(end.status) != SIGINT) {
    return;
  }
  sigset_t interrupt;
  ::sigemptyset(&interrupt);
  ::sigaddset(&interrupt, SIGINT);
  ::raise(SIGINT);
  ::sigprocmask(SIG_UNBLOCK, &interrupt, nullptr);
}

/// Releases the lock; why that came too late, or nothing.
std::optional<std::string> release(named_lock& lock) {
  const auto lease_left = lock.lease_remaining();
  std::error_code lost;
  lock.release(lost);
  if (!lost) return {};
  return why_lost(lock, lease_left);
}

int conclude(const run_request& request, const command_end& end,
             const std::optional<std::string>& lost) {
  const bool was_ended_for_the_lock =
      end.reason == end_reason::grant_lost || end.reason == end_reason::lease_ends;
  if (was_ended_for_the_lock) return exit_grant_lost;
  const int code = exit_code_of_status(end.status);
  if (lost) {
    say("lost " + in_quotes(request.lock.name) + " by the time " + in_quotes(request.description) +
        " had ended (with " + std::to_string(code) + "): " + *lost);
    return exit_grant_lost;
  }
  if (request.chatter == chattiness::verbose) say("released " + in_quotes(request.lock.name));
  end_as_the_command(end);
  return code;
}

int run_the_command(named_lock& lock, const run_request& request) {
  const signal_gate gate;
  const process_tree tree;
  supervision plan = supervision_of(lock, request);
  if (plan.term_at <= clock::now()) {
    say("the lease of " + in_quotes(request.lock.name) + " ended before " +
        in_quotes(request.description) + " could start");
    return exit_grant_lost;
  }

  std::error_code ec;
  const pid_t command = spawn(start_of(lock, gate, request), ec);
  if (ec) {
    say("cannot start " + in_quotes(request.command.front()) + ": " + ec.message());
    return exit_code_of_failed_start(ec.value());
  }

  const command_end end = supervisor(lock, gate, tree, std::move(plan)).stay_with(command);
  return conclude(request, end, release(lock));
}

}  // namespace

int carry_out(const run_request& request) {
  named_lock lock(request.lock.name, lock_options_of(request));
  const std::optional<grant> got = acquire(lock, request);
  if (!got) {
    tell_of_no_grant(lock, request);
    return request.conflict_exit_code;
  }
  tell_of_grant(*got, request);
  return run_the_command(lock, request);
}

}  // namespace lockbyfile::cli
