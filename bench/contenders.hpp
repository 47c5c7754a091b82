// SPDX-License-Identifier: Apache-2.0
//
// The locks that are compared, with one interface: acquire and release.
//
// All but ours offer less. A robust mutex and flock(2) have no lease, no token and
// no order; O_EXCL and unlink have no crash release either, and nobody is woken.
//
// An object belongs to one process; a child makes its own after fork.
#pragma once

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <lockbyfile/named_lock.hpp>
#include <new>
#include <string>
#include <system_error>

namespace bench {

/// A path in a directory of this run, which is removed at the end.
inline std::string path_of(const std::string& name) {
  struct directory {
    directory() {
      if (::mkdtemp(path.data()) == nullptr) throw std::system_error(errno, std::system_category());
    }
    ~directory() { std::filesystem::remove_all(path); }
    directory(const directory&) = delete;
    directory& operator=(const directory&) = delete;
    std::string path = std::filesystem::temp_directory_path() / "lockbyfile-bench-XXXXXX";
  };
  static const directory here;
  return here.path + "/" + name;
}

/// A T that processes forked from now on share. Unmapped by the kernel at the end.
template <class T>
T& shared() {
  void* memory =
      ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return *new (memory) T{};
}

struct without_lease {
  void acquire() { benchmark::DoNotOptimize(lock.acquire().token); }
  void release() { lock.unlock(); }
  lockbyfile::named_lock lock{path_of("named")};
};

struct lease_of_10s : without_lease {
  lease_of_10s() { lock.set_lease(std::chrono::seconds(10)); }
};

struct robust_mutex {
  static void acquire() { ::pthread_mutex_lock(&mutex()); }
  static void release() { ::pthread_mutex_unlock(&mutex()); }
  static pthread_mutex_t& mutex() {
    static pthread_mutex_t& the_one = make_shared_mutex();
    return the_one;
  }
  static pthread_mutex_t& make_shared_mutex() {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    auto& made = shared<pthread_mutex_t>();
    ::pthread_mutex_init(&made, &attributes);
    return made;
  }
};

class flock_2 {
 public:
  flock_2() : fd_(::open(path_of("flock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {}
  ~flock_2() { ::close(fd_); }
  flock_2(const flock_2&) = delete;
  flock_2& operator=(const flock_2&) = delete;
  void acquire() const { ::flock(fd_, LOCK_EX); }
  void release() const { ::flock(fd_, LOCK_UN); }

 private:
  int fd_;
};

struct create_and_unlink {
  void acquire() const {
    ::close(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  }
  void release() const { ::unlink(path.c_str()); }
  std::string path = path_of("exclusive");
};

}  // namespace bench
