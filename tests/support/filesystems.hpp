// SPDX-License-Identifier: Apache-2.0
//
// Small filesystems of every kind, mounted in a mount namespace of the test's child: when
// that ends, however it ends, nothing is left of them. (A loop device lets go of its file
// with the mount, and the file is in a directory of the test's.)
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <ostream>
#include <string>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"

struct filesystem_kind {
  std::string name;
  std::string make = {};      // the command that makes one in an image of
  std::size_t megabytes = 0;  // this size; none: it is not on a disk
  friend std::ostream& operator<<(std::ostream& out, const filesystem_kind& k) {
    return out << k.name;
  }
};

inline const filesystem_kind tmpfs{"tmpfs"};
inline const filesystem_kind ramfs{"ramfs"};
inline const filesystem_kind ext2{"ext2", "mkfs.ext2 -q -F -m 0", 2};
inline const filesystem_kind ext3{"ext3", "mkfs.ext3 -q -F -m 0", 4};
inline const filesystem_kind ext4{"ext4", "mkfs.ext4 -q -F -m 0", 2};
inline const filesystem_kind xfs{"xfs", "mkfs.xfs -q -f", 300};  // the least it accepts
inline const filesystem_kind btrfs{"btrfs", "mkfs.btrfs -q -f --mixed", 16};
inline const filesystem_kind overlayfs{"overlayfs"};
inline const filesystem_kind bind_mount{"bind"};

/// A test whose directory() is such a filesystem, inside of in_it().
class FilesystemTest : public LockTest, public ::testing::WithParamInterface<filesystem_kind> {
 protected:
  /// Runs `body` in a child that has the filesystem mounted, or skips the test, saying why.
  /// The last thing that a test does.
  void in_it(const std::function<void()>& body) const {
    if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
    const std::string reason = elsewhere_.path() + "/reason";
    const int code = run_in_child([&] {
      leave_mount_namespace();
      if (const std::string why = mount_it(); !why.empty()) {
        write_file(reason, why);
        ::_exit(0);
      }
      body();
    });
    if (std::filesystem::exists(reason)) GTEST_SKIP() << content_of(reason);
    EXPECT_EQ(code, 0) << "see above";
  }

  /// For what overlayfs shows until somebody writes to it.
  [[nodiscard]] std::string lower() const { return elsewhere_.path() + "/lower"; }

 private:
  /// Empty, or why not.
  [[nodiscard]] std::string mount_it() const {
    const filesystem_kind& kind = GetParam();
    const std::string& aside = elsewhere_.path();
    if (kind.megabytes != 0) {
      write_file(aside + "/image", "");
      truncate_file(aside + "/image", kind.megabytes << 20);
      const std::string log = " >'" + aside + "/log' 2>&1";
      const std::string quoted = " '" + aside + "/image'";
      // What makes filesystems is not in everybody's path.
      const std::string path = "PATH=$PATH:/usr/sbin:/sbin; ";
      if (std::system((path + kind.make + quoted + log).c_str()) != 0)
        return "cannot make " + kind.name + ": " + content_of(aside + "/log");
      const std::string mount = "mount -o loop -t " + kind.name + quoted + " '" + directory() + "'";
      if (std::system((path + mount + log).c_str()) != 0)
        return "cannot mount " + kind.name + ": " + content_of(aside + "/log");
      return {};
    }
    if (kind.name == ramfs.name) {
      const bool done = ::mount("none", directory().c_str(), "ramfs", 0, nullptr) == 0;
      return done ? "" : "ramfs cannot be mounted";
    }
    if (kind.name == tmpfs.name) {
      mount_tmpfs(directory(), "size=1m");
      return {};
    }
    mount_tmpfs(aside, "size=1m");
    if (kind.name == bind_mount.name) {
      const bool done = ::mount(aside.c_str(), directory().c_str(), nullptr, MS_BIND, nullptr) == 0;
      return done ? "" : "bind mounts are not permitted";
    }
    for (const char* part : {"/lower", "/upper", "/work"})
      std::filesystem::create_directory(aside + part);
    const std::string options =
        "lowerdir=" + lower() + ",upperdir=" + aside + "/upper,workdir=" + aside + "/work";
    const bool done = ::mount("none", directory().c_str(), "overlay", 0, options.c_str()) == 0;
    return done ? "" : "overlayfs cannot be mounted";
  }

  temporary_directory elsewhere_;
};
