// SPDX-License-Identifier: Apache-2.0
#include "demo_command_line.hpp"

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "action.hpp"
#include "demo.hpp"
#include "demo_plays.hpp"
#include "demo_stage.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {
namespace {

/// A demo with its `--dir`, run on a stage of its own when it is the one asked for.
CLI::App* add_play(CLI::App& app, const std::string& name, const std::string& about, action& chosen,
                   std::function<demo::verdict()> play) {
  CLI::App* verb = app.add_subcommand(name, about);
  auto directory = std::make_shared<std::string>();
  verb->add_option("--dir", *directory,
                   "make the temporary directory in this one (default: $TMPDIR or /tmp)")
      ->check(CLI::ExistingDirectory);
  verb->callback([directory, play = std::move(play), &chosen] {
    chosen = [directory, play] { return demo::on_stage(*directory, play); };
  });
  return verb;
}

void add_inner(CLI::App& app, action& chosen) {
  add_play(app, "inner", "The inner workings, step by step (5 s)", chosen, demo::inner);
}

void add_sleepers(CLI::App& app, action& chosen) {
  auto options = std::make_shared<demo::sleepers_options>();
  add_play(app, "sleepers", "4 processes share one narrow bed; one forgets to unlock (16 s)",
           chosen, [options] { return demo::sleepers(*options); })
      ->add_flag_callback(
          "--short", [options] { options->pace = 0.25; }, "four times as fast");
}

void add_hammer(CLI::App& app, action& chosen) {
  auto options = std::make_shared<demo::hammer_options>();
  auto milliseconds = std::make_shared<int>(static_cast<int>(options->nap.count()));
  CLI::App* verb = add_play(app, "hammer", "300 processes want one lock; none may overlap (16 s)",
                            chosen, [options, milliseconds] {
                              options->nap = std::chrono::milliseconds(*milliseconds);
                              return demo::hammer(*options);
                            });
  verb->add_option("--consumers", options->consumers, "how many processes")
      ->check(CLI::Range(2, 3999))
      ->capture_default_str();
  verb->add_option("--milliseconds", *milliseconds, "how long each uses the lock")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
}

void add_counter(CLI::App& app, action& chosen) {
  auto options = std::make_shared<demo::counter_options>();
  CLI::App* verb = add_play(
      app, "counter", "Read-modify-write on a real SQLite database, without and with the lock",
      chosen, [options] { return demo::counter(*options); });
  verb->add_option("--processes", options->processes, "how many processes")
      ->check(CLI::Range(2, 200))
      ->capture_default_str();
  verb->add_option("--steps", options->steps, "how many steps each")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
}

}  // namespace

command_line read_demo_command_line(std::vector<std::string> arguments) {
  command_line result;
  CLI::App app(about_demo, "lockbyfile demo");
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.footer(
      "Exit codes:\n"
      "  0    what it shows held\n"
      "  1    it did not\n"
      "  64   wrong usage\n"
      "  else 128 + N if signal N ended it\n");
  add_inner(app, result.act);
  add_sleepers(app, result.act);
  add_hammer(app, result.act);
  add_counter(app, result.act);
  try {
    const auto is_asked = [&](const CLI::App* play) { return play->get_name() == arguments[0]; };
    if (!arguments.empty() && !arguments[0].starts_with('-') &&
        app.get_subcommands(is_asked).empty()) {
      throw CLI::ValidationError("there is no play " + in_quotes(arguments[0]));
    }
    parse(app, std::move(arguments));
    return result;
  } catch (const CLI::ParseError& error) {
    return answer_to(error, app, "lockbyfile demo --help");
  }
}

}  // namespace lockbyfile::cli
