// SPDX-License-Identifier: Apache-2.0
#include "demo.hpp"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "pointers.hpp"

namespace lockbyfile::cli {

void become_demo(std::vector<std::string> arguments) {
  namespace fs = std::filesystem;
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path there = here.parent_path() / "libexec" / "lockbyfile";
  arguments.insert(arguments.begin(), "lockbyfile-demo");
  for (const fs::path& directory : {here, there}) {
    const std::string program = directory / arguments.front();
    ::execv(program.c_str(), pointers(arguments).data());
    if (errno != ENOENT) throw std::system_error(errno, std::system_category(), program);
  }
  throw std::runtime_error("the demo is missing: there is no " + arguments.front() + " in " +
                           here.string() + " nor in " + there.string());
}

}  // namespace lockbyfile::cli
