// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile VERB ...: the command. Each verb adds itself to the parser, does its work
// when it is the one asked for, and sets the exit code; what it throws ends here.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "demo.hpp"
#include "exit_codes.hpp"
#include "maintain.hpp"
#include "printable.hpp"
#include "run.hpp"
#include "run_arguments.hpp"
#include "say.hpp"
#include "show.hpp"
#include "wait.hpp"

namespace lockbyfile::cli {

namespace {

/// Without this, a lockfile might become descriptor 2 if we were started with stderr
/// closed, and messages would go into it.
void occupy_closed_standard_descriptors() {
  std::array<pollfd, 3> standard{{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}};
  ::poll(standard.data(), standard.size(), 0);
  for (const pollfd& p : standard) {
    // The lowest free number is this one. The command finds it closed, as we did.
    if ((p.revents & POLLNVAL) != 0) ::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
}

bool has_verb(const CLI::App& app, const std::string& name) {
  const auto named =
      app.get_subcommands([&name](const CLI::App* v) { return v->check_name(name); });
  return !named.empty();
}

/// CLI11 alone would only say that a subcommand is required.
void refuse_unknown_verb(const CLI::App& app, const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw CLI::ValidationError("which verb?");
  if (arguments[0].starts_with('-') || has_verb(app, arguments[0])) return;
  throw CLI::ValidationError("there is no verb " + in_quotes(arguments[0]));
}

/// `arguments` as the parser wants them: the last one first, and the command that
/// `run` is to execute cut off.
void parse(CLI::App& app, const CLI::App& run, std::vector<std::string> arguments,
           std::vector<std::string>& after_name) {
  refuse_unknown_verb(app, arguments);
  if (!arguments.empty() && arguments[0] == run.get_name()) {
    arguments.erase(arguments.begin());
    after_name = cut_after_name(run, arguments);
    arguments.insert(arguments.begin(), run.get_name());
  }
  std::reverse(arguments.begin(), arguments.end());
  app.parse(std::move(arguments));
}

/// Help and version are no errors; everything else that the parser throws is the user's.
int end_of_parsing(const CLI::App& app, const CLI::ParseError& error, const std::string& verb) {
  if (error.get_exit_code() == 0) return app.exit(error);
  say(error.what());
  say("try 'lockbyfile " + (has_verb(app, verb) ? verb + ' ' : "") + "--help'");
  return exit_usage;
}

int lockbyfile_main(std::vector<std::string> arguments) {
  int exit_code = exit_ok;
  std::vector<std::string> after_name;
  CLI::App app("A named lock between processes, kept in a file", "lockbyfile");
  app.set_version_flag("--version", "lockbyfile " LOCKBYFILE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.footer(exit_codes_help());
  const CLI::App* run = add_run(app, after_name, exit_code);
  add_status(app, exit_code);
  add_list(app, exit_code);
  add_wait(app, exit_code);
  add_break(app, exit_code);
  add_rm(app, exit_code);
  add_prune(app, exit_code);
  add_demo(app, exit_code);
  const std::string verb = arguments.empty() ? "" : arguments[0];
  try {
    parse(app, *run, std::move(arguments), after_name);
    return exit_code;
  } catch (const CLI::ParseError& error) {
    return end_of_parsing(app, error, verb);
  }
}

}  // namespace

}  // namespace lockbyfile::cli

int main(int argc, char** argv) {
  using namespace lockbyfile;
  cli::occupy_closed_standard_descriptors();
  try {
    return cli::lockbyfile_main({argv + std::min(argc, 1), argv + argc});
  } catch (const std::system_error& error) {  // lock_error among them
    cli::say(error.what());
    return cli::exit_code_of(error.code());
  } catch (const std::exception& error) {
    cli::say(error.what());
    return cli::exit_other;
  }
}
