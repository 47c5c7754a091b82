// SPDX-License-Identifier: Apache-2.0
//
// valgrind watches the built command. The command is linked dynamically, since valgrind replaces
// malloc. No memory is lost or used wrongly. At the end no descriptor is open except those that the
// command was given. Nothing is suppressed. Memory that is still reachable is no leak: the records
// of attachments are kept forever (file/attachment.hpp, A2).
#include <filesystem>
#include <ostream>
#include <vector>

#include "command/shell.hpp"
#include "support/sanitizers.hpp"

namespace {

namespace fs = std::filesystem;

/// Ways to use the command, with a lock `held` that somebody holds and a lock `idle`.
struct use {
  std::string name;
  struct call {
    std::string arguments;
    int code;
  };
  std::vector<call> calls;
  friend std::ostream& operator<<(std::ostream& out, const use& u) { return out << u.name; }
};

const use uses[] = {
    {"Run", {{"run --lease 1s --renew idle -- sleep 0.4", 0}, {"run idle /no/such/command", 127}}},
    {"RunInVain", {{"run -w 250ms held true", 75}, {"run ./foreign true", 69}}},
    {"RunPastTheLease", {{"run --lease 300ms idle -- sleep 10", 76}}},
    {"Status", {{"status held", 0}, {"status --json held", 0}}},
    {"List", {{"list", 0}}},
    {"Wait", {{"wait -w 100ms held", 75}}},
    {"Break", {{"break held", 0}}},
    {"Rm", {{"rm idle", 0}, {"rm held", 75}}},
    {"Prune", {{"prune", 0}}},
};

class Valgrind : public DynamicCommand {
 protected:
  void SetUp() override {
    if (shell("valgrind --version").code != 0) GTEST_SKIP() << "there is no valgrind";
    if (under_sanitizer) GTEST_SKIP() << "valgrind cannot run a build with a sanitizer";
  }

  static constexpr int found_something = 99;

  /// Runs the command line under valgrind, with three descriptors. What it says about them
  /// and about memory is in reports().
  [[nodiscard]] shell_result watched(const std::string& line) const {
    shell("rm -rf reports; mkdir reports");
    return shell(
        "for fd in /proc/self/fd/*; do fd=${fd##*/};"
        " if [ ${#fd} = 1 ] && [ $fd -gt 2 ]; then eval \"exec $fd>&-\"; fi; done; "
        "exec valgrind --quiet --leak-check=full --track-fds=yes --child-silent-after-fork=yes"
        " --error-exitcode=" +
        std::to_string(found_something) + " --log-file=reports/%p -- " + line);
  }

  [[nodiscard]] std::string reports() const {
    std::string all;
    for (const auto& file : fs::directory_iterator(directory_.path() + "/reports"))
      all += content("reports/" + file.path().filename().string());
    return all;
  }

  /// "Open file descriptor 5: PATH", and in the next line where, or that it was inherited.
  [[nodiscard]] bool tells_of_open_descriptors() const {
    std::istringstream lines(reports());
    for (std::string line, next; std::getline(lines, line);) {
      if (line.find("Open ") == std::string::npos) continue;
      std::getline(lines, next);
      if (next.find("inherited") == std::string::npos) return true;
    }
    return false;
  }
};

TEST_F(Valgrind, WouldTellOfAnOpenDescriptor) {
  EXPECT_EQ(watched("sh -c 'exec 5</dev/null; echo >/dev/null'").code, 0);
  EXPECT_TRUE(tells_of_open_descriptors()) << reports();
}

class ValgrindSlow : public Valgrind, public ::testing::WithParamInterface<use> {};

INSTANTIATE_TEST_SUITE_P(Of, ValgrindSlow, ::testing::ValuesIn(uses),
                         [](const auto& p) { return p.param.name; });

TEST_P(ValgrindSlow, TheCommandLeaksNothingAndLeavesNoDescriptorOpen) {
  shell("$lockbyfile run idle true; echo text >foreign");
  auto holder = start("exec $lockbyfile run held -- sh -c 'echo held; sleep 60' 2>/dev/null");
  holder.expect("held");
  for (const auto& [arguments, code] : GetParam().calls) {
    SCOPED_TRACE(arguments);
    const auto r = watched("$lockbyfile " + arguments);
    EXPECT_EQ(r.code, code) << r.err << reports();
    EXPECT_FALSE(tells_of_open_descriptors()) << reports();
  }
}

}  // namespace
