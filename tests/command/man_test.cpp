// SPDX-License-Identifier: Apache-2.0
//
// The man page and the help list the same verbs, options and exit codes.
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "command/shell.hpp"
#include "support/files.hpp"

namespace {

using words = std::set<std::string>;

/// All that the first group of `pattern` finds.
words found(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  words all;
  for (std::sregex_iterator i(text.begin(), text.end(), regex), end; i != end; ++i)
    all.insert((*i)[1]);
  return all;
}

class ManPage : public Command {
 protected:
  const std::string page_ = content_of(LOCKBYFILE_SOURCE "/man/lockbyfile.1");
  /// Of every verb and play.
  [[nodiscard]] std::string help() const {
    std::string all = shell("$lockbyfile --help").out;
    for (const auto& verb : found(all, R"(\n  ([a-z]+) +[A-Z])"))
      all += shell("$lockbyfile " + verb + " --help").out;
    for (const auto& play : found(shell("$lockbyfile demo --help").out, R"(\n  ([a-z]+) +[^ ])"))
      all += shell("$lockbyfile demo " + play + " --help").out;
    return all;
  }
};

TEST_F(ManPage, HasTheVerbsOfTheHelp) {
  EXPECT_EQ(found(page_, R"(\n\.Ss ([a-z]+))"),
            found(shell("$lockbyfile --help").out, R"(\n  ([a-z]+) +[A-Z])"));
}

TEST_F(ManPage, HasTheOptionsOfTheHelp) {
  const words options = found(help(), R"([ ,]--([a-z][a-z-]+))");
  EXPECT_GT(options.size(), 15U);
  EXPECT_EQ(found(page_, R"((?:Fl|,) -([a-z][a-z-]+))"), options);
}

TEST_F(ManPage, HasTheExitCodesOfTheHelp) {
  const words codes = found(shell("$lockbyfile --help").out, R"(\n  ([0-9]+) )");
  EXPECT_EQ(codes.size(), 11U);
  EXPECT_EQ(found(page_, R"(\n\.It ([0-9]+)\n)"), codes);
}

}  // namespace
