// SPDX-License-Identifier: Apache-2.0
//
// The locks that are compared, with one interface: made in a directory, acquire and release.
//
// An object belongs to one process. The first one in a directory is made before others fork.
// All except ours offer less: no lease, no token, no order of arrival. O_EXCL has no release after
// a crash either, and wakes nobody.
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/interprocess/sync/file_lock.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <cerrno>
#include <chrono>
#include <lockbyfile/named_lock.hpp>
#include <string>
#include <system_error>
#include <thread>

namespace bench {

inline int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::system_category(), what);
  return result;
}

/// A file that is open for as long as this lives.
class open_file {
 public:
  explicit open_file(const std::string& path)
      : fd_(checked(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open")) {}
  ~open_file() { ::close(fd_); }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

class ours {
 public:
  static constexpr const char* name = "lockbyfile";
  explicit ours(const std::string& directory,
                std::chrono::nanoseconds lease = std::chrono::seconds(10))
      : lock_(directory + "/ours", {.lease = lease}) {}
  void acquire() { lock_.lock(); }
  void release() { lock_.unlock(); }
  lockbyfile::named_lock& lock() { return lock_; }

 private:
  lockbyfile::named_lock lock_;
};

class ours_without_lease : public ours {
 public:
  static constexpr const char* name = "lockbyfile, no lease";
  explicit ours_without_lease(const std::string& directory)
      : ours(directory, lockbyfile::no_lease) {}
};

class robust_mutex {
 public:
  static constexpr const char* name = "robust mutex";
  explicit robust_mutex(const std::string& directory) {
    const open_file file(directory + "/mutex");
    const bool is_first = ::lseek(file.fd(), 0, SEEK_END) == 0;
    checked(::ftruncate(file.fd(), sizeof(pthread_mutex_t)), "ftruncate");
    void* memory =
        ::mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
    mutex_ = static_cast<pthread_mutex_t*>(memory);
    if (!is_first) return;
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(mutex_, &attributes);
  }
  ~robust_mutex() { ::munmap(mutex_, sizeof(pthread_mutex_t)); }
  robust_mutex(const robust_mutex&) = delete;
  robust_mutex& operator=(const robust_mutex&) = delete;

  void acquire() {
    if (::pthread_mutex_lock(mutex_) == EOWNERDEAD) ::pthread_mutex_consistent(mutex_);
  }
  void release() { ::pthread_mutex_unlock(mutex_); }

 private:
  pthread_mutex_t* mutex_ = nullptr;
};

class flock_2 {
 public:
  static constexpr const char* name = "flock(2)";
  explicit flock_2(const std::string& directory) : file_(directory + "/flock") {}
  void acquire() const { checked(::flock(file_.fd(), LOCK_EX), "flock"); }
  void release() const { checked(::flock(file_.fd(), LOCK_UN), "flock"); }

 private:
  open_file file_;
};

class ofd_lock {
 public:
  static constexpr const char* name = "OFD lock";
  explicit ofd_lock(const std::string& directory) : file_(directory + "/ofd") {}
  void acquire() const { set(F_WRLCK); }
  void release() const { set(F_UNLCK); }

 private:
  void set(short type) const {
    struct flock whole {};
    whole.l_type = type;
    whole.l_whence = SEEK_SET;
    checked(::fcntl(file_.fd(), F_OFD_SETLKW, &whole), "F_OFD_SETLKW");
  }
  open_file file_;
};

class boost_named_mutex {
 public:
  static constexpr const char* name = "Boost named_mutex";
  explicit boost_named_mutex(const std::string& directory)
      : name_(directory.substr(directory.rfind('/') + 1)),
        mutex_(boost::interprocess::open_or_create, name_.c_str()) {}
  ~boost_named_mutex() { boost::interprocess::named_mutex::remove(name_.c_str()); }
  boost_named_mutex(const boost_named_mutex&) = delete;
  boost_named_mutex& operator=(const boost_named_mutex&) = delete;
  void acquire() { mutex_.lock(); }
  void release() { mutex_.unlock(); }

 private:
  std::string name_;
  boost::interprocess::named_mutex mutex_;
};

class boost_file_lock {
 public:
  static constexpr const char* name = "Boost file_lock";
  explicit boost_file_lock(const std::string& directory)
      : file_(directory + "/boost"), lock_((directory + "/boost").c_str()) {}
  void acquire() { lock_.lock(); }
  void release() { lock_.unlock(); }

 private:
  open_file file_;
  boost::interprocess::file_lock lock_;
};

class create_and_unlink {
 public:
  static constexpr const char* name = "O_EXCL + 10 ms";
  explicit create_and_unlink(const std::string& directory) : path_(directory + "/exclusive") {}
  void acquire() const {
    int fd = -1;
    while ((fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) {
      if (errno != EEXIST) checked(fd, "open");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::close(fd);
  }
  void release() const { checked(::unlink(path_.c_str()), "unlink"); }

 private:
  std::string path_;
};

}  // namespace bench
