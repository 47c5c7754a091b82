// SPDX-License-Identifier: Apache-2.0
#include "open_lifelines.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <sstream>

#include "own_proc.hpp"

namespace lockbyfile::cli {

namespace {

struct byte_range {
  std::int64_t first;
  std::int64_t last;
};

/// The ranges that an open file description has locked for writing, from its fdinfo:
/// "lock:  1: OFDLCK  ADVISORY  WRITE -1 fe:01:1234 1073741824 1073741824", or "EOF" at the end.
std::vector<byte_range> locked_ranges(const std::string& fdinfo) {
  std::vector<byte_range> ranges;
  std::istringstream lines(fdinfo);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with("lock:") || line.find(" OFDLCK ") == std::string::npos) continue;
    if (line.find(" WRITE ") == std::string::npos) continue;
    std::istringstream words(line);
    std::vector<std::string> all;
    for (std::string word; words >> word;) all.push_back(word);
    if (all.size() < 2) continue;
    const std::string& last = all[all.size() - 1];
    try {
      ranges.push_back(
          {std::stoll(all[all.size() - 2]),
           last == "EOF" ? std::numeric_limits<std::int64_t>::max() : std::stoll(last)});
    } catch (const std::exception&) {
      continue;  // an unknown format: ignored
    }
  }
  return ranges;
}

/// Whether the descriptor belongs to a file with a path. Sockets and pipes are skipped without a
/// look at their fdinfo.
bool is_of_a_path(const std::string& link) {
  std::array<char, 2> target{};
  return ::readlink(link.c_str(), target.data(), target.size()) > 0 && target[0] == '/';
}

}  // namespace

open_lifelines::open_lifelines() : is_known_(proc_is_ours()) {
  if (!is_known_) return;
  for (const pid_t pid : all_pids()) look_into(pid);
}

open_lifelines::open_lifelines(pid_t pid) : is_known_(proc_is_ours()) {
  if (is_known_) look_into(pid);
}

void open_lifelines::look_into(pid_t pid) {
  const auto facts = facts_of(pid);
  if (!facts) return;
  const std::string folder = descriptors_of(*facts);
  bool ok = false;
  const std::vector<int> descriptors = numbers_in(folder + "/fd", ok);
  if (!ok) {
    const auto identity = identity_of(pid);
    if (identity && facts->state != 'Z') hidden_.push_back(identity->user);
    return;
  }
  for (const int fd : descriptors) {
    const std::string link = folder + "/fd/" + std::to_string(fd);
    if (!is_of_a_path(link)) continue;
    const auto ranges = locked_ranges(content_of(folder + "/fdinfo/" + std::to_string(fd)));
    struct stat s {};
    // Last, because on a network filesystem that hangs this call would wait.
    if (ranges.empty() || ::stat(link.c_str(), &s) != 0) continue;
    for (const byte_range& r : ranges) {
      locks_.push_back({pid, fd, s.st_dev, s.st_ino, r.first, r.last});
    }
  }
}

std::vector<open_lifelines::found_lock> open_lifelines::matching(const std::string& path,
                                                                 const holder_info& holder) const {
  std::vector<found_lock> result;
  struct stat file {};
  if (holder.lifeline < 0 || ::stat(path.c_str(), &file) != 0) return result;
  for (const found_lock& lock : locks_) {
    if (lock.device != file.st_dev || lock.inode != file.st_ino) continue;
    if (lock.first <= holder.lifeline && holder.lifeline <= lock.last) result.push_back(lock);
  }
  return result;
}

std::vector<lifeline_process> open_lifelines::of(const std::string& path,
                                                 const holder_info& holder) const {
  std::vector<lifeline_process> result;
  for (const found_lock& lock : matching(path, holder)) {
    if (lock.pid == ::getpid()) continue;
    const bool is_known = std::any_of(result.begin(), result.end(),
                                      [&lock](const auto& p) { return p.facts.pid == lock.pid; });
    const auto facts = facts_of(lock.pid);
    const auto identity = identity_of(lock.pid);
    if (is_known || !facts || !identity) continue;
    result.push_back({with_living_state(*facts), *identity, arguments_of(*facts), lock.descriptor});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return a.facts.start < b.facts.start; });
  return result;
}

int open_lifelines::our_own(const std::string& path, const holder_info& holder) const {
  for (const found_lock& lock : matching(path, holder)) {
    if (lock.pid == ::getpid()) return lock.descriptor;
  }
  return -1;
}

}  // namespace lockbyfile::cli
