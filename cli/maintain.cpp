// SPDX-License-Identifier: Apache-2.0
#include "maintain.hpp"

#include <cstdint>
#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <string>
#include <system_error>

#include "describe.hpp"
#include "exit_codes.hpp"
#include "options.hpp"
#include "print.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

struct maintain_options {
  lock_address lock;
  std::uint64_t token = 0;  // zero: any
  std::string directory = default_directory();
  bool quiet = false;
  bool dry_run = false;
};

lock_options options_of(const maintain_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  options.any_filesystem = given.lock.any_filesystem;
  return options;
}

/// We know which grant we broke only if we break it by its token. So the lock is observed first.
/// The holder may have changed before the break: then the loop observes again.
int break_it(const maintain_options& given) {
  const lock_options options = options_of(given);
  for (;;) {
    const auto holder = observe(given.lock.name, options).holder;
    const fencing_token token = given.token != 0 ? fencing_token(given.token)
                                : holder         ? holder->token
                                                 : fencing_token();
    std::error_code ec;
    break_lock(given.lock.name, token, options, ec);
    const auto now = ec == errc::token_mismatch ? observe(given.lock.name, options).holder : holder;
    if (given.token == 0 && ec == errc::token_mismatch && now &&
        (!holder || now->token != holder->token)) {
      continue;
    }
    if (ec) break_lock(given.lock.name, token, options);  // throws, for its message
    if (given.quiet) return exit_ok;
    const bool is_known = holder && (holder->token == token || !token);
    print("broke " + in_quotes(given.lock.name) +
          (is_known ? ": it was held by " + party_text(holder->who) + ", token " +
                          std::to_string(holder->token.value())
                    : "") +
          '\n');
    return exit_ok;
  }
}

int remove_it(const maintain_options& given) {
  const lock_options options = options_of(given);
  std::error_code unknown;
  const auto state = observe(given.lock.name, options, unknown);
  remove(given.lock.name, options);
  if (!given.quiet) print("removed " + printable(state ? state->path : given.lock.name) + '\n');
  return exit_ok;
}

int prune_it(const maintain_options& given) {
  for (const std::string& path : given.dry_run ? prunable(given.directory, which_names::all)
                                               : prune(given.directory, which_names::all)) {
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
  verb.add_flag("-q,--quiet", given->quiet, "do not print what was broken");
  verb.footer(
      "Whoever held it may still be at work: stop ends the holder first, and breaks only what\n"
      "is left. Use break for a holder that stop cannot reach.\n\n"
      "The holder learns that its grant is lost (run ends its command then), and the next in\n"
      "line gets the lock. Exit codes: 0 broken; 1 no such lock, not held, or under another\n"
      "token");
  verb.callback([given, &chosen] { chosen = [given] { return break_it(*given); }; });
}

void add_rm(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<maintain_options>();
  add_lock_address(verb, given->lock);
  verb.add_flag("-q,--quiet", given->quiet, "do not print what was removed");
  verb.footer(
      "Those who have it open, waiting or not, move on to the next file by themselves.\n"
      "Exit codes: 0 removed; 1 no such lock; 75 it is held");
  verb.callback([given, &chosen] { chosen = [given] { return remove_it(*given); }; });
}

void add_prune(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<maintain_options>();
  add_directory(verb, given->directory);
  verb.add_flag("-q,--quiet", given->quiet, "do not print what was removed");
  verb.add_flag("--dry-run", given->dry_run, "print what would be removed, and remove nothing");
  verb.footer(
      "Exit codes: 0 done, also if there was nothing to remove; 73 the directory cannot be\n"
      "read; 77 not permitted");
  verb.callback([given, &chosen] { chosen = [given] { return prune_it(*given); }; });
}

}  // namespace lockbyfile::cli
