// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <lockbyfile/error.hpp>
#include <set>
#include <string>
#include <system_error>

namespace lockbyfile {
namespace {

constexpr errc all_codes[] = {
    errc::timed_out,         errc::cancelled,      errc::would_deadlock,     errc::not_holder,
    errc::lease_lost,        errc::in_use,         errc::token_mismatch,     errc::not_found,
    errc::invalid_name,      errc::invalid_option, errc::wrong_engine,       errc::damaged,
    errc::too_many_sessions, errc::clock_mismatch, errc::network_filesystem, errc::stuck,
    errc::unreachable};

TEST(Error, EveryCodeHasAMessageOfItsOwn) {
  std::set<std::string> messages;
  for (const errc code : all_codes) {
    const std::error_code ec = code;
    EXPECT_TRUE(ec) << "zero would mean success";
    EXPECT_EQ(ec.category(), lock_category());
    EXPECT_EQ(ec.message().find("unknown"), std::string::npos) << ec.message();
    EXPECT_TRUE(messages.insert(ec.message()).second) << "twice: " << ec.message();
  }
}

TEST(Error, UnknownCodesHaveAMessageToo) {
  for (const int code : {0, -1, 1000}) {
    const std::error_code ec(code, lock_category());
    EXPECT_NE(ec.message().find(std::to_string(code)), std::string::npos);
  }
}

TEST(Error, CodesOfTheSameMeaningEqualThoseOfStd) {
  EXPECT_EQ(std::error_code(errc::timed_out), std::errc::timed_out);
  EXPECT_EQ(std::error_code(errc::cancelled), std::errc::operation_canceled);
  EXPECT_EQ(std::error_code(errc::would_deadlock), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(std::error_code(errc::invalid_name), std::errc::invalid_argument);
  EXPECT_EQ(std::error_code(errc::invalid_option), std::errc::invalid_argument);
  EXPECT_EQ(std::error_code(errc::not_found), std::errc::no_such_file_or_directory);
  EXPECT_EQ(std::error_code(errc::in_use), std::errc::device_or_resource_busy);
}

TEST(Error, OtherCodesEqualNoneOfStd) {
  for (const errc code :
       {errc::not_holder, errc::lease_lost, errc::token_mismatch, errc::wrong_engine, errc::damaged,
        errc::too_many_sessions, errc::clock_mismatch, errc::network_filesystem, errc::stuck,
        errc::unreachable}) {
    const std::error_condition own = std::error_code(code).default_error_condition();
    EXPECT_EQ(own.category(), lock_category()) << std::error_code(code).message();
    EXPECT_NE(std::error_code(code), std::errc::timed_out);
  }
}

TEST(Error, CodesOfOneMeaningAreStillToldApart) {
  EXPECT_NE(std::error_code(errc::invalid_name), std::error_code(errc::invalid_option));
  EXPECT_EQ(lock_category().name(), std::string("lockbyfile"));
}

TEST(Error, LockErrorKeepsCodePathAndSentence) {
  const lock_error error(errc::damaged, "/run/x.lockfile was truncated", "/run/x.lockfile");
  EXPECT_EQ(error.code(), errc::damaged);
  EXPECT_EQ(error.path(), "/run/x.lockfile");
  const std::string what = error.what();
  EXPECT_NE(what.find("/run/x.lockfile was truncated"), std::string::npos);
  EXPECT_NE(what.find(std::error_code(errc::damaged).message()), std::string::npos);
  EXPECT_NE(dynamic_cast<const std::system_error*>(&error), nullptr);
}

}  // namespace
}  // namespace lockbyfile
