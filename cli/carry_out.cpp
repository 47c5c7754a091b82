// SPDX-License-Identifier: Apache-2.0
#include "carry_out.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <functional>
#include <lockbyfile/named_lock.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "describe.hpp"
#include "duration.hpp"
#include "from_now.hpp"
#include "interruption.hpp"
#include "lease_plan.hpp"
#include "lost.hpp"
#include "outer_grants.hpp"
#include "printable.hpp"
#include "process_tree.hpp"
#include "say.hpp"
#include "signals.hpp"
#include "spawn.hpp"
#include "supervisor.hpp"
#include "twins.hpp"
#include "users.hpp"
#include "waiting_line.hpp"

namespace lockbyfile::cli {

namespace {

using clock = std::chrono::steady_clock;

lock_options lock_options_of(const run_request& request) {
  lock_options options;
  options.lease = request.lease;
  options.patience = request.patience;
  options.directory = request.lock.directory;
  options.any_filesystem = request.lock.any_filesystem;
  options.mode = request.mode;
  options.description = request.description;
  return options;
}

std::optional<grant> acquire_within(named_lock& lock, std::chrono::nanoseconds patience,
                                    const std::stop_token& stop = {}) {
  try {
    return lock.acquire(patience, stop);
  } catch (const lock_error& error) {
    if (error.code() != errc::timed_out && error.code() != errc::cancelled) throw;
    return {};
  }
}

/// The result of trying to get the lock.
struct attempt {
  std::optional<grant> got;
  bool is_ours_already = false;  // it is held for us, by an ancestor
};

/// The first try does not wait: if it succeeds, there is nothing to report.
attempt acquire(named_lock& lock, const run_request& request, interruption& interrupted) {
  const auto begin = clock::now();
  attempt result;
  result.got = acquire_within(lock, std::chrono::nanoseconds(0));
  if (result.got) return result;
  result.is_ours_already = is_held_for_us(lock.path());
  if (result.is_ours_already || request.patience <= std::chrono::nanoseconds(0)) return result;

  interrupted.watch();
  std::optional<waiting_line> line;
  if (request.chatter != chattiness::quiet) line.emplace(request.lock.name, lock.path());
  const auto left =
      request.patience == forever ? forever : request.patience - (clock::now() - begin);
  result.got = acquire_within(lock, left, interrupted.stop_token());
  return result;
}

void tell_of_no_grant(const named_lock& lock, const run_request& request, bool is_ours_already) {
  if (request.chatter == chattiness::quiet) return;
  const std::string begin = "could not get " + in_quotes(request.lock.name) + ", ";
  if (is_ours_already) {
    say(begin +
        "this command runs under it already: an outer 'lockbyfile run' holds it until this "
        "command has ended. Leave the inner run out, or use another name");
    return;
  }
  const std::string patience = request.patience <= std::chrono::nanoseconds(0)
                                   ? "did not wait"
                                   : "gave up after " + duration_text(request.patience);
  const std::string text = begin + patience;
  say_when_known(
      [text, path = lock.path()] {
        std::error_code ec;
        const auto state = observe(path, {}, ec);
        return text + (state ? ": " + holder_text(*state) : "");
      },
      text);
}

std::string how_text(grant_kind how, const std::string& who) {
  switch (how) {
    case grant_kind::free: break;
    case grant_kind::expired: return "; the lease of " + who + " had run out";
    case grant_kind::abandoned: return "; " + who + " had died holding it";
    case grant_kind::broken: return "; the grant before was broken";
  }
  return "";
}

void tell_of_grant(const grant& got, const std::string& path, const run_request& request) {
  if (request.chatter != chattiness::verbose) return;
  const std::string who = got.previous ? party_text(*got.previous) : "the last holder";
  say("got " + in_quotes(request.lock.name) + " (" + printable(path) + ") after " +
      duration_text(got.waited) + ", token " + std::to_string(got.token.value()) +
      how_text(got.how, who));
  say_when_known([name = request.lock.name, path] { return twins_text(twins_of(name, path)); }, "");
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
  if (std::string outer = outer_grants(); !outer.empty()) {
    start.environment.push_back("LOCKBYFILE_OUTER=" + std::move(outer));
  }
  start.signals = &gate.inherited();
  if (request.lifeline == lifeline_policy::share) start.shared_descriptor = lock.native_handle();
  start.dies_with_us = lock.native_handle() < 0;
  return start;
}

int exit_code_of_status(int status) {
  return WIFSIGNALED(status) ? exit_killed + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Ctrl-C has ended the command, so it must end us, too. A shell reports the same exit code either
/// way, but only a death by the signal also ends a loop in that shell.
bool is_ended_by_ctrl_c(const command_end& end) {
  return end.interrupted_from_terminal && WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGINT;
}

/// Reports why a grant was lost. May take long.
using explanation = std::function<std::string()>;

/// Releases the lock. Returns why the release came too late, or nothing.
explanation release(named_lock& lock) {
  const auto lease_left = lock.lease_remaining();
  std::error_code lost;
  lock.release(lost);
  if (!lost) return {};
  return [what = last_failure().code == lost ? last_failure() : failure{}, path = lock.path(),
          token = lock.token(), lease_left] {
    const std::string why = loss_text(what);
    return why.empty() ? why_lost(path, token, lease_left) : why;
  };
}

int conclude(const run_request& request, const command_end& end, std::chrono::nanoseconds duration,
             const explanation& lost, interruption& interrupted) {
  const bool was_ended_for_the_lock =
      end.reason == end_reason::grant_lost || end.reason == end_reason::lease_ends;
  const int code = exit_code_of_status(end.status);
  const std::string how_it_ended = in_quotes(request.description) + " ended after " +
                                   duration_text(duration) + " with exit code " +
                                   std::to_string(code);
  if (lost && !was_ended_for_the_lock) {
    const std::string text = "lost " + in_quotes(request.lock.name) + " by the time " +
                             in_quotes(request.description) + " had ended (with " +
                             std::to_string(code) + ")";
    say_when_known([text, lost] { return text + ": " + lost(); }, text);
  }
  if (request.chatter == chattiness::verbose) {
    say((lost ? "" : "released " + in_quotes(request.lock.name) + ": ") + how_it_ended);
  }
  if (was_ended_for_the_lock || lost) return exit_grant_lost;
  if (is_ended_by_ctrl_c(end)) interrupted.note(SIGINT);
  return code;
}

int run_the_command(named_lock& lock, const grant& got, const run_request& request,
                    const signal_gate& gate, interruption& interrupted) {
  ask_only_files_for_users();
  process_tree tree;
  supervision plan = supervision_of(lock, request);
  if (plan.term_at <= clock::now()) {
    say("the lease of " + in_quotes(request.lock.name) + " ended before " +
        in_quotes(request.description) + " could start");
    return exit_grant_lost;
  }

  supervisor watch(lock, gate, tree, std::move(plan));
  const command_start start = start_of(lock, gate, request);
  interrupted.look();  // at the last moment
  if (interrupted.has_come()) return exit_other;
  const auto begin = clock::now();
  std::error_code ec;
  const pid_t command = spawn(start, ec);
  if (ec) {
    say("cannot start " + in_quotes(request.command.front()) + ": " + ec.message());
    return exit_code_of_failed_start(ec.value());
  }
  watch.has_started(command);
  tell_of_grant(got, lock.path(), request);

  const command_end end = watch.stay();
  const auto duration = clock::now() - begin;
  lock.note_run(duration, exit_code_of_status(end.status));
  return conclude(request, end, duration, release(lock), interrupted);
}

int get_it_and_run(named_lock& lock, const run_request& request, const signal_gate& gate,
                   interruption& interrupted) {
  const attempt tried = acquire(lock, request, interrupted);
  if (!interrupted.has_come()) {  // the watcher also makes sure that we do end
    interrupted.stop_watching();
    interrupted.look();
  }
  if (interrupted.has_come()) return exit_other;  // it ends us when the lock is closed
  if (!tried.got) {
    tell_of_no_grant(lock, request, tried.is_ours_already);
    return request.conflict_exit_code;
  }
  return run_the_command(lock, *tried.got, request, gate, interrupted);
}

/// Opening a lockfile leaves nothing behind, so a signal may end us there as it always does.
/// Opening a lock on a server may take seconds. No signal ends the first process of a pid
/// namespace.
bool is_opened_under_guard(const run_request& request) {
  const auto is_on_server = [](const std::string& s) { return s.find("://") != std::string::npos; };
  return ::getpid() == 1 || is_on_server(request.lock.name) ||
         is_on_server(request.lock.directory.empty() ? default_directory()
                                                     : request.lock.directory);
}

}  // namespace

int carry_out(const run_request& request) {
  signal_gate gate;
  interruption interrupted(gate);
  const bool is_guarded = is_opened_under_guard(request);
  if (is_guarded) {
    gate.take();
    interrupted.watch();
  }
  int code = exit_other;
  try {
    named_lock lock(request.lock.name, lock_options_of(request));
    if (!is_guarded) gate.take();
    interrupted.spare_us();
    code = get_it_and_run(lock, request, gate, interrupted);
  } catch (const std::exception&) {
    interrupted.die_if_it_has_come();
    throw;
  }
  interrupted.die_if_it_has_come();
  return code;
}

}  // namespace lockbyfile::cli
