// SPDX-License-Identifier: Apache-2.0
#include "run_once.hpp"

#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "exit_codes.hpp"
#include "held.hpp"
#include "inherited_signals.hpp"
#include "pointers.hpp"
#include "printable.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

bool run_under_inherited_grant(const run_request& request, int& code) {
  const inherited_signals signals;
  if (!holds_inherited_grant(request.lock)) return false;
  const std::vector<char*> arguments = pointers(request.command);
  signals.give_back();
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  say("cannot start " + in_quotes(request.command.front()) + ": " +
      std::system_category().message(error));
  code = exit_code_of_failed_start(error);
  return true;
}

}  // namespace lockbyfile::cli
