// SPDX-License-Identifier: Apache-2.0
#include "stop.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "describe.hpp"
#include "exit_codes.hpp"
#include "from_now.hpp"
#include "options.hpp"
#include "print.hpp"
#include "printable.hpp"
#include "process_handle.hpp"
#include "reach.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds between_looks{10};
constexpr std::chrono::seconds run_outlives_its_command{1};
constexpr std::chrono::seconds until_break{2};  // from the first SIGKILL

struct stop_options {
  lock_address lock;
  std::optional<std::chrono::nanoseconds> kill_after;
  bool quiet = false;
};

/// One grant, and the way to its end.
class stopper {
 public:
  stopper(std::string name, lock_state state, std::chrono::nanoseconds kill_after)
      : name_(std::move(name)), state_(std::move(state)), kill_after_(kill_after) {}

  /// Returns the exit code. what() describes what happened.
  int stop();
  [[nodiscard]] const std::string& what() const noexcept { return what_; }

 private:
  struct signalled {
    lifeline_process process;
    process_handle handle;
    bool was_killed;
  };

  [[nodiscard]] bool is_over() const;
  int give_up(int code, const std::string& why);
  void give_back_our_own() const;
  int ask(const std::vector<lifeline_process>& found);
  int kill(const std::vector<lifeline_process>& found);
  int send(const lifeline_process& process, int number);
  void kill_what_it_started(pid_t root) const;
  [[nodiscard]] bool is_older_than_grant(const process_facts& process) const;
  int break_it();

  [[nodiscard]] const holder_info& holder() const { return *state_.holder; }
  signalled* known(const lifeline_process& process);

  std::string name_;
  lock_state state_;
  std::chrono::nanoseconds kill_after_;
  std::vector<signalled> signalled_;
  clock::time_point kill_at_ = clock::time_point::max();
  std::string what_;
};

bool stopper::is_over() const {
  std::error_code ec;
  const auto now = observe(state_.path, {}, ec);
  if (ec == errc::not_found) return true;
  if (!now) return observe(state_.path, {}).is_open();  // throws, for its message
  return now->is_open() || now->holder->token != holder().token ||
         now->holder->since - holder().since > std::chrono::seconds(1);
}

int stopper::give_up(int code, const std::string& why) {
  if (is_over()) return exit_ok;  // it has ended between two looks
  say("cannot stop " + in_quotes(name_) + ": " + why + "; nothing was broken");
  return code;
}

/// An inherited copy of the lifeline would keep the lock held for as long as we wait.
void stopper::give_back_our_own() const {
  const int fd = open_lifelines(::getpid()).our_own(state_.path, holder());
  if (fd >= 0) ::close(fd);
}

stopper::signalled* stopper::known(const lifeline_process& process) {
  const auto found =
      std::find_if(signalled_.begin(), signalled_.end(), [&process](const signalled& s) {
        return s.process.facts.pid == process.facts.pid &&
               s.process.facts.start == process.facts.start;
      });
  return found == signalled_.end() ? nullptr : &*found;
}

/// Signals the process if it still holds. Does not send the same signal to it twice. Returns 0 or
/// the errno.
int stopper::send(const lifeline_process& process, int number) {
  signalled* s = known(process);
  if (s == nullptr) {
    process_handle handle(process.facts.pid);
    if (!handle.is_open() || !still_holds(process, state_)) return ESRCH;
    signalled_.push_back({process, std::move(handle), false});
    s = &signalled_.back();
  } else if (number != SIGKILL) {
    return 0;
  }
  const int error = s->handle.signal(number);
  // One that is stopped would not see it.
  if (error == 0 && number == SIGTERM) s->handle.signal(SIGCONT);
  if (error == 0 && number == SIGKILL) s->was_killed = true;
  return error;
}

int stopper::ask(const std::vector<lifeline_process>& found) {
  const auto main = std::find_if(found.begin(), found.end(),
                                 [this](const auto& p) { return is_recorded_holder(p, holder()); });
  if (main != found.end()) return send(*main, SIGTERM);
  int worst = 0;
  for (const lifeline_process& p : found) {
    if (const int error = send(p, SIGTERM); error != 0 && error != ESRCH) worst = error;
  }
  return worst;
}

/// True only if it is certain. The start of a process is on a clock that goes on while the machine
/// sleeps.
bool stopper::is_older_than_grant(const process_facts& process) const {
  constexpr std::chrono::milliseconds tick{10};  // the resolution of that clock in /proc
  timespec with_sleep{};
  timespec without{};
  ::clock_gettime(CLOCK_BOOTTIME, &with_sleep);
  ::clock_gettime(CLOCK_MONOTONIC, &without);
  const auto slept = std::chrono::seconds(with_sleep.tv_sec - without.tv_sec) +
                     std::chrono::nanoseconds(with_sleep.tv_nsec - without.tv_nsec);
  const auto held_for = std::chrono::system_clock::now() - holder().since;
  return process.age && *process.age - slept > held_for + tick;
}

void stopper::kill_what_it_started(pid_t root) const {
  // The command is recognized by its environment, if it still has it. Processes from before the
  // command are not its own.
  const std::string mark = "LOCKBYFILE_TOKEN=" + std::to_string(holder().token.value());
  std::optional<process_facts> command;
  const auto is_before = [](const process_facts& a, const process_facts& b) {
    return a.start < b.start || (a.start == b.start && a.pid < b.pid);
  };
  for (const process_facts& p : children_of(root)) {
    if ((!command || is_before(p, *command)) && was_started_with(p.pid, mark)) command = p;
  }
  const auto spared = [&](const process_facts& p) {
    return (command && is_before(p, *command)) || is_older_than_grant(p);
  };
  for (const process_facts& p : descendants_of(root, spared)) {
    const process_handle handle(p.pid);
    const auto again = facts_of(p.pid);
    if (again && again->start == p.start && p.pid != ::getpid()) handle.signal(SIGKILL);
  }
}

int stopper::kill(const std::vector<lifeline_process>& found) {
  int worst = 0;
  for (const lifeline_process& p : found) {
    if (is_run(p) && is_recorded_holder(p, holder())) {
      kill_what_it_started(p.facts.pid);
      // `run` ends with its command, and records how the command ended.
      if (clock::now() < kill_at_ + run_outlives_its_command) continue;
    }
    if (const int error = send(p, SIGKILL); error != 0 && error != ESRCH) worst = error;
  }
  return worst;
}

int stopper::break_it() {
  std::error_code ec;
  break_lock(state_.path, holder().token, {}, ec);
  if (ec && ec != errc::token_mismatch && ec != errc::not_found) {
    break_lock(state_.path, holder().token, {});  // throws, for its message
  }
  if (!ec) what_ = "broke " + in_quotes(name_) + ": not even SIGKILL has ended ";
  return exit_ok;
}

int stopper::stop() {
  give_back_our_own();
  for (;;) {
    const reached found = reach(state_);
    if (is_over()) return exit_ok;
    const bool is_dying = std::any_of(signalled_.begin(), signalled_.end(), [](const auto& s) {
      return s.was_killed && !s.handle.has_ended();
    });
    if (found.processes.empty() && !is_dying) return give_up(found.exit_code, found.why);

    const auto now = clock::now();
    if (kill_at_ == clock::time_point::max()) kill_at_ = from_now(kill_after_);
    const int error = now < kill_at_ ? ask(found.processes) : kill(found.processes);
    if (error == EPERM || error == EACCES) {
      return give_up(exit_not_permitted,
                     party_text(holder().who) + " may not be signalled: " + std::strerror(error));
    }
    if (error != 0 && error != ESRCH) throw std::system_error(error, std::system_category());
    if (now - until_break >= kill_at_) return break_it();
    std::this_thread::sleep_for(between_looks);
  }
}

int stop(const stop_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  options.any_filesystem = given.lock.any_filesystem;
  const lock_state state = observe(given.lock.name, options);
  if (state.is_open()) {
    if (!given.quiet) say(in_quotes(given.lock.name) + " is not held by anybody");
    return exit_no;
  }
  if (!state.holder->token) {
    say("cannot stop " + in_quotes(given.lock.name) + ": " + party_text(state.holder->who) +
        " has not told its token yet");
    return exit_wrong_file;
  }
  stopper one(given.lock.name, state, given.kill_after.value_or(std::chrono::seconds(5)));
  const int code = one.stop();
  if (code != exit_ok || given.quiet) return code;
  const std::string who =
      party_text(state.holder->who) + ", token " + std::to_string(state.holder->token.value());
  print((one.what().empty() ? "stopped " + in_quotes(given.lock.name) + ": it was held by "
                            : one.what()) +
        who + '\n');
  return code;
}

}  // namespace

void add_stop(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<stop_options>();
  add_lock_address(verb, given->lock);
  add_duration(verb, "--kill-after", given->kill_after, "from SIGTERM to SIGKILL (default: 5s)");
  verb.add_flag("-q,--quiet", given->quiet, "do not print what was done");
  verb.footer(
      "It sends SIGTERM to the holder: to run, which ends its command; if run was killed, to\n"
      "the command; or to the program that holds the lock. SIGKILL follows after --kill-after.\n"
      "It returns when the grant that it saw is over, whoever has the lock then. If not even\n"
      "SIGKILL ends the holder, that grant is broken.\n\n"
      "Exit codes:\n"
      "  0    that grant is over\n"
      "  1    the lock is not held, or there is none\n"
      "  69   the holder cannot be reached: it is on another host or in another pid\n"
      "       namespace. Nothing was broken\n"
      "  77   not permitted: it belongs to another user. Nothing was broken");
  verb.callback([given, &chosen] { chosen = [given] { return stop(*given); }; });
}

}  // namespace lockbyfile::cli
