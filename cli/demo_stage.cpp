// SPDX-License-Identifier: Apache-2.0
#include "demo_stage.hpp"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <system_error>

#include "demo_log.hpp"

namespace lockbyfile::demo {
namespace {

constexpr std::array forwarded = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
volatile std::sig_atomic_t player = 0;

void forward_to_player(int signal) { ::kill(player, signal); }

std::string make_directory(const std::string& parent) {
  const std::filesystem::path base =
      parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::absolute(parent);
  std::string path = (base / "lockbyfile-demo-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr)
    throw std::system_error(errno, std::system_category(), "cannot make directory " + path);
  return path;
}

int play_in(const std::string& directory, const std::function<verdict()>& play) {
  try {
    std::filesystem::current_path(directory);
    // The play's names live in its own directory. It has one thread:
    ::unsetenv("LOCKBYFILE_DIR");  // NOLINT(concurrency-mt-unsafe)
    return play() == verdict::held ? 0 : 1;
  } catch (const std::exception& error) {
    print("lockbyfile demo: ", error.what());
    return 1;
  }
}

/// Waits for the play, and for every process that the play may have left behind.
int code_when_over(pid_t play) {
  int code = 1;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) return code;
    if (ended != play) continue;
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

}  // namespace

int on_stage(const std::string& parent, const std::function<verdict()>& play) {
  const std::string directory = make_directory(parent);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans of the play become children of ours

  // Signals wait until the process that they must be forwarded to is known.
  sigset_t held_back;
  sigset_t before;
  ::sigemptyset(&held_back);
  for (const int signal : forwarded) ::sigaddset(&held_back, signal);
  ::sigprocmask(SIG_BLOCK, &held_back, &before);

  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::_exit(play_in(directory, play));
  }
  const int fork_error = errno;
  player = child;
  if (child > 0)
    for (const int signal : forwarded) std::signal(signal, forward_to_player);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);

  const int code = child > 0 ? code_when_over(child) : 1;
  for (const int signal : forwarded) std::signal(signal, SIG_DFL);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  if (child < 0) throw std::system_error(fork_error, std::system_category(), "cannot fork");
  return code;
}

}  // namespace lockbyfile::demo
