// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"

#include <sys/file.h>
#include <sys/resource.h>

#include <fstream>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <string>

#include "contenders.hpp"
#include "round.hpp"

namespace bench {

namespace {

/// The microseconds of the operation: the median of `count` calls, each with another number.
double median_us(int count, const std::function<void(int)>& deed) {
  std::vector<double> us;
  for (int i = 0; i < count; ++i) {
    const instant begun = now();
    deed(i);
    us.push_back(static_cast<double>(now() - begun) / 1e3);
  }
  return percentile(std::move(us), 50);
}

/// Raises the limit as far as this user may.
void raise_descriptor_limit() {
  rlimit limit{1 << 20, 1 << 20};
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Memory that is this process's alone, in bytes.
double private_memory() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  double kib = 0;
  for (std::string key; rollup >> key;) {
    double value = 0;
    if (key.starts_with("Private_") && rollup >> value) kib += value;
  }
  return kib * 1024;
}

}  // namespace

findings open_ours(const options& o) {
  const scratch here;
  const auto path = [&](int i) { return here.path() + "/n" + std::to_string(i); };
  const int count = o.count("count");
  const auto open_and_close = [&](int i) { const lockbyfile::named_lock lock(path(i)); };

  findings found;
  found.figures["first_us"] = median_us(count, open_and_close);
  found.figures["second_us"] = median_us(count, open_and_close);

  raise_descriptor_limit();
  const int reach = o.count("reach");
  std::vector<std::unique_ptr<lockbyfile::named_lock>> open;
  open.reserve(static_cast<std::size_t>(reach));
  const double before = private_memory();
  try {
    for (int i = 0; i < reach; ++i) {
      open.push_back(std::make_unique<lockbyfile::named_lock>(path(i)));
      open.back()->lock();
    }
  } catch (const lockbyfile::lock_error& error) {
    std::fprintf(stderr, "after %zu open locks: %s\n", open.size(), error.what());
  }
  found.figures["reach"] = static_cast<double>(open.size());
  found.figures["private_bytes"] = (private_memory() - before) / static_cast<double>(open.size());
  return found;
}

findings open_flock_close(const options& o) {
  const scratch here;
  const auto open_and_close = [&](int i) {
    const open_file file(here.path() + "/n" + std::to_string(i));
    ::flock(file.fd(), LOCK_EX);
  };
  findings found;
  found.figures["first_us"] = median_us(o.count("count"), open_and_close);
  found.figures["second_us"] = median_us(o.count("count"), open_and_close);
  return found;
}

findings names(const options& o) {
  const scratch here;
  const int count = o.count("count");
  findings found;
  const auto per_name = [&](const std::string& what, const std::function<void()>& deed) {
    const instant begun = now();
    deed();
    found.figures[what + "_us"] = static_cast<double>(now() - begun) / 1e3 / count;
  };
  per_name("create", [&] {
    for (int i = 0; i < count; ++i) {
      const lockbyfile::named_lock lock("n" + std::to_string(i), {.directory = here.path()});
    }
  });
  const auto expect = [&](std::size_t seen, const char* what) {
    if (seen != static_cast<std::size_t>(count)) {
      throw std::runtime_error(std::string(what) + " saw " + std::to_string(seen) + " names");
    }
  };
  per_name("list", [&] { expect(lockbyfile::list(here.path()).size(), "list"); });
  per_name("prune", [&] { expect(lockbyfile::prune(here.path()).size(), "prune"); });
  return found;
}

}  // namespace bench
