// SPDX-License-Identifier: Apache-2.0
#include "maintain.hpp"

#include <cstdint>
#include <lockbyfile/maintain.hpp>
#include <memory>
#include <string>

#include "exit_codes.hpp"
#include "options.hpp"
#include "print.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

struct maintain_options {
  lock_address lock;
  std::uint64_t token = 0;  // zero: whichever
  std::string directory = default_directory();
  bool quiet = false;
};

lock_options options_of(const maintain_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  return options;
}

int break_it(const maintain_options& given) {
  break_lock(given.lock.name, fencing_token(given.token), options_of(given));
  return exit_ok;
}

int remove_it(const maintain_options& given) {
  remove(given.lock.name, options_of(given));
  return exit_ok;
}

int prune_it(const maintain_options& given) {
  for (const std::string& path : prune(given.directory)) {
    if (!given.quiet) print(printable(path) + '\n');
  }
  return exit_ok;
}

}  // namespace

void add_break(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<maintain_options>();
  add_lock_address(verb, given->lock);
  constexpr std::uint64_t largest = (std::uint64_t{1} << 52) - 1;
  add_number(
      verb, "--token", 1, largest, [&given = *given](std::uint64_t token) { given.token = token; },
      "only if it is held under this token")
      ->option_text("TOKEN");
  verb.footer(
      "The holder learns that its grant is lost (run ends its command then), and the next in\n"
      "line gets the lock. Exit codes: 0 broken; 1 no such lock, not held, or under another\n"
      "token");
  verb.callback([given, &chosen] { chosen = [given] { return break_it(*given); }; });
}

void add_rm(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<maintain_options>();
  add_lock_address(verb, given->lock);
  verb.footer(
      "Those who have it open, waiting or not, move on to the next file by themselves.\n"
      "Exit codes: 0 removed; 1 no such lock; 75 it is held");
  verb.callback([given, &chosen] { chosen = [given] { return remove_it(*given); }; });
}

void add_prune(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<maintain_options>();
  add_directory(verb, given->directory);
  verb.add_flag("-q,--quiet", given->quiet, "do not print what was removed");
  verb.footer(exit_codes_help());
  verb.callback([given, &chosen] { chosen = [given] { return prune_it(*given); }; });
}

}  // namespace lockbyfile::cli
