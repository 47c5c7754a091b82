// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <cstdlib>
#include <memory>
#include <string_view>

#include "carry_out.hpp"
#include "printable.hpp"
#include "run_arguments.hpp"
#include "run_once.hpp"
#include "run_request.hpp"

namespace lockbyfile::cli {

namespace {

/// The options as they were given.
struct run_options {
  lock_address lock;
  std::string shell_text;
  std::optional<std::chrono::nanoseconds> patience;
  std::optional<std::chrono::nanoseconds> lease;
  std::optional<std::chrono::nanoseconds> kill_after;
  int conflict_exit_code = exit_patience_ran_out;
  unsigned mode = lock_options{}.mode;
  bool no_wait = false;
  bool once = false;
  bool renew = false;
  bool quiet = false;
  bool verbose = false;
  bool no_share = false;
  std::vector<std::string> command_for_help;  // never filled: the command is cut off before
};

[[noreturn]] void refuse(const std::string& why) { throw CLI::ValidationError(why); }

std::string base_name(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return std::string(name.empty() ? path : name);
}

/// The program that a shell text begins with, if it is easy to recognize, else `shell`.
std::string description_of_shell_text(std::string_view text, const std::string& shell) {
  constexpr std::string_view blanks = " \t\n";
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return shell;
  text.remove_prefix(begin);
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  return word.find_first_not_of(plain) == std::string_view::npos ? base_name(word) : shell;
}

void set_shell_command(run_request& request, const std::string& text) {
  const char* const chosen = std::getenv("SHELL");
  const std::string shell = chosen != nullptr && *chosen != '\0' ? chosen : "/bin/sh";
  request.command = {shell, "-c", text};
  request.description = description_of_shell_text(text, base_name(shell));
}

void set_command(run_request& request, const run_options& given,
                 std::vector<std::string> after_name) {
  const bool has_shell_text = !given.shell_text.empty();
  if (has_shell_text && !after_name.empty()) {
    refuse("-c takes the place of the command: give one of them");
  }
  if (has_shell_text) return set_shell_command(request, given.shell_text);
  if (after_name.size() == 2 && after_name[0] == "-c") {
    return set_shell_command(request, after_name[1]);
  }
  if (!after_name.empty() && after_name[0] == "--") {
    after_name.erase(after_name.begin());
  } else if (!after_name.empty() && after_name[0].starts_with('-')) {
    refuse(in_quotes(after_name[0]) +
           " stands where the command should: options go before the "
           "name, and a command of that name after --");
  }
  if (after_name.empty()) refuse("the command is missing");
  request.description = base_name(after_name[0]);
  request.command = std::move(after_name);
}

void set_lease(run_request& request, const run_options& given) {
  using std::chrono::nanoseconds;
  if (given.lease && *given.lease == nanoseconds(0)) refuse("--lease must be above zero");
  request.kill_after = given.kill_after;
  if (given.renew) {
    request.at_lease_end = lease_policy::renew;
    request.lease = given.lease.value_or(std::chrono::seconds(10));
    return;
  }
  request.lease = given.lease.value_or(no_lease);
  if (given.lease && given.kill_after && *given.kill_after >= *given.lease) {
    refuse("--kill-after must be shorter than --lease, of which it is the end");
  }
}

run_request request_from(const run_options& given, const std::vector<std::string>& after_name) {
  if (given.no_wait && given.patience) refuse("--no-wait excludes --patience");
  run_request request;
  request.lock = given.lock;
  set_command(request, given, after_name);
  set_lease(request, given);
  request.patience = given.no_wait ? std::chrono::nanoseconds(0) : given.patience.value_or(forever);
  request.lifeline = given.no_share ? lifeline_policy::keep : lifeline_policy::share;
  request.conflict_exit_code = given.conflict_exit_code;
  request.mode = given.mode;
  request.once = given.once;
  request.chatter = given.quiet     ? chattiness::quiet
                    : given.verbose ? chattiness::verbose
                                    : chattiness::normal;
  return request;
}

void add_time_options(CLI::App& run, run_options& given) {
  CLI::Option* patience = add_duration(run, "-w,--patience", given.patience,
                                       "give up after this long (default: never)");
  add_duration(run, "--wait", given.patience, "")->group("");  // as in flock(1)
  run.add_flag("-n,--no-wait", given.no_wait, "give up at once if the lock is held")
      ->excludes(patience)
      ->option_text(" ");
  run.add_flag("--nonblock,--nb", given.no_wait)->group("");
  add_number(
      run, "-E,--conflict-exit-code", 0, 255,
      [&given](std::uint64_t code) { given.conflict_exit_code = static_cast<int>(code); },
      "exit code for having given up (default: 75)")
      ->option_text("CODE");
  add_duration(run, "--lease", given.lease, "the lock opens after this long, see below");
  // The same option is the wait in flock(1) but the command's time to live in timeout(1).
  run.add_option_function<std::string>(
         "--timeout",
         [](const std::string&) {
           throw CLI::ValidationError("--timeout", "is ambiguous: --patience (wait) or --lease?");
         })
      ->group("");
  run.add_flag("--renew", given.renew, "keep renewing a short lease (default: of 10s)");
  add_duration(run, "--kill-after", given.kill_after, "from SIGTERM to SIGKILL (default: 5s)");
}

void add_other_options(CLI::App& run, run_options& given) {
  run.add_option("-c,--command", given.shell_text, "run this with $SHELL, in place of COMMAND")
      ->option_text("TEXT");
  run.add_flag("-o,--no-share", given.no_share, "do not share the lifeline with the command");
  run.add_flag("--once", given.once, "not again, if we run under this lock already: see held")
      ->option_text(" ");
  add_mode(run, given.mode);
  run.add_flag("-x,-e,--exclusive")->group("");  // as in flock(1): it always is
  CLI::Option* quiet =
      run.add_flag("-q,--quiet", given.quiet, "suppress messages about waiting and giving up");
  run.add_flag("-v,--verbose", given.verbose, "report the grant, the lock's path and the release")
      ->excludes(quiet)
      ->option_text(" ");
  quiet->option_text(" ");
}

/// The rules that the one-line descriptions leave out.
std::string run_footer() {
  return "Durations: 10s, 250ms, 1h30m, or plain seconds like 1.5.\n"
         "\n"
         "All that follows NAME belongs to the command; the options of run go before NAME.\n"
         "The command's input, output, terminal and exit code pass through untouched, and\n"
         "signals are passed on to it. It finds LOCKBYFILE_NAME, LOCKBYFILE_TOKEN and\n"
         "LOCKBYFILE_FILE in its environment. -c takes /bin/sh if SHELL is not set.\n"
         "\n"
         "The lock is released when the command ends. If lockbyfile is killed, the command\n"
         "keeps the lock until it or the lease ends: it shares the lifeline (not with -o).\n"
         "With a lock in etcd it is killed, too. See lockbyfile(1) about sudo.\n"
         "\n"
         "With --lease the command is ended before the lock opens: SIGTERM comes a tenth of\n"
         "the lease before its end, 5s at the most (or --kill-after before its end), and\n"
         "SIGKILL just before the end. With --renew it may run for as long as it likes.\n"
         "\n"
         "If the grant is lost (the lock was broken, or its file deleted), the command is\n"
         "ended: SIGTERM, and SIGKILL after --kill-after. So is all that it has started.\n"
         "\n" +
         run_exit_codes_help();
}

}  // namespace

void add_run(CLI::App& run, std::vector<std::string>& arguments, action& chosen) {
  const auto given = std::make_shared<run_options>();
  add_lock_name(run, given->lock);
  run.add_option("COMMAND", given->command_for_help, "what to run, with its own arguments")
      ->type_name("");
  // Options go before NAME. If there are none, they are not described to the parser: that would
  // take 3 % of all the time of `run NAME true`.
  if (!arguments.empty() && arguments[0].starts_with('-')) {
    add_lock_directory(run, given->lock);
    add_time_options(run, *given);
    add_other_options(run, *given);
    run.footer(run_footer());
  }
  run.callback([given, after_name = cut_after_name(run, arguments), &chosen] {
    chosen = [request = request_from(*given, after_name)] {
      int code = exit_ok;
      if (request.once && run_under_inherited_grant(request, code)) return code;
      return carry_out(request);
    };
  });
}

}  // namespace lockbyfile::cli
