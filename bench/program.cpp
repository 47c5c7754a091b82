// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

namespace bench {

namespace {

nlohmann::json answer(const plays& all, const std::vector<std::string>& arguments) {
  nlohmann::json result;
  if (arguments == std::vector<std::string>{"--list"}) {
    for (const auto& [scenario, contenders] : all) {
      for (const auto& [contender, unused] : contenders) {
        result["scenarios"][scenario].push_back(contender);
      }
    }
  } else if (arguments.size() >= 2 && all.contains(arguments[0]) &&
             all.at(arguments[0]).contains(arguments[1])) {
    options o;
    for (std::size_t i = 2; i < arguments.size(); ++i) o.set(arguments[i]);
    const findings found = all.at(arguments[0]).at(arguments[1])(o);
    result = {{"figures", found.figures}, {"samples", found.samples}, {"overlaps", found.overlaps}};
  }
  return result;
}

}  // namespace

int program_main(const plays& all, const std::vector<std::string>& arguments) {
  ::alarm(1800);  // a benchmark that hangs ends
  try {
    const nlohmann::json result = answer(all, arguments);
    if (result.is_null()) {
      std::fputs("usage: PROGRAM --list | SCENARIO CONTENDER KEY=VALUE...\n", stderr);
      return 64;
    }
    std::puts(result.dump().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
}

}  // namespace bench
