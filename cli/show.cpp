// SPDX-License-Identifier: Apache-2.0
#include "show.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <string>
#include <vector>

#include "describe.hpp"
#include "duration.hpp"
#include "exit_codes.hpp"
#include "json.hpp"
#include "options.hpp"
#include "print.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

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

std::string holder_lines(const holder_info& holder) {
  return "  since     " + time_text(holder.since) + " (" + ago_text(holder.since) + ")\n" +
         "  lease     " + lease_text(holder) + '\n' +  //
         "  token     " + std::to_string(holder.token.value()) + '\n' + "  lifeline  " +
         (holder.alive ? "alive" : "gone") + '\n';
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

std::string status_text(const observed_lock& lock) {
  std::string text = headline(lock);
  if (lock.state.holder) text += holder_lines(*lock.state.holder);
  text += "  file      " + printable(lock.state.path) + '\n';
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
  for (const observed_lock& lock : locks) width = std::max(width, printable(lock.name).size());
  std::string text;
  for (const observed_lock& lock : locks) text += list_line(lock, width);
  return text;
}

/// Locks that go away while we look are left out.
std::vector<observed_lock> look_at_all(const std::string& directory) {
  std::vector<observed_lock> locks;
  for (const std::string& path : list(directory)) {
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
};

int status(const show_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  const observed_lock lock{given.lock.name, observe(given.lock.name, options), {}};
  print(given.json ? json_text(lock) : status_text(lock));
  return exit_ok;
}

int list_all(const show_options& given) {
  const std::vector<observed_lock> locks = look_at_all(given.directory);
  print(given.json ? json_text(locks) : list_text(locks));
  return exit_ok;
}

}  // namespace

void add_status(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<show_options>();
  add_lock_address(verb, given->lock);
  verb.add_flag("--json", given->json, "as JSON, see below");
  verb.footer(
      "It takes nothing and disturbs nobody. Exit code: 0 if there is such a lock, be it\n"
      "held or free; 1 if there is none. A lock that `run` holds has the pid of lockbyfile,\n"
      "and the name of the command.\n\n"
      "--json (times in seconds, null for none):\n"
      "  {name, path, state: free|held|expired|abandoned,\n"
      "   error: null, or with `list` why the state is `unreadable`,\n"
      "   holder: {pid, command, uid, user, token, since, lease, lease_left, alive},\n"
      "   waiters: [{pid, command, uid, user, waiting}],\n"
      "   grants: [{pid, command, uid, user, token, since, how: free|expired|abandoned}]}");
  verb.callback([given, &chosen] { chosen = [given] { return status(*given); }; });
}

void add_list(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<show_options>();
  add_directory(verb, given->directory);
  verb.add_flag("--json", given->json, "as JSON: an array of what status shows");
  verb.footer(exit_codes_help());
  verb.callback([given, &chosen] { chosen = [given] { return list_all(*given); }; });
}

}  // namespace lockbyfile::cli
