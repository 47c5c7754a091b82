// SPDX-License-Identifier: Apache-2.0
#include "command.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "round.hpp"

namespace bench {

namespace {

double spawned_ms(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const instant begun = now();
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ);
  if (error != 0) throw std::system_error(error, std::system_category(), command[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) throw std::runtime_error(command[0] + " failed");
  return static_cast<double>(now() - begun) / 1e6;
}

}  // namespace

findings run_command(const options& o, std::vector<std::string> command) {
  const scratch here;
  for (auto& word : command) {
    if (const auto at = word.find("HERE"); at != std::string::npos) {
      word.replace(at, 4, here.path());
    }
  }
  std::vector<double> ms;
  for (int i = o.count("runs"); i > 0; --i) ms.push_back(spawned_ms(command));
  findings found;
  add_samples(found, "ms", std::move(ms));
  return found;
}

}  // namespace bench
