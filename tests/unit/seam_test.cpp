// SPDX-License-Identifier: Apache-2.0
//
// Nothing of the library calls the system but through the seam (linux/system_calls.hpp), so
// that the tests which make calls fail have seen them all. Asked of the built objects.
#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

namespace {

/// The functions of the C library that ask the system for something.
const std::set<std::string_view> calls{"access",
                                       "chmod",
                                       "chown",
                                       "clock_gettime",
                                       "clock_nanosleep",
                                       "close",
                                       "close_range",
                                       "copy_file_range",
                                       "creat",
                                       "dup",
                                       "dup2",
                                       "dup3",
                                       "euidaccess",
                                       "faccessat",
                                       "fallocate",
                                       "fchmod",
                                       "fchmodat",
                                       "fchown",
                                       "fchownat",
                                       "fcntl",
                                       "fdatasync",
                                       "fdopen",
                                       "flock",
                                       "fopen",
                                       "fork",
                                       "fread",
                                       "fstat",
                                       "fstatat",
                                       "fstatfs",
                                       "fsync",
                                       "ftruncate",
                                       "fwrite",
                                       "getegid",
                                       "geteuid",
                                       "getgid",
                                       "getpid",
                                       "getppid",
                                       "getrandom",
                                       "gettid",
                                       "gettimeofday",
                                       "getuid",
                                       "ioctl",
                                       "kill",
                                       "lchown",
                                       "link",
                                       "linkat",
                                       "lockf",
                                       "lseek",
                                       "lstat",
                                       "madvise",
                                       "memfd_create",
                                       "mkdir",
                                       "mkostemp",
                                       "mkstemp",
                                       "mlock",
                                       "mmap",
                                       "mprotect",
                                       "mremap",
                                       "msync",
                                       "munmap",
                                       "nanosleep",
                                       "open",
                                       "openat",
                                       "opendir",
                                       "pipe",
                                       "poll",
                                       "posix_fadvise",
                                       "posix_fallocate",
                                       "ppoll",
                                       "pread",
                                       "preadv",
                                       "pselect",
                                       "pwrite",
                                       "raise",
                                       "read",
                                       "readdir",
                                       "readlink",
                                       "readv",
                                       "realpath",
                                       "rename",
                                       "renameat",
                                       "rmdir",
                                       "sched_yield",
                                       "select",
                                       "shm_open",
                                       "sigaction",
                                       "signal",
                                       "sigprocmask",
                                       "sleep",
                                       "stat",
                                       "statfs",
                                       "statvfs",
                                       "statx",
                                       "symlink",
                                       "syscall",
                                       "time",
                                       "truncate",
                                       "uname",
                                       "unlink",
                                       "unlinkat",
                                       "usleep",
                                       "utimensat",
                                       "waitpid",
                                       "write",
                                       "writev"};

/// What is outside on purpose; linux/system_calls.hpp says why.
const std::map<std::string, std::set<std::string>> outside{
    {"session.cpp.o", {"getpid", "geteuid"}},
    {"records.cpp.o", {"getpid", "geteuid"}},
    {"attachment.cpp.o", {"getpid", "raise", "sigaction", "signal"}},
    {"process_epoch.cpp.o", {"madvise", "mmap", "munmap"}},
    {"lockfile.cpp.o", {"madvise"}},
    {"maintain.cpp.o", {"access"}},
    {"apart.cpp.o", {"mmap", "munmap", "nanosleep", "syscall", "waitpid"}},
    {"load_engine.cpp.o", {"access", "close", "memfd_create", "open", "read", "write"}},
    // The C++ library: sleeping, and waiting for a stop callback that runs.
    {"flock.cpp.o", {"nanosleep"}},
    {"keep_alive.cpp.o", {"sched_yield", "syscall"}},
    {"named_lock_impl.cpp.o", {"sched_yield", "syscall"}},
    {"acquire.cpp.o", {"sched_yield", "syscall"}},
};

/// open for open64, and for __open_2 and its like of _FORTIFY_SOURCE.
std::string plain(std::string symbol) {
  if (const auto at = symbol.find('@'); at != std::string::npos) symbol.erase(at);
  if (symbol.starts_with("__")) symbol.erase(0, 2);
  for (const std::string_view end : {"_chk", "_2", "64", "64_2"}) {
    if (symbol.ends_with(end)) symbol.resize(symbol.size() - end.size());
  }
  return symbol;
}

// A child that is forked while a thread makes a guarded static waits for that thread forever.
TEST(Library, HasNoGuardedStatic) {
  const std::unique_ptr<FILE, int (*)(FILE*)> nm(::popen("nm -C '" LOCKBYFILE_LIBRARY "'", "r"),
                                                 ::pclose);
  ASSERT_TRUE(nm);
  char line[4096];
  int symbols = 0;
  while (::fgets(line, sizeof line, nm.get()) != nullptr) {
    ++symbols;
    const std::string symbol(line);
    // That of a thread alone is nobody else's.
    if (symbol.find("failure_of_this_thread()") != std::string::npos) continue;
    EXPECT_EQ(symbol.find("guard variable"), std::string::npos) << symbol;
  }
  if (symbols == 0) GTEST_SKIP() << "there is no nm to read " LOCKBYFILE_LIBRARY;
}

TEST(Seam, IsTheOnlyWayToTheSystem) {
  const std::unique_ptr<FILE, int (*)(FILE*)> nm(
      ::popen("nm --undefined-only --print-file-name '" LOCKBYFILE_LIBRARY "'", "r"), ::pclose);
  ASSERT_TRUE(nm);
  std::map<std::string, std::set<std::string>> found;
  char line[4096];
  while (::fgets(line, sizeof line, nm.get()) != nullptr) {
    std::istringstream words(line);
    std::string where;
    std::string type;
    std::string symbol;
    words >> where >> type >> symbol;  // liblockbyfile.a:line.cpp.o:  U  memcpy
    if (where.ends_with(':')) where.pop_back();
    symbol = plain(symbol);
    if (calls.contains(symbol)) found[where.substr(where.rfind(':') + 1)].insert(symbol);
  }
  if (found.empty()) GTEST_SKIP() << "there is no nm to read " LOCKBYFILE_LIBRARY;
  EXPECT_GT(found["system_calls.cpp.o"].size(), 15U) << "the seam itself";
  for (const auto& [object, symbols] : found) {
    if (object == "system_calls.cpp.o") continue;
    const auto permitted = outside.find(object);
    for (const std::string& symbol : symbols) {
      EXPECT_TRUE(permitted != outside.end() && permitted->second.contains(symbol))
          << object << " calls " << symbol << " past the seam";
    }
  }
}

}  // namespace
