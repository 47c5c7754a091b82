// SPDX-License-Identifier: Apache-2.0
//
// Real processes for the demos, and the shared memory through which they report.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <type_traits>
#include <vector>

namespace lockbyfile::demo {

/// Nanoseconds of CLOCK_MONOTONIC, comparable between processes.
[[nodiscard]] std::int64_t monotonic_now() noexcept;

/// Sleeps until monotonic_now() is `when`, never less.
void sleep_until(std::int64_t when) noexcept;

/// An array of zeroes that every process forked from now on shares.
template <class T>
class shared_array {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit shared_array(std::size_t size) : size_(size) {
    void* memory = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      throw std::system_error(errno, std::system_category(), "cannot map shared memory");
    data_ = static_cast<T*>(memory);
    std::uninitialized_value_construct_n(data_, size);
  }
  ~shared_array() { ::munmap(data_, size_ * sizeof(T)); }
  shared_array(const shared_array&) = delete;
  shared_array& operator=(const shared_array&) = delete;

  [[nodiscard]] T& operator[](std::size_t i) { return data_[i]; }
  [[nodiscard]] T* begin() { return data_; }
  [[nodiscard]] T* end() { return data_ + size_; }

 private:
  T* data_;
  std::size_t size_;
};

/// Processes that run a function each. They die with their parent.
class processes {
 public:
  processes() = default;
  ~processes();  // kills and reaps those that are left
  processes(const processes&) = delete;
  processes& operator=(const processes&) = delete;

  /// Forks. The child runs `body` and ends with success if `body` returns true. The child prints
  /// an exception of `body`. Throws std::system_error if fork fails.
  void start(const std::function<bool()>& body);

  /// Waits until all have ended, and calls `meanwhile` every 20 ms. Returns whether all succeeded.
  bool wait(const std::function<void()>& meanwhile = {});

 private:
  std::vector<pid_t> running_;
};

}  // namespace lockbyfile::demo
