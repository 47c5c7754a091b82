// SPDX-License-Identifier: Apache-2.0
#include "show.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "columns.hpp"
#include "describe.hpp"
#include "duration.hpp"
#include "exit_codes.hpp"
#include "json.hpp"
#include "open_lifelines.hpp"
#include "options.hpp"
#include "print.hpp"
#include "printable.hpp"
#include "reach.hpp"
#include "twins.hpp"

namespace lockbyfile::cli {

namespace {

std::string headline(const observed_lock& lock) {
  const std::string name = printable(lock.name);
  if (!lock.state.holder) return name + " is free\n";
  const std::string who = party_text(lock.state.holder->who);
  if (!lock.state.holder->alive) {
    return name + " is open: " + who + " died holding it, the next one takes over\n";
  }
  if (lock.state.is_open()) {
    return name + " is open: the lease of " + who + " ran out, the next one takes over\n";
  }
  return name + " is held by " + who + '\n';
}

std::string lease_text(const holder_info& holder) {
  if (holder.lease == no_lease) return "none: until release or death";
  return duration_text(holder.lease_left) + " left of " + duration_text(holder.lease);
}

std::string command_line_text(const lifeline_process& process) {
  if (process.arguments.empty()) return "(its command line may not be read)";
  std::string text;
  for (const std::string& argument : process.arguments) {
    text += (text.empty() ? "" : " ") + printable(argument);
  }
  return text;
}

/// The processes that keep the holder alive. The one that acquired the lock may have ended.
std::string process_lines(const observed_lock& lock) {
  const holder_info& holder = *lock.state.holder;
  if (!holder.alive || !lock.processes) return "\n";
  if (lock.processes->empty()) return ", in no process that we may look into\n";
  std::string text = ", open in:\n";
  bool is_there = false;
  for (const lifeline_process& process : *lock.processes) {
    is_there = is_there || is_recorded_holder(process, holder);
    text += "    " + padded(std::to_string(process.facts.pid), 7) + "  " +
            state_name(process.facts.state) + ", " +
            (process.facts.age ? duration_text(*process.facts.age) + " old" : "of unknown age") +
            ": " + command_line_text(process) + '\n';
  }
  if (!is_there) {
    text += "    (pid " + std::to_string(holder.who.pid) +
            ", which acquired the lock, is none of them: it has ended)\n";
  }
  return text;
}

std::string holder_lines(const observed_lock& lock) {
  const holder_info& holder = *lock.state.holder;
  return "  since     " + time_text(holder.since) + " (" + ago_text(holder.since) + ")\n" +
         "  lease     " + lease_text(holder) + '\n' +  //
         "  token     " + std::to_string(holder.token.value()) + '\n' + "  lifeline  " +
         (holder.alive ? "alive" : "gone") + process_lines(lock);
}

std::string waiter_lines(const std::vector<waiter_info>& waiters) {
  if (waiters.empty()) return "";
  std::string text = "waiting, first in line first:\n";
  for (const waiter_info& waiter : waiters) {
    text += "  " + party_text(waiter.who) + ", for " + duration_text(waiter.waiting) + '\n';
  }
  return text;
}

std::string grant_lines(const std::vector<grant_info>& grants) {
  if (grants.empty()) return "";
  std::string text = "last grants, newest first:\n";
  for (const grant_info& grant : grants) {
    text += "  " + time_text(grant.since) + "  token " + std::to_string(grant.token.value()) +
            "  " + padded(kind_word(grant.how), 9) + "  " + party_text(grant.who) + '\n';
  }
  return text;
}

std::string last_lines(const lock_state& state) {
  std::string text;
  if (state.last_run) {
    text += "  last run  took " + duration_text(state.last_run->duration) + ", exit code " +
            std::to_string(state.last_run->exit_code) + ", ended " +
            time_text(state.last_run->ended) + " (" + ago_text(state.last_run->ended) +
            "), token " + std::to_string(state.last_run->token.value()) + '\n';
  }
  if (state.last_break) {
    text += "  broken    last by " + party_text(state.last_break->by) + ", " +
            time_text(state.last_break->at) + " (" + ago_text(state.last_break->at) + "), token " +
            std::to_string(state.last_break->token.value()) + '\n';
  }
  return text;
}

std::string status_text(const observed_lock& lock) {
  std::string text = headline(lock);
  if (lock.state.holder) text += holder_lines(lock);
  text += "  file      " + printable(lock.state.path) + '\n';
  if (!lock.twins.empty()) text += "  beware    " + twins_text(lock.twins) + '\n';
  text += last_lines(lock.state);
  return text + waiter_lines(lock.state.waiters) + grant_lines(lock.state.grants);
}

std::string list_line(const observed_lock& lock, std::size_t name_width) {
  std::string text = padded(printable(lock.name), name_width) + "  ";
  if (lock.error) return text + "unreadable: " + printable(lock.error.message()) + '\n';
  text += padded(state_word(lock.state), 9);
  if (lock.state.holder) text += "  " + party_text(lock.state.holder->who);
  const std::size_t waiters = lock.state.waiters.size();
  if (waiters != 0) text += "  " + std::to_string(waiters) + " waiting";
  return text.substr(0, text.find_last_not_of(' ') + 1) + '\n';
}

std::string list_text(const std::vector<observed_lock>& locks) {
  std::size_t width = 0;
  for (const observed_lock& lock : locks) width = std::max(width, columns_of(printable(lock.name)));
  std::string text;
  for (const observed_lock& lock : locks) text += list_line(lock, width);
  return text;
}

/// The processes that keep the holder of `lock` alive, as far as they are known.
std::optional<std::vector<lifeline_process>> processes_of(const lock_state& state,
                                                          const open_lifelines& seen) {
  if (!state.holder || state.holder->lifeline < 0 || !seen.is_known()) return {};
  return seen.of(state.path, *state.holder);
}

/// Locks that go away while we look are left out.
std::vector<observed_lock> look_at_all(const std::string& directory) {
  std::vector<observed_lock> locks;
  for (const std::string& path : list(directory, which_names::all)) {
    observed_lock lock{name_of(path), {}, {}};
    if (auto state = observe(path, {}, lock.error)) {
      lock.state = std::move(*state);
    } else {
      lock.state.path = std::filesystem::absolute(path).lexically_normal();
    }
    if (lock.error != errc::not_found) locks.push_back(std::move(lock));
  }
  return locks;
}

struct show_options {
  lock_address lock;
  std::string directory = default_directory();
  bool json = false;
  bool quiet = false;
};

/// status -q
int state_as_exit_code(const show_options& given, const lock_options& options) {
  std::error_code ec;
  const auto state = observe(given.lock.name, options, ec);
  if (ec == errc::not_found) return exit_no;
  if (!state)
    return observe(given.lock.name, options).is_open() ? exit_ok : exit_is_held;  // throws
  return state->is_open() ? exit_ok : exit_is_held;
}

int status(const show_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  options.any_filesystem = given.lock.any_filesystem;
  if (given.quiet) return state_as_exit_code(given, options);
  observed_lock lock{given.lock.name, observe(given.lock.name, options), {}};
  if (lock.state.holder) lock.processes = processes_of(lock.state, open_lifelines());
  lock.twins = twins_of(given.lock.name, lock.state.path);
  print(given.json ? json_text(lock) : status_text(lock));
  return exit_ok;
}

int list_all(const show_options& given) {
  std::vector<observed_lock> locks = look_at_all(given.directory);
  if (given.json) {
    const open_lifelines seen;
    for (observed_lock& lock : locks) lock.processes = processes_of(lock.state, seen);
  }
  print(given.json ? json_text(locks) : list_text(locks));
  return exit_ok;
}

}  // namespace

void add_status(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<show_options>();
  add_lock_address(verb, given->lock);
  CLI::Option* json = verb.add_flag("--json", given->json, "as JSON, see below");
  verb.add_flag("-q,--quiet", given->quiet, "print nothing: the exit code tells")
      ->excludes(json)
      ->option_text(" ");
  json->option_text(" ");
  verb.footer(
      "It takes nothing and disturbs nobody. A lock that `run` holds has the pid of\n"
      "lockbyfile, and the name of the command.\n\n"
      "Exit codes:\n"
      "  0    there is such a lock, held or free; with -q: it is open, so free, or its\n"
      "       holder's lease ran out, or its holder died\n"
      "  1    there is no such lock\n"
      "  75   with -q: it is held\n\n"
      "--json (times in seconds, null for none):\n"
      "  {name, path, path_base64: null, or if it is no UTF-8 its bytes, twins: [paths],\n"
      "   state: free|held|expired|abandoned,\n"
      "   error: null, or with `list` why the state is `unreadable`,\n"
      "   holder: {pid, command, host, uid, user, token, since, lease, lease_left, alive,\n"
      "            processes: [{pid, uid, user, state, age, command_line: [...]}]},\n"
      "   waiters: [{pid, command, host, uid, user, waiting}],\n"
      "   grants: [{pid, command, host, uid, user, token, since,\n"
      "             how: free|expired|abandoned|broken}],\n"
      "   last_break: {token, by: {pid, command, host, uid, user}, at},\n"
      "   last_run: {token, duration, exit_code, ended}}");
  verb.callback([given, &chosen] { chosen = [given] { return status(*given); }; });
}

void add_list(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<show_options>();
  add_directory(verb, given->directory);
  verb.add_flag("--json", given->json, "as JSON: an array of what status shows");
  verb.footer(
      "Exit codes: 0 listed, also if there is none; 73 the directory cannot be read; 77 not\n"
      "permitted");
  verb.callback([given, &chosen] { chosen = [given] { return list_all(*given); }; });
}

}  // namespace lockbyfile::cli
