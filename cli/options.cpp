// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

#include "duration.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

std::string long_name(const std::string& names) {
  const auto name = names.find("--");
  return names.substr(name, names.find(',', name) - name);
}

std::optional<std::uint64_t> number_in(const std::string& text, int base) {
  const char* const end = text.data() + text.size();
  std::uint64_t number = 0;
  const auto [parsed, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc{} || parsed != end) return std::nullopt;
  return number;
}

}  // namespace

std::string is_not_empty(const std::string& given) { return given.empty() ? "is empty" : ""; }

CLI::Option* add_duration(CLI::App& verb, const std::string& names,
                          std::optional<std::chrono::nanoseconds>& target,
                          const std::string& about) {
  const std::string shown = long_name(names);
  return verb
      .add_option_function<std::string>(
          names,
          [&target, shown](const std::string& text) {
            try {
              target = parse_duration(text);
            } catch (const std::invalid_argument& error) {
              throw CLI::ValidationError(shown, error.what());
            }
          },
          about)
      ->option_text("DURATION");
}

CLI::Option* add_number(CLI::App& verb, const std::string& names, std::uint64_t least,
                        std::uint64_t most, std::function<void(std::uint64_t)> use,
                        const std::string& about) {
  return verb.add_option_function<std::string>(
      names,
      [shown = long_name(names), least, most, use = std::move(use)](const std::string& text) {
        const auto number = number_in(text, 10);
        if (!number || *number < least || *number > most) {
          throw CLI::ValidationError(shown, in_quotes(text) + " is no whole number from " +
                                                std::to_string(least) + " to " +
                                                std::to_string(most));
        }
        use(*number);
      },
      about);
}

void add_lock_address(CLI::App& verb, lock_address& target) {
  add_lock_name(verb, target);
  add_lock_directory(verb, target);
}

void add_lock_name(CLI::App& verb, lock_address& target) {
  verb.add_option("NAME", target.name, "the lock: a name, with a slash a path, or etcd://HOST/NAME")
      ->required()
      ->type_name("");
}

void add_lock_directory(CLI::App& verb, lock_address& target) {
  verb.add_option("--dir", target.directory, "where names live (default: $LOCKBYFILE_DIR, or here)")
      ->check(is_not_empty)
      ->option_text("DIR");
  verb.add_flag("--any-filesystem", target.any_filesystem,
                "take a filesystem of unknown type for a local one");
}

void add_directory(CLI::App& verb, std::string& target) {
  CLI::Option* argument =
      verb.add_option("DIR", target, "the directory (default: $LOCKBYFILE_DIR, or here)")
          ->check(is_not_empty)
          ->type_name("");
  verb.add_option("--dir", target, "the same, as the other verbs have it")
      ->check(is_not_empty)
      ->option_text("DIR")
      ->excludes(argument);
}

std::string default_directory() {
  const char* variable = ::secure_getenv("LOCKBYFILE_DIR");  // as the library has it
  return variable != nullptr && *variable != '\0' ? variable : ".";
}

CLI::Option* add_mode(CLI::App& verb, unsigned& target) {
  return verb
      .add_option_function<std::string>(
          "--mode",
          [&target](const std::string& text) {
            const auto mode = number_in(text, 8);
            if (!mode || *mode > 0777) {
              throw CLI::ValidationError("--mode",
                                         in_quotes(text) + " is no octal number up to 777");
            }
            target = static_cast<unsigned>(*mode);
          },
          "permissions of a new lockfile (default: 600)")
      ->option_text("OCTAL");
}

}  // namespace lockbyfile::cli
