// SPDX-License-Identifier: Apache-2.0
//
// All operations of the engine, each on a file that is prepared for it. Together they make every
// call of the seam.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>

#include "file/layout.hpp"
#include "linux/clock_identity.hpp"
#include "support/files.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile::faults {

using namespace std::chrono_literals;

struct deed {
  std::string name;
  std::function<void(const std::string& path)> prepare;
  std::function<void(const std::string& path)> commit;  // throws, or it is done
};

/// Objects that operations need beforehand. end_sessions() removes them. The test sets their time.
inline std::optional<named_lock> session;
inline std::list<named_lock> crowd;
inline std::optional<lock_process> waiter;
inline std::optional<shifted_clocks> clocks;

/// Lets time pass until a session has to look at its path again.
inline void let_time_pass() { shifted_clocks::steady() += 20'000'000; }

inline void end_sessions() {
  waiter.reset();
  session.reset();
  crowd.clear();
  clocks.reset();
}

inline void make(const std::string& path) { const named_lock lock(path); }
inline void nothing(const std::string&) {}
inline void open_session(const std::string& path) { session.emplace(path); }
inline void hold(const std::string& path) {
  session.emplace(path);
  session->lock();
}
inline void acquire(const std::string&) {
  (void)session->acquire(1min);
  session->unlock();
}

inline const deed all[] = {
    {"Create", nothing,
     [](const std::string& path) {
       const named_lock lock(path, {.mode = 0640, .group = static_cast<unsigned>(::getegid())});
     }},
    {"CreateInPlace", nothing,
     [](const std::string& path) {
       const no_nameless_files old_filesystem;
       const named_lock lock(path);
     }},
    {"Open", make, make},
    {"CompleteAnEmptyFile", [](const std::string& path) { write_file(path, ""); }, make},
    {"RepairADamagedFile",
     [](const std::string& path) {
       make(path);
       mapped_lockfile(path)->header.capacity.store(0);
     },
     make},
    {"TellTheBoot",  // while another has the lock open, so that another answer is not believed
     [](const std::string& path) { crowd.emplace_back(path); },
     [](const std::string& path) {
       forget_this_clock();
       make(path);
     }},
    {"GrowTheFile",
     [](const std::string& path) {
       for (std::uint32_t i = 0; i < file::first_capacity; ++i) crowd.emplace_back(path);
     },
     make},
    {"Acquire", open_session, acquire},
    {"AcquireAfterTheFileWasReplaced",
     [](const std::string& path) {
       open_session(path);
       std::filesystem::remove(path);
       let_time_pass();
     },
     acquire},
    {"AcquireAheadOfTheClock",
     [](const std::string& path) {
       open_session(path);
       put_ahead_of_the_clock(path, 1h);
     },
     acquire},
    {"AcquireFromTheDead",
     [](const std::string& path) {
       open_session(path);
       crowd.emplace_back(path).lock();
       ::close(crowd.back().native_handle());  // to others that is death
     },
     acquire},
    {"WaitForALease",
     [](const std::string& path) {
       open_session(path);
       (void)crowd.emplace_back(path, lock_options{.lease = 20ms}).acquire(0ns);
     },
     acquire},
    {"Renew", hold,
     [](const std::string&) {
       let_time_pass();
       session->renew();
     }},
    {"ReleaseToAWaiter",
     [](const std::string& path) {
       hold(path);
       waiter.emplace(path, lock_options{}, [] { clocks.reset(); });  // in real time
       waiter->begin_acquire(forever);
       wait_for_sleepers(path, 1);
     },
     [](const std::string&) {
       std::error_code lost;
       session->release(lost);
       EXPECT_FALSE(lost) << lost.message();
       EXPECT_TRUE(waiter->end_acquire()) << "it has its own look at the lock";
       EXPECT_EQ(waiter->release(), std::error_code());
     }},
    {"Observe", make, [](const std::string& path) { (void)observe(path); }},
    {"List", make,
     [](const std::string& path) {
       (void)list(std::filesystem::path(path).parent_path().string());
     }},
    {"Break", hold, [](const std::string& path) { break_lock(path, fencing_token()); }},
    {"Remove", make, [](const std::string& path) { lockbyfile::remove(path); }},
    {"Prune", make,
     [](const std::string& path) {
       (void)prune(std::filesystem::path(path).parent_path().string());
     }},
};

}  // namespace lockbyfile::faults
