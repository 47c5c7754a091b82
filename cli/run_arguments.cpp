// SPDX-License-Identifier: Apache-2.0
#include "run_arguments.hpp"

#include <iterator>

namespace lockbyfile::cli {

namespace {

const CLI::Option& option_called(const CLI::App& run, const std::string& name,
                                 const std::string& argument) {
  const CLI::Option* option = run.get_option_no_throw(name);
  if (option == nullptr) throw CLI::ExtrasError(run.get_name(), {argument});
  return *option;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// Whether the value of the option `argument` is the next argument. Short options may be combined:
/// in -qw 3 the last option takes the next argument, in -qw3 none does.
bool value_follows(const CLI::App& run, const std::string& argument) {
  if (argument.starts_with("--")) {
    const auto equals = argument.find('=');
    const bool takes = takes_value(option_called(run, argument.substr(0, equals), argument));
    return takes && equals == std::string::npos;
  }
  for (std::size_t i = 1; i < argument.size(); ++i) {
    if (takes_value(option_called(run, std::string("-") + argument[i], argument))) {
      return i + 1 == argument.size();
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> cut_after_name(const CLI::App& run, std::vector<std::string>& arguments) {
  std::size_t i = 0;
  while (i < arguments.size() && arguments[i].size() > 1 && arguments[i].starts_with('-')) {
    if (arguments[i++] == "--") break;
    if (value_follows(run, arguments[i - 1])) ++i;
  }
  const std::size_t after_name = i + 1;
  if (after_name >= arguments.size()) return {};

  const auto cut = arguments.begin() + static_cast<std::ptrdiff_t>(after_name);
  std::vector<std::string> command(std::make_move_iterator(cut),
                                   std::make_move_iterator(arguments.end()));
  arguments.erase(cut, arguments.end());
  return command;
}

}  // namespace lockbyfile::cli
