// SPDX-License-Identifier: Apache-2.0
#include "wait.hpp"

#include <algorithm>
#include <chrono>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "duration.hpp"
#include "exit_codes.hpp"
#include "from_now.hpp"
#include "options.hpp"
#include "printable.hpp"
#include "say.hpp"
#include "waiting_line.hpp"

namespace lockbyfile::cli {

namespace {

constexpr std::chrono::milliseconds between_looks{10};

struct wait_options {
  lock_address lock;
  std::optional<std::chrono::nanoseconds> patience;
  bool no_wait = false;
  bool quiet = false;
};

lock_options options_of(const wait_options& given) {
  lock_options options;
  options.directory = given.lock.directory;
  options.any_filesystem = given.lock.any_filesystem;
  return options;
}

/// The state of the lock if it is held, none if it is open or does not exist.
std::optional<lock_state> look(const wait_options& given, const lock_options& options) {
  std::error_code ec;
  auto state = observe(given.lock.name, options, ec);
  if (ec && ec != errc::not_found) return observe(given.lock.name, options);  // for its message
  if (state && state->is_open()) return {};
  return state;
}

int wait(const wait_options& given) {
  const std::chrono::nanoseconds patience =
      given.no_wait ? std::chrono::nanoseconds(0) : given.patience.value_or(forever);
  const auto deadline = from_now(patience);
  const lock_options options = options_of(given);
  std::optional<waiting_line> line;
  while (const auto state = look(given, options)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      line.reset();
      if (!given.quiet) {
        say((given.no_wait ? "did not wait for " + in_quotes(given.lock.name)
                           : "gave up waiting for " + in_quotes(given.lock.name) + " after " +
                                 duration_text(patience)) +
            ": " + holder_text(*state));
      }
      return exit_patience_ran_out;
    }
    if (!line && !given.quiet) line.emplace(given.lock.name, state->path);
    std::this_thread::sleep_until(
        std::min(std::chrono::steady_clock::now() + between_looks, deadline));
  }
  return exit_ok;
}

}  // namespace

void add_wait(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<wait_options>();
  add_lock_address(verb, given->lock);
  CLI::Option* patience = add_duration(verb, "-w,--patience", given->patience,
                                       "give up after this long (default: never)");
  verb.add_flag("-n,--no-wait", given->no_wait, "give up at once if the lock is held")
      ->excludes(patience)
      ->option_text(" ");
  verb.add_flag("-q,--quiet", given->quiet, "do not tell of waiting");
  verb.footer(
      "It looks every 10 ms. A lock that does not exist is free. Another process may take\n"
      "the lock at any time: to use it, use run.\n\n"
      "Exit codes: 0 it is free (or was); 75 patience ran out, or -n and it\n"
      "is held");
  verb.callback([given, &chosen] { chosen = [given] { return wait(*given); }; });
}

}  // namespace lockbyfile::cli
