// SPDX-License-Identifier: Apache-2.0
#include "proc.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <memory>
#include <sstream>
#include <string_view>

namespace lockbyfile::cli {

namespace {

std::string link_target(const std::string& path) {
  std::array<char, 4096> target{};
  const auto n = ::readlink(path.c_str(), target.data(), target.size());
  return n < 0 ? "" : std::string(target.data(), static_cast<std::size_t>(n));
}

std::string folder_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

/// From the start of a process, in ticks since boot, until now.
std::optional<std::chrono::nanoseconds> age_since(std::uint64_t start_ticks) {
  const long per_second = ::sysconf(_SC_CLK_TCK);
  timespec now{};
  if (per_second <= 0 || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return {};
  const std::chrono::nanoseconds started{static_cast<std::int64_t>(start_ticks) *
                                         (1'000'000'000 / per_second)};
  const std::chrono::nanoseconds age =
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec) - started;
  return std::max(age, std::chrono::nanoseconds(0));
}

/// "pid (name) state parent ...", where the name may hold anything, also parentheses.
std::optional<process_facts> parse_stat(pid_t pid, const std::string& text) {
  const auto after_name = text.rfind(") ");
  if (after_name == std::string::npos) return {};
  std::istringstream fields(text.substr(after_name + 2));
  std::string word;
  process_facts result{.pid = pid};
  constexpr int state_field = 3;
  constexpr int parent_field = 4;
  constexpr int start_field = 22;
  for (int field = state_field; field <= start_field; ++field) {
    if (!(fields >> word)) return {};
    if (field == state_field) result.state = word[0];
    if (field == parent_field) result.parent = number<pid_t>(word).value_or(0);
  }
  result.start = number<std::uint64_t>(word).value_or(0);
  result.age = age_since(result.start);
  return result;
}

}  // namespace

std::vector<int> numbers_in(const std::string& directory, bool& ok) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), &::closedir);
  ok = open != nullptr;
  std::vector<int> numbers;
  if (!ok) return numbers;
  while (const dirent* entry = ::readdir(open.get())) {
    if (const auto found = number<int>(entry->d_name)) numbers.push_back(*found);
  }
  return numbers;
}

std::vector<pid_t> all_pids() {
  bool ok = false;
  return numbers_in("/proc", ok);
}

std::string content_of(const std::string& path) {
  std::string text;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  return text;
}

std::optional<process_facts> facts_of(pid_t pid) {
  return parse_stat(pid, content_of(folder_of(pid) + "/stat"));
}

std::vector<std::string> arguments_of(const process_facts& process) {
  const std::string all = content_of(descriptors_of(process) + "/cmdline");
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < all.size(); i += arguments.back().size() + 1) {
    arguments.emplace_back(all.c_str() + i);
  }
  return arguments;
}

bool was_started_with(pid_t pid, const std::string& entry) {
  const std::string all = '\0' + content_of(folder_of(pid) + "/environ");
  return all.find('\0' + entry + '\0') != std::string::npos;
}

std::optional<process_identity> identity_of(pid_t pid) {
  std::istringstream lines(content_of(folder_of(pid) + "/status"));
  std::string line;
  std::optional<process_identity> result;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string key;
    std::string word;
    words >> key;
    if (key == "Uid:" && words >> word) {
      result = {number<unsigned>(word).value_or(0), pid};
    } else if (key == "NSpid:" && result) {  // of the outer namespaces first
      while (words >> word) result->inner_pid = number<pid_t>(word).value_or(pid);
    }
  }
  return result;
}

std::string program_of(pid_t pid) { return link_target(folder_of(pid) + "/exe"); }

namespace {

/// A living thread of a process whose first thread has ended.
struct living_thread {
  std::string folder;
  char state;
};
std::optional<living_thread> living_thread_of(pid_t pid) {
  const std::string threads = folder_of(pid) + "/task";
  bool ok = false;
  for (const int thread : numbers_in(threads, ok)) {
    std::string folder = threads + '/' + std::to_string(thread);
    const auto facts = parse_stat(thread, content_of(folder + "/stat"));
    if (facts && facts->state != 'Z' && facts->state != 'X') {
      return living_thread{std::move(folder), facts->state};
    }
  }
  return {};
}

std::vector<process_facts> all_facts() {
  std::vector<process_facts> all;
  for (const pid_t pid : all_pids()) {
    if (const auto facts = facts_of(pid)) all.push_back(*facts);
  }
  return all;
}

}  // namespace

std::string descriptors_of(const process_facts& process) {
  if (process.state == 'Z') {
    if (auto thread = living_thread_of(process.pid)) return std::move(thread->folder);
  }
  return folder_of(process.pid);
}

process_facts with_living_state(process_facts process) {
  if (process.state == 'Z') {
    if (const auto thread = living_thread_of(process.pid)) process.state = thread->state;
  }
  return process;
}

std::vector<process_facts> children_of(pid_t root) {
  std::vector<process_facts> found = all_facts();
  std::erase_if(found, [root](const process_facts& p) { return p.parent != root; });
  return found;
}

std::vector<process_facts> descendants_of(pid_t root,
                                          const std::function<bool(const process_facts&)>& spared) {
  const std::vector<process_facts> all = all_facts();
  std::vector<process_facts> found;
  std::vector<pid_t> parents{root};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    for (const process_facts& p : all) {
      if (p.parent != parents[i] || (p.parent == root && spared(p))) continue;
      parents.push_back(p.pid);
      if (p.state != 'X') found.push_back(p);
    }
  }
  return found;
}

const char* state_name(char state) noexcept {
  switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "in uninterruptible sleep";
    case 'T': return "stopped";
    case 't': return "stopped by a debugger";
    case 'Z': return "a zombie";
    case 'I': return "idle";
    default: return "in an unknown state";
  }
}

}  // namespace lockbyfile::cli
