// SPDX-License-Identifier: Apache-2.0
//
// A lockfile's bytes, to look at and to spoil behind everybody's back.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>

#include "core/instant.hpp"
#include "file/layout.hpp"
#include "file/line.hpp"

class mapped_lockfile {
 public:
  explicit mapped_lockfile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), path);
    void* p =
        ::mmap(nullptr, lockbyfile::file::map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const int error = errno;
    ::close(fd);
    if (p == MAP_FAILED) throw std::system_error(error, std::system_category(), path);
    image_ = static_cast<lockbyfile::file::image*>(p);
  }
  ~mapped_lockfile() { ::munmap(image_, lockbyfile::file::map_size); }
  mapped_lockfile(const mapped_lockfile&) = delete;
  mapped_lockfile& operator=(const mapped_lockfile&) = delete;

  [[nodiscard]] lockbyfile::file::word word() const {
    return lockbyfile::file::word(image_->header.word.load());
  }

  /// The slot of the holder. Throws if there is none.
  [[nodiscard]] lockbyfile::file::slot& holder() const {
    if (!word().is_held()) throw std::runtime_error("nobody holds the lock");
    return image_->slots[word().slot()];
  }

  /// The slot that the process has, or had last. Throws if there is none.
  [[nodiscard]] lockbyfile::file::slot& slot_of(std::uint32_t pid) const {
    for (auto& s : image_->slots)
      if (s.pid == pid) return s;
    throw std::runtime_error("no slot of that process");
  }

  /// How many waiters sleep: from then on a release has to wake the first waiter.
  [[nodiscard]] std::size_t sleepers() const {
    std::size_t found = 0;
    for (const auto& s : slots())
      if (s.ticket.load() != 0 && sleeps(s)) ++found;
    return found;
  }
  /// Whether the last waiter sleeps.
  [[nodiscard]] bool is_last_asleep() const {
    const auto ticket = [](const lockbyfile::file::slot& s) {
      return s.ticket.load() & ~lockbyfile::file::dozing;
    };
    const auto all = slots();
    const auto& last = *std::max_element(all.begin(), all.end(), [&](const auto& a, const auto& b) {
      return ticket(a) < ticket(b);
    });
    return ticket(last) != 0 && sleeps(last);
  }

  lockbyfile::file::image* operator->() const { return image_; }

 private:
  [[nodiscard]] std::span<lockbyfile::file::slot> slots() const {
    return {image_->slots, image_->header.capacity};
  }
  /// In real time, as its owner's has to be: it looks again later than now.
  static bool sleeps(const lockbyfile::file::slot& s) {
    const auto t = std::chrono::steady_clock::now().time_since_epoch().count();
    const lockbyfile::instant next_look = s.next_look.load();
    return next_look > static_cast<lockbyfile::instant>(t) &&
           (next_look & lockbyfile::file::called) == 0;
  }

  lockbyfile::file::image* image_;
};

/// Frees the lock with the counter that as many grants as microseconds in `ahead` would have
/// made it, had they begun now. What it is.
inline std::uint64_t put_ahead_of_the_clock(const std::string& path,
                                            std::chrono::microseconds ahead) {
  const auto counter = lockbyfile::wall_clock_us() + static_cast<std::uint64_t>(ahead.count());
  mapped_lockfile(path)->header.word.store(lockbyfile::file::word::free_at(counter).bits());
  return counter;
}
