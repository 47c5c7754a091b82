// SPDX-License-Identifier: Apache-2.0
//
// Every operation on a lock by its name, and its result.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <system_error>

#include "support/lock_process.hpp"

struct deed {
  std::string name;
  std::function<void(const std::string& path)> commit;
};

inline const deed open_it{"open",
                          [](const std::string& path) { const lockbyfile::named_lock lock(path); }};
inline const deed observe_it{"observe",
                             [](const std::string& path) { (void)lockbyfile::observe(path); }};
inline const deed break_it{"break", [](const std::string& path) {
                             lockbyfile::break_lock(path, lockbyfile::fencing_token());
                           }};
inline const deed remove_it{"remove", [](const std::string& path) { lockbyfile::remove(path); }};

inline const deed* const all_deeds[] = {&open_it, &observe_it, &break_it, &remove_it};

/// Runs the operation and returns its error, whose sentence must name the path. No error is fine,
/// too.
inline std::error_code code_of(const deed& d, const std::string& path) {
  const auto begun = steady_now();
  std::error_code ec;
  try {
    d.commit(path);
  } catch (const lockbyfile::lock_error& error) {
    ec = error.code();
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    EXPECT_FALSE(error.path().empty());
  }
  EXPECT_LT(steady_now() - begun, std::chrono::seconds(2)) << d.name << " hung";
  return ec;
}
