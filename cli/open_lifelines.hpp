// SPDX-License-Identifier: Apache-2.0
//
// open_lifelines: the processes that keep locks alive, as fuser(1) finds the users of a file.
//
// A holder lives as long as any process has the open file description whose lock is on the
// holder's byte. /proc/PID/fdinfo/N shows the locks of exactly that description. So a process that
// has the same lockfile open for itself does not count. The pid in the lockfile decides nothing:
// the process that wrote it may have died and left its lifeline to a child.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <lockbyfile/observe.hpp>
#include <string>
#include <vector>

#include "proc.hpp"

namespace lockbyfile::cli {

struct lifeline_process {
  process_facts facts;
  process_identity identity;
  std::vector<std::string> arguments;  // none if we may not read them
  int descriptor = -1;
};

class open_lifelines {
 public:
  /// Looks through /proc once.
  open_lifelines();

  /// Looks at process `pid` only.
  explicit open_lifelines(pid_t pid);

  /// The processes that have open the lifeline of `holder` of the lockfile at `path`, the oldest
  /// first. This process is left out.
  [[nodiscard]] std::vector<lifeline_process> of(const std::string& path,
                                                 const holder_info& holder) const;

  /// Our own descriptor of the holder's lifeline, which we may have inherited; -1 if we have none.
  [[nodiscard]] int our_own(const std::string& path, const holder_info& holder) const;

  /// Whether /proc shows this pid namespace. If not, nothing was found.
  [[nodiscard]] bool is_known() const noexcept { return is_known_; }

  /// The users of the processes that we may not look into.
  [[nodiscard]] const std::vector<unsigned>& hidden_users() const noexcept { return hidden_; }

 private:
  struct found_lock {
    pid_t pid;
    int descriptor;
    std::uint64_t device;
    std::uint64_t inode;
    std::int64_t first;
    std::int64_t last;
  };

  void look_into(pid_t pid);
  [[nodiscard]] std::vector<found_lock> matching(const std::string& path,
                                                 const holder_info& holder) const;

  bool is_known_;
  std::vector<found_lock> locks_;
  std::vector<unsigned> hidden_;
};

}  // namespace lockbyfile::cli
