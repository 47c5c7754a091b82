// SPDX-License-Identifier: Apache-2.0
//
// A real child process that runs a function and speaks with the test in lines, so that
// tests wait for events and not for time. Whatever happens, it is killed and reaped
// when the test leaves the scope.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

#include "support/exit_child.hpp"

/// The other process has ended, or was killed.
struct gone : std::runtime_error {
  gone() : std::runtime_error("the other end is gone") {}
};

/// One end of a line-wise conversation.
class talk {
 public:
  explicit talk(int fd) : fd_(fd) {}
  ~talk() { close(); }
  talk(talk&& other) noexcept : fd_(other.fd_), rest_(std::move(other.rest_)) { other.fd_ = -1; }
  talk& operator=(talk&&) = delete;
  talk(const talk&) = delete;
  talk& operator=(const talk&) = delete;

  void say(const std::string& line) {
    const std::string text = line + '\n';
    if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) < 0) throw gone();
  }

  /// The next line; throws if the other end is gone or silent for a minute.
  std::string hear() {
    for (;;) {
      if (const auto end = rest_.find('\n'); end != std::string::npos) {
        std::string line = rest_.substr(0, end);
        rest_.erase(0, end + 1);
        return line;
      }
      struct pollfd p {
        fd_, POLLIN, 0
      };
      const int ready = ::poll(&p, 1, 60'000);
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) throw std::runtime_error("nothing heard for a minute");
      char buffer[256];
      const auto n = ::read(fd_, buffer, sizeof buffer);
      if (n <= 0) throw gone();
      rest_.append(buffer, static_cast<std::size_t>(n));
    }
  }

  /// Whether hear() would not wait.
  [[nodiscard]] bool has_spoken() const {
    struct pollfd p {
      fd_, POLLIN, 0
    };
    return rest_.find('\n') != std::string::npos || ::poll(&p, 1, 0) > 0;
  }

  /// hear(), which must be `line`.
  void expect(const std::string& line) {
    if (const auto heard = hear(); heard != line)
      throw std::runtime_error("expected \"" + line + "\", heard \"" + heard + "\"");
  }

  [[nodiscard]] int descriptor() const { return fd_; }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  std::string rest_;
};

class child {
 public:
  /// Forks; the child runs `body` and exits with 0, or with 99 after an exception, which
  /// it prints. Fork before the test starts threads.
  explicit child(const std::function<void(talk&)>& body) : child(body, pair()) {}

  ~child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)wait();
    }
  }
  child(child&& other) noexcept
      : pid_(other.pid_), status_(other.status_), talk_(std::move(other.talk_)) {
    other.pid_ = 0;
  }
  child& operator=(child&&) = delete;
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  void say(const std::string& line) { talk_.say(line); }
  std::string hear() { return talk_.hear(); }
  void expect(const std::string& line) { talk_.expect(line); }
  [[nodiscard]] bool has_spoken() const { return talk_.has_spoken(); }

  [[nodiscard]] pid_t pid() const { return pid_; }

  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
  }

  /// SIGSTOP, and waits until it has taken effect.
  void stop() const {
    if (pid_ <= 0) return;
    signal(SIGSTOP);
    int status = 0;
    while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
    }
  }
  void go_on() const { signal(SIGCONT); }

  /// SIGKILL, and waits until the process is gone.
  void kill() {
    signal(SIGKILL);
    (void)wait();
  }

  void wait_at_most_a_second() {
    for (int i = 0; i < 100 && pid_ > 0; ++i) {
      if (::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
      if (pid_ > 0) ::usleep(10'000);
    }
  }

  /// Waits for the end: the exit code, or 128 + the signal. The same again for one that was waited
  /// for before: waitpid(0) would take another child of the group.
  int wait() {
    if (pid_ > 0) {
      while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
      }
      pid_ = 0;
    }
    return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  }

 private:
  struct ends {
    int fd[2];
  };
  static ends pair() {
    ends e{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e.fd) != 0)
      throw std::runtime_error("socketpair");
    return e;
  }

  child(const std::function<void(talk&)>& body, ends e) : pid_(::fork()), talk_(e.fd[0]) {
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ > 0) {
      ::close(e.fd[1]);
      return;
    }
    ::close(e.fd[0]);
    int code = 0;
    try {
      talk t(e.fd[1]);
      body(t);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child %d: %s\n", static_cast<int>(::getpid()), error.what());
      code = 99;
    }
    exit_child(code);
  }

  pid_t pid_;
  int status_ = 0;
  talk talk_;
};
