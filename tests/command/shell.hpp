// SPDX-License-Identifier: Apache-2.0
//
// The built command, used as people use it: from a shell.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "support/child.hpp"
#include "support/temporary_directory.hpp"

struct shell_result {
  int code = -1;
  std::string out;
  std::string err;
};

/// A shell text that runs on while the test looks at it. What it prints to stdout is heard
/// line by line.
class background {
 public:
  background(const std::string& directory, const std::string& text)
      : child_([&](talk& t) {
          ::dup2(t.descriptor(), STDOUT_FILENO);
          if (::chdir(directory.c_str()) != 0) return;
          ::execl("/bin/sh", "sh", "-c", text.c_str(), nullptr);
        }) {}

  /// Asks first, so that `lockbyfile run` can take its command along.
  ~background() {
    child_.signal(SIGTERM);
    child_.wait_at_most_a_second();
  }
  background(background&&) = default;
  background& operator=(background&&) = delete;
  background(const background&) = delete;
  background& operator=(const background&) = delete;

  void expect(const std::string& line) { child_.expect(line); }
  std::string hear() { return child_.hear(); }
  void signal(int number) const { child_.signal(number); }
  [[nodiscard]] int wait() { return child_.wait(); }
  void kill() { child_.kill(); }

 private:
  child child_;
};

class Command : public ::testing::Test {
 protected:
  explicit Command(std::string command = LOCKBYFILE_COMMAND) : command_(std::move(command)) {}

  /// Runs a shell text in the test's directory; `lockbyfile` is the built command.
  shell_result shell(const std::string& text) const {
    background b(directory_.path(), with_command("exec >out 2>err; " + text));
    shell_result r;
    r.code = b.wait();
    r.out = content("out");
    r.err = content("err");
    return r;
  }

  [[nodiscard]] background start(const std::string& text) const {
    return background(directory_.path(), with_command(text));
  }

  [[nodiscard]] std::string content(const std::string& file) const {
    std::ifstream in(directory_.path() + '/' + file);
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }

  /// Until `text` ends with 0.
  void until(const std::string& text) const {
    for (int i = 0; i < 3000; ++i) {
      if (shell(text).code == 0) return;
      ::usleep(10'000);
    }
    throw std::runtime_error("never happened: " + text);
  }

  temporary_directory directory_;

 private:
  [[nodiscard]] std::string with_command(const std::string& text) const {
    return "unset LOCKBYFILE_DIR; lockbyfile=" + command_ + "; " + text;
  }

  const std::string command_;
};

/// The same command, linked dynamically: for tools that reach into it that way.
class DynamicCommand : public Command {
 protected:
  DynamicCommand() : Command(LOCKBYFILE_DYNAMIC_COMMAND) {}
};
