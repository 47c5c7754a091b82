// SPDX-License-Identifier: Apache-2.0
//
// Any command line. The arguments are the input's lines. The command's own definition reads them,
// and nothing is carried out: `run` ends in the carry_out() below, which replaces the command's.
//
//   - The result is exactly one thing: a verb, help, or a complaint fit for a terminal with a
//     hint. Nothing is thrown.
//   - `run` asks for the given command, word for word, or for the shell with the given text. It
//     asks for nothing that is out of range.
#include "command_line.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "carry_out.hpp"
#include "printable.hpp"
#include "support.hpp"

namespace lockbyfile {
namespace {

std::optional<cli::run_request> carried_out;

}  // namespace

int cli::carry_out(const run_request& request) {
  carried_out = request;
  return exit_ok;
}

namespace fuzz {
namespace {

using words = std::vector<std::string>;

words lines_of(std::string_view text) {
  words lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// Whether `value` is one of `given`, or the end of one, as in --name=value and -nvalue.
bool was_given(const words& given, const std::string& value) {
  return std::any_of(given.begin(), given.end(),
                     [&](const std::string& word) { return word.ends_with(value); });
}

void check_command(const words& given, const words& command) {
  require(!command.empty(), "there is a command");
  const bool is_end_of_given =
      command.size() < given.size() && std::equal(command.rbegin(), command.rend(), given.rbegin());
  const char* const users = std::getenv("SHELL");
  const std::string shell = users != nullptr && *users != '\0' ? users : "/bin/sh";
  const bool is_shell = command.size() == 3 && command[0] == shell && command[1] == "-c";
  require(is_end_of_given || (is_shell && was_given(given, command[2])),
          "the command is the one that was given", cli::printable(command[0]));
}

void check(const words& given, const cli::run_request& request) {
  using std::chrono::nanoseconds;
  check_command(given, request.command);
  require(was_given(given, request.lock.name), "the lock is the one that was given");
  require(was_given(given, request.lock.directory) || request.lock.directory.empty(),
          "the directory is the one that was given");
  require(request.patience >= nanoseconds(0), "patience is in range");
  require(request.lease > nanoseconds(0), "the lease is in range");
  require(!request.kill_after || *request.kill_after >= nanoseconds(0), "--kill-after is in range");
  require(request.mode <= 0777, "the mode is in range");
  require(request.conflict_exit_code >= 0 && request.conflict_exit_code <= 255,
          "the exit code is in range");
}

}  // namespace
}  // namespace fuzz
}  // namespace lockbyfile

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockbyfile;
  using namespace lockbyfile::fuzz;
  const words given = lines_of(text_of(data, size));
  const cli::command_line asked = cli::read_command_line(given);
  require(bool(asked.act) + !asked.help.empty() + !asked.complaint.empty() == 1,
          "it asks one thing");
  require(asked.hint.empty() == asked.complaint.empty(), "a complaint comes with a hint");
  require(has_no_controls(cli::printable(asked.complaint)) && has_no_controls(asked.hint),
          "a complaint is fit for a terminal", asked.complaint);
  require(asked.act == nullptr || !given.empty(), "nobody asked for anything");
  if (asked.act && given[0] == "run") {
    carried_out.reset();
    require(asked.act() == cli::exit_ok && carried_out.has_value(), "run carries out");
    check(given, *carried_out);
  }
  return 0;
}
