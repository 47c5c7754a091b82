// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>
#include <utility>

#include "demo.hpp"
#include "exit_codes.hpp"
#include "maintain.hpp"
#include "printable.hpp"
#include "run.hpp"
#include "run_arguments.hpp"
#include "show.hpp"
#include "wait.hpp"

namespace lockbyfile::cli {

namespace {

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
command_line told(const CLI::App& app, const CLI::ParseError& error, const std::string& verb) {
  command_line result;
  if (error.get_exit_code() == 0) {
    std::ostringstream text;
    app.exit(error, text, text);
    result.help = text.str();
  } else {
    result.complaint = error.what();
    result.hint = "try 'lockbyfile " + (has_verb(app, verb) ? verb + ' ' : "") + "--help'";
  }
  return result;
}

}  // namespace

command_line read_command_line(std::vector<std::string> arguments) {
  command_line result;
  std::vector<std::string> after_name;
  CLI::App app("A named lock between processes, kept in a file", "lockbyfile");
  app.set_version_flag("--version", "lockbyfile " LOCKBYFILE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.footer(exit_codes_help());
  const CLI::App* run = add_run(app, after_name, result.act);
  add_status(app, result.act);
  add_list(app, result.act);
  add_wait(app, result.act);
  add_break(app, result.act);
  add_rm(app, result.act);
  add_prune(app, result.act);
  add_demo(app, result.act);
  const std::string verb = arguments.empty() ? "" : arguments[0];
  try {
    parse(app, *run, std::move(arguments), after_name);
    return result;
  } catch (const CLI::ParseError& error) {
    return told(app, error, verb);
  }
}

}  // namespace lockbyfile::cli
