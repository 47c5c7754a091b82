// SPDX-License-Identifier: Apache-2.0
//
// What `run` was asked to do.
#pragma once

#include <chrono>
#include <lockbyfile/options.hpp>
#include <optional>
#include <string>
#include <vector>

#include "exit_codes.hpp"
#include "options.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

/// What happens when the lease is about to end.
enum class lease_policy {
  end_command,  // in time, so that it never runs on while the lock is open
  renew,        // never: the lease is renewed every third of its length
};

/// Whether the command inherits the lifeline.
enum class lifeline_policy {
  share,  // the lock is held as long as either of us lives
  keep,   // as long as we live
};

struct run_request {
  lock_address lock;
  std::vector<std::string> command;  // what to execute: with -c, /bin/sh -c TEXT
  std::string description;           // of the command, as others see it
  std::chrono::nanoseconds patience = forever;
  std::chrono::nanoseconds lease = no_lease;
  lease_policy at_lease_end = lease_policy::end_command;
  std::optional<std::chrono::nanoseconds> kill_after;
  lifeline_policy lifeline = lifeline_policy::share;
  int conflict_exit_code = exit_patience_ran_out;
  unsigned mode = lock_options{}.mode;
  bool once = false;  // not if the inherited grant is one of the lock (run_once.hpp)
  chattiness chatter = chattiness::normal;
};

}  // namespace lockbyfile::cli
