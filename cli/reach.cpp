// SPDX-License-Identifier: Apache-2.0
#include "reach.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>

#include "describe.hpp"
#include "exit_codes.hpp"
#include "own_proc.hpp"

namespace lockbyfile::cli {

namespace {

constexpr int exit_not_reachable = exit_wrong_file;

std::string this_host() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string base_name(std::string path) {
  constexpr std::string_view replaced = " (deleted)";
  if (path.ends_with(replaced)) path.resize(path.size() - replaced.size());
  return path.substr(path.rfind('/') + 1);
}

/// Whether the recorded process runs here and we may not look into it. Only the exit code depends
/// on this.
bool is_of_another_user(const open_lifelines& seen, const party& who) {
  const auto& hidden = seen.hidden_users();
  if (std::find(hidden.begin(), hidden.end(), who.user) != hidden.end()) return true;
  // /proc may be mounted so that it leaves others' processes out.
  return who.user != ::geteuid() && ::kill(static_cast<pid_t>(who.pid), 0) != 0 && errno == EPERM;
}

reached reach_by_lifeline(const lock_state& state) {
  const holder_info& holder = *state.holder;
  const open_lifelines seen;
  reached result{seen.of(state.path, holder), 0, {}};
  if (!result.processes.empty()) return result;
  const std::string who = party_text(holder.who);
  if (!seen.is_known()) {
    result.exit_code = exit_not_reachable;
    result.why = who + " cannot be reached: " + why_proc_is_not_ours();
  } else if (is_of_another_user(seen, holder.who)) {
    result.exit_code = exit_not_permitted;
    result.why = who + " belongs to another user, whose processes we may not look into";
  } else {
    result.exit_code = exit_not_reachable;
    result.why = who +
                 " cannot be reached: no process that we can see has its lifeline open, so it is "
                 "in another pid namespace, such as a container or its host";
  }
  return result;
}

std::optional<lifeline_process> process_with(pid_t pid) {
  const auto facts = facts_of(pid);
  const auto identity = identity_of(pid);
  if (!facts || !identity) return {};
  return lifeline_process{with_living_state(*facts), *identity, arguments_of(*facts), -1};
}

/// Replaces each %XX by its byte.
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const char* const hex = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(hex, hex + 2, byte, 16).ptr == hex + 2) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// "/NAME" of "etcd://HOST,HOST/NAME?OPTIONS".
std::string name_in(std::string_view url) {
  const auto scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return {};
  const auto slash = url.find('/', scheme_end + 3);
  if (slash == std::string_view::npos) return {};
  return decoded(url.substr(slash, url.find('?') - slash));
}

/// Whether `word` of a command line names the lock `url`: as a URL, or as a name in a directory
/// (LOCKBYFILE_DIR, --dir) on servers.
bool names(const std::string& word, std::string_view url) {
  const std::string name = name_in(url);
  if (word.find('/') == std::string::npos) return !word.empty() && name.ends_with('/' + word);
  return !name.empty() && name_in(word) == name;
}

/// Whether the process with the recorded pid can be the holder. It must have the holder's user and
/// be older than the grant. It must be a `run` of this name or a program of the recorded name.
bool is_plausible(const lifeline_process& process, const lock_state& state) {
  const holder_info& holder = *state.holder;
  using std::chrono::system_clock;
  constexpr std::chrono::seconds slack{2};  // between two clocks
  const auto held_for = system_clock::now() - holder.since;
  if (process.identity.user != holder.who.user) return false;
  if (!process.facts.age || *process.facts.age + slack < held_for) return false;
  if (is_run(process)) {
    return std::any_of(process.arguments.begin(), process.arguments.end(),
                       [&](const auto& word) { return names(word, state.path); });
  }
  std::string comm = content_of("/proc/" + std::to_string(process.facts.pid) + "/comm");
  if (comm.ends_with('\n')) comm.pop_back();
  constexpr std::size_t longest = 15;  // the kernel keeps no more
  return !comm.empty() && comm == holder.who.command.substr(0, longest);
}

reached reach_by_host(const lock_state& state) {
  const holder_info& holder = *state.holder;
  const std::string who = party_text(holder.who);
  const auto unreachable = [](std::string why) {
    return reached{{}, exit_not_reachable, std::move(why)};
  };
  if (!holder.who.host.empty() && holder.who.host != this_host()) {
    return unreachable(who + " is on another host: stop it there");
  }
  if (!proc_is_ours()) {
    return unreachable(who + " cannot be reached: " + why_proc_is_not_ours());
  }
  auto process = process_with(static_cast<pid_t>(holder.who.pid));
  if (!process || !is_plausible(*process, state)) {
    return unreachable(who +
                       " cannot be reached: no process here is recognised as it, so it is in "
                       "another pid namespace, such as a container or its host");
  }
  return {{*std::move(process)}, 0, {}};
}

}  // namespace

reached reach(const lock_state& state) {
  return state.holder->lifeline >= 0 ? reach_by_lifeline(state) : reach_by_host(state);
}

bool is_recorded_holder(const lifeline_process& process, const holder_info& holder) {
  return process.identity.inner_pid == static_cast<pid_t>(holder.who.pid);
}

bool is_run(const lifeline_process& process) {
  if (process.arguments.size() < 2 || process.arguments[1] != "run") return false;
  const std::string program = base_name(program_of(process.facts.pid));
  return program == "lockbyfile" || program == "lockbyfile-etcd";
}

bool still_holds(const lifeline_process& process, const lock_state& state) {
  const pid_t pid = process.facts.pid;
  if (state.holder->lifeline >= 0) {
    return !open_lifelines(pid).of(state.path, *state.holder).empty();
  }
  const auto again = process_with(pid);
  return again && again->facts.start == process.facts.start;
}

}  // namespace lockbyfile::cli
