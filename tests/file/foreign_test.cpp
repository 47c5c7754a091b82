// SPDX-License-Identifier: Apache-2.0
//
// What is at the lockfile's path but is no lockfile: TORTURE 11, promise P10. Every
// function gives a clear error with the path; what is there is left as it is, nothing is
// followed, nothing blocks. What was a lockfile once: damaged_test.cpp.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "support/deeds.hpp"
#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

namespace fs = std::filesystem;

struct kind {
  std::string name;
  std::function<void(const std::string& path)> make;
  std::string word;  // in the error's sentence
  friend std::ostream& operator<<(std::ostream& out, const kind& k) { return out << k.name; }
};

void make_device(const std::string& path, mode_t type, unsigned major, unsigned minor) {
  if (::mknod(path.c_str(), type | 0600, makedev(major, minor)) != 0)
    throw std::system_error(errno, std::system_category(), "mknod");
}

void make_socket(const std::string& path) {
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int bound = ::bind(s, reinterpret_cast<const struct sockaddr*>(&address), sizeof address);
  ::close(s);
  if (bound != 0) throw std::system_error(errno, std::system_category(), "bind");
}

/// A lockfile, to be spoilt.
void make_lockfile(const std::string& path) { const named_lock lock(path); }

const kind kinds[] = {
    {"TextFile", [](const std::string& p) { write_file(p, "Dear diary, today I\n"); },
     "another program"},
    {"LongTextFile", [](const std::string& p) { write_file(p, std::string(700'000, 'x')); },
     "another program"},
    {"TextFileThatBeginsAlike",
     [](const std::string& p) { write_file(p, "lockbyfile is a nice program\n"); },
     "another program"},
    {"BinaryFileThatBeginsWithZeros",
     [](const std::string& p) { write_file(p, std::string(4000, '\0') + std::string(96, 'x')); },
     "another program"},
    {"HugeSparseFile",
     [](const std::string& p) {
       write_file(p, "");
       truncate_file(p, std::size_t{1} << 40);
     },
     "another program"},
    {"NewerFormat",
     [](const std::string& p) {
       make_lockfile(p);
       mapped_lockfile(p)->header.format.store(2);
     },
     "format 2"},
    {"UnknownFlags",
     [](const std::string& p) {
       make_lockfile(p);
       mapped_lockfile(p)->header.flags.store(4);
     },
     "flags 4"},
    {"Directory", [](const std::string& p) { fs::create_directory(p); }, "directory"},
    {"Fifo",
     [](const std::string& p) {
       if (::mkfifo(p.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
     },
     "FIFO"},
    {"Socket", make_socket, "socket"},
    {"SymbolicLinkToALockfile",
     [](const std::string& p) {
       make_lockfile(p + ".target");
       fs::create_symlink(p + ".target", p);
     },
     "symbolic link"},
    {"SymbolicLinkToATextFile",
     [](const std::string& p) {
       write_file(p + ".target", "precious");
       fs::create_symlink(p + ".target", p);
     },
     "symbolic link"},
    {"DanglingSymbolicLink", [](const std::string& p) { fs::create_symlink(p + ".target", p); },
     "symbolic link"},
    {"SymbolicLinkToItself", [](const std::string& p) { fs::create_symlink(p, p); },
     "symbolic link"},
    {"CharacterDevice", [](const std::string& p) { make_device(p, S_IFCHR, 1, 3); }, "device"},
    {"BlockDevice", [](const std::string& p) { make_device(p, S_IFBLK, 7, 200); }, "device"},
    {"Terminal", [](const std::string& p) { make_device(p, S_IFCHR, 5, 0); }, "device"},
};

class Foreign : public LockTest, public ::testing::WithParamInterface<kind> {
 protected:
  /// What can be seen of the directory without opening anything odd.
  [[nodiscard]] std::string inventory() const {
    std::string all;
    for (const auto& entry : fs::directory_iterator(directory())) {
      struct stat s {};
      EXPECT_EQ(::lstat(entry.path().c_str(), &s), 0);
      all += entry.path().string() + ' ' + std::to_string(s.st_ino) + ' ' +
             std::to_string(s.st_mode) + ' ' + std::to_string(s.st_size) + ' ' +
             std::to_string(s.st_blocks) + '\n';
      if (S_ISREG(s.st_mode) && s.st_size < 1'000'000) all += content_of(entry.path()) + '\n';
      if (S_ISLNK(s.st_mode)) all += fs::read_symlink(entry.path()).string() + '\n';
    }
    return all;
  }
  void make() const {
    try {
      GetParam().make(name());
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::operation_not_permitted) throw;
      GTEST_SKIP() << "only root can make one";
    }
  }
};

TEST_P(Foreign, IsRefusedByEveryDeedAndLeftAsItIs) {
  make();
  if (IsSkipped()) return;
  const std::string before = inventory();
  for (const deed* d : all_deeds) {
    SCOPED_TRACE(d->name);
    EXPECT_EQ(code_of(*d, name()), errc::wrong_engine);
    try {
      d->commit(name());
      ADD_FAILURE() << "accepted";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.path(), name());
      EXPECT_NE(std::string(error.what()).find(GetParam().word), std::string::npos) << error.what();
    }
    EXPECT_EQ(inventory(), before);
  }
}

TEST_P(Foreign, IsPassedOverByListAndPrune) {
  make();
  if (IsSkipped()) return;
  const named_lock in_use(directory() + "/other");
  const std::string before = inventory();
  (void)list(directory());
  for (const auto& removed : prune(directory())) EXPECT_EQ(removed, name() + ".target");
  EXPECT_TRUE(fs::exists(fs::symlink_status(name())));
  if (!fs::exists(name() + ".target")) return;
  EXPECT_EQ(inventory(), before);
}

TEST_P(Foreign, IsNotEvenOpenedIfOpeningMightActOnIt) {  // devices, FIFOs
  make();
  if (IsSkipped()) return;
  if (S_ISREG(mode_of(name()))) return;
  const seam watching([](std::string_view call) { return call == "open" ? EIO : 0; });
  for (const deed* d : all_deeds) EXPECT_EQ(code_of(*d, name()), errc::wrong_engine) << d->name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, Foreign, ::testing::ValuesIn(kinds),
                         [](const auto& p) { return p.param.name; });

using ForeignRace = LockTest;
using ForeignInPlace = LockTest;

/// Put in place between the look at the path and the open.
TEST_F(ForeignRace, ALinkOrFifoThatComesTooLateForTheLookIsRefusedAllTheSame) {
  const auto unseen = [](std::string_view call) { return call == "lstat" ? ENOENT : 0; };
  write_file(name() + ".target", "precious");
  fs::create_symlink(name() + ".target", name());
  for (const deed* d : all_deeds) {
    const seam blind(unseen);
    EXPECT_EQ(code_of(*d, name()), std::errc::too_many_symbolic_link_levels) << d->name;
  }
  EXPECT_EQ(content_of(name() + ".target"), "precious");
  fs::remove(name());
  ASSERT_EQ(::mkfifo(name().c_str(), 0600), 0);
  for (const deed* d : all_deeds) {
    const seam blind(unseen);
    EXPECT_TRUE(code_of(*d, name())) << d->name;
  }
}

// Written in place over a lockfile in use (cp data NAME.lockfile): not one byte of it changes.
TEST_F(ForeignInPlace, UnderThreeWaitersIsNotWrittenTo) {
  constexpr int tries = 200;
  std::string data(64 * 1024, 'd');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 256);
  const std::string source = directory() + "/data";
  write_file(source, data);
  lock_process waiters[3] = {lock_process(lock_process::not_yet_open, name()),
                             lock_process(lock_process::not_yet_open, name()),
                             lock_process(lock_process::not_yet_open, name())};
  int changed = 0;
  for (int i = 0; i < tries; ++i) {
    std::filesystem::remove(name());
    named_lock holder(name());
    holder.lock();
    for (auto& w : waiters) {
      w.open();
      w.begin_acquire(std::chrono::minutes(1));
    }
    wait_for_line_of(3);
    const int from = ::open(source.c_str(), O_RDONLY | O_CLOEXEC);  // as cp does
    const int to = ::open(name().c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    ASSERT_EQ(::write(to, data.data(), data.size()), static_cast<ssize_t>(data.size()));
    ::close(from);
    ::close(to);
    std::error_code ec;
    holder.renew(ec);
    holder.release(ec);
    for (auto& w : waiters) {
      const outcome o = w.end_acquire();
      EXPECT_TRUE(o.error == errc::wrong_engine || o.error == errc::damaged) << o;
    }
    if (content_of(name()) != data) ++changed;
  }
  EXPECT_EQ(changed, 0) << "of " << tries;
}

}  // namespace
}  // namespace lockbyfile
