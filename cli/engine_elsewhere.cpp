// SPDX-License-Identifier: Apache-2.0
//
// The engine of etcd for a statically linked command, which cannot load a module. The command
// replaces itself by `lockbyfile-etcd`, which lies beside it and is the same command with the
// engine linked in. It does this when the first name needs the engine, before it does anything else
// for that name. Nothing is held or open yet, and nothing has been printed.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/engines.hpp"
#include "pointers.hpp"
#include "signals.hpp"

namespace lockbyfile {

namespace {

constexpr const char* companion = "lockbyfile-etcd";

std::vector<std::string> our_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < all.size(); i += arguments.back().size() + 1)
    arguments.emplace_back(all.c_str() + i);
  return arguments;
}

}  // namespace

const engine_table& etcd_engine(std::string_view name) {
  const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / companion;
  const std::vector<std::string> arguments = our_arguments();
  cli::open_the_gate();  // the program must not take our signal mask for that of its caller
  ::execv(path.c_str(), cli::pointers(arguments).data());
  throw no_engine(name, "the program " + path.string() +
                            " that has it cannot be started: " + std::strerror(errno) +
                            ". Build it " + engine_needs + ", and put it beside lockbyfile");
}

}  // namespace lockbyfile
