// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>
#include <utility>

#include "demo.hpp"
#include "did_you_mean.hpp"
#include "exit_codes.hpp"
#include "held.hpp"
#include "maintain.hpp"
#include "printable.hpp"
#include "run.hpp"
#include "show.hpp"
#include "stop.hpp"
#include "wait.hpp"

namespace lockbyfile::cli {

namespace {

struct verb {
  const char* name;
  const char* about;
  /// Describes it to its parser; null for run and demo, which look at the arguments.
  void (*add)(CLI::App& verb, action& chosen);
};

constexpr std::array verbs = {
    verb{"run", "Run a command while holding a lock", nullptr},
    verb{"status", "Show who holds a lock and who waits for it", add_status},
    verb{"list", "Show the locks of a directory, a line each", add_list},
    verb{"wait", "Wait until a lock is free, without taking it", add_wait},
    verb{"held", "Tell whether the grant that was inherited is current", add_held},
    verb{"stop", "Stop the holder of a lock, and wait for that", add_stop},
    verb{"break", "Force a lock open, whoever holds it", add_break},
    verb{"rm", "Remove the lockfile of a lock that nobody holds", add_rm},
    verb{"prune", "Remove all lockfiles that no process has open", add_prune},
    verb{"demo", about_demo, nullptr},
};

const verb* find_verb(const std::string& name) {
  for (const verb& v : verbs) {
    if (v.name == name) return &v;
  }
  return nullptr;
}

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const verb& v : verbs) names.emplace_back(v.name);
  return names;
}

/// `arguments` are those after the verb. The parser gets no description of the other verbs: each
/// would take time.
command_line read_verb(const verb& asked, std::vector<std::string> arguments) {
  command_line result;
  const std::string call = std::string("lockbyfile ") + asked.name;
  CLI::App app(asked.about, call);
  try {
    if (asked.add != nullptr) {
      asked.add(app, result.act);
    } else {
      add_run(app, arguments, result.act);
    }
    parse(app, std::move(arguments));
    return result;
  } catch (const CLI::ParseError& error) {
    return answer_to(error, app, call + " --help");
  }
}

/// Arguments that begin with no verb: they ask for help, or are wrong.
command_line read_without_verb(std::vector<std::string> arguments) {
  CLI::App app("A named lock between processes, kept in a file", "lockbyfile");
  app.set_version_flag("--version", "lockbyfile " LOCKBYFILE_VERSION);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.require_subcommand(1);
  app.footer(exit_codes_help());
  for (const verb& v : verbs) app.add_subcommand(v.name, v.about);
  try {
    if (arguments.empty()) throw CLI::ValidationError("which verb?");
    if (!arguments[0].starts_with('-')) {
      const std::string meant = likely_word(arguments[0], verb_names());
      throw CLI::ValidationError("there is no verb " + in_quotes(arguments[0]) +
                                 (meant.empty() ? "" : "; did you mean " + meant + "?"));
    }
    if (app.get_option_no_throw(arguments[0]) == nullptr) {
      throw CLI::ValidationError("there is no option " + in_quotes(arguments[0]) +
                                 " before the verb");
    }
    parse(app, std::move(arguments));
    throw CLI::ValidationError("the verb comes first");
  } catch (const CLI::ParseError& error) {
    return answer_to(error, app, "lockbyfile --help");
  }
}

}  // namespace

command_line read_command_line(std::vector<std::string> arguments) {
  if (arguments.size() > 1 && (arguments[0] == "-h" || arguments[0] == "--help")) {
    if (find_verb(arguments[1]) != nullptr) std::swap(arguments[0], arguments[1]);
  }
  const verb* const asked = arguments.empty() ? nullptr : find_verb(arguments[0]);
  if (asked == nullptr) return read_without_verb(std::move(arguments));
  arguments.erase(arguments.begin());
  if (asked->name != std::string_view("demo")) return read_verb(*asked, std::move(arguments));
  command_line result;
  result.act = [arguments = std::move(arguments)]() -> int { become_demo(arguments); };
  return result;
}

void parse(CLI::App& app, std::vector<std::string> arguments) {
  // CLI11 would take the next argument for the value.
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      throw CLI::ValidationError(argument.substr(0, argument.size() - 1), "is empty");
    }
  }
  std::reverse(arguments.begin(), arguments.end());
  app.parse(std::move(arguments));
}

command_line answer_to(const CLI::ParseError& error, const CLI::App& app,
                       const std::string& where_to_read_more) {
  command_line result;
  if (error.get_exit_code() == 0) {
    std::ostringstream text;
    app.exit(error, text, text);
    result.help = text.str();
  } else {
    result.complaint = error.what();
    result.hint = "try '" + where_to_read_more + '\'';
  }
  return result;
}

}  // namespace lockbyfile::cli
