// SPDX-License-Identifier: Apache-2.0
//
// From a lock's name to its file. TORTURE 21, and errors as in issue "a named lock that
// works": a clear error for names that are none.
#include "core/name.hpp"

#include <gtest/gtest.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <string_view>

#include "support/temporary_directory.hpp"

namespace lockbyfile {
namespace {

namespace fs = std::filesystem;

class Name : public ::testing::Test {
 protected:
  Name() { ::unsetenv("LOCKBYFILE_DIR"); }
  void TearDown() override {
    ::unsetenv("LOCKBYFILE_DIR");
    fs::current_path(before_);
  }

  [[nodiscard]] const std::string& directory() const { return directory_.path(); }
  [[nodiscard]] std::string subdirectory(const std::string& name) const {
    fs::create_directories(directory() + "/" + name);
    return directory() + "/" + name;
  }

  /// Resolving fails with `code`, and says what was asked for.
  static void expect_refused(std::string_view name, errc code) {
    try {
      const std::string path = resolve(name, "/");
      ADD_FAILURE() << "resolved to " << path;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_EQ(error.path(), name);
      EXPECT_NE(std::string(error.what()).find("lock name"), std::string::npos);
    }
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name, {}, ec)) << "another way in";
    EXPECT_EQ(ec, code);
  }

 private:
  fs::path before_ = fs::current_path();
  temporary_directory directory_;
};

// What is no name

TEST_F(Name, AnEmptyOneIsRefused) { expect_refused("", errc::invalid_name); }

TEST_F(Name, OneWithANulByteIsRefused) {
  using namespace std::string_view_literals;
  expect_refused("a\0b"sv, errc::invalid_name);
  expect_refused("\0"sv, errc::invalid_name);
  expect_refused("a\0"sv, errc::invalid_name);
  expect_refused("/tmp/\0/a"sv, errc::invalid_name);
}

TEST_F(Name, OneThatNamesADirectoryIsRefused) {
  for (const auto* name : {".", "..", "/", "//", "./", "../", "a/..", "a/.", "/tmp/", "/tmp/.."})
    expect_refused(name, errc::invalid_name);
}

TEST_F(Name, DotsAreOnlySpecialAsAWholeName) {
  EXPECT_EQ(resolve("...", directory()), directory() + "/....lockfile");
  EXPECT_EQ(resolve(".hidden", directory()), directory() + "/.hidden.lockfile");
  EXPECT_EQ(resolve("a..b", directory()), directory() + "/a..b.lockfile");
}

TEST_F(Name, ControlCharactersAreNotEchoed) {
  try {
    (void)resolve("a\n\x1b[31mb/", "");
    ADD_FAILURE();
  } catch (const lock_error& error) {
    for (const char c : std::string_view(error.what()))
      EXPECT_GE(static_cast<unsigned char>(c), 32);
  }
}

TEST_F(Name, TheFilesNameMayHave255Bytes) {
  const std::string longest(255 - std::string_view(".lockfile").size(), 'x');
  EXPECT_EQ(resolve(longest, directory()), directory() + "/" + longest + ".lockfile");
  expect_refused(longest + "x", errc::invalid_name);

  const std::string path = directory() + "/" + std::string(255, 'x');
  EXPECT_EQ(resolve(path, ""), path);
  expect_refused(path + "x", errc::invalid_name);
  expect_refused(std::string(1'000'000, 'x'), errc::invalid_name);
}

TEST_F(Name, TheLongestNameWorksThroughout) {  // also with files of ours beside it
  named_lock lock(directory() + "/" + std::string(255, 'x'));
  lock.lock();
  EXPECT_EQ(list(directory(), which_names::all).size(), 1U);
  lock.unlock();
  lockbyfile::remove(lock.path());
  EXPECT_TRUE(list(directory(), which_names::all).empty());
}

TEST_F(Name, AsAPathItMustFitThePathsLimit) {
  std::string parent = directory();
  fs::current_path(parent);
  const std::string part(200, 'd');
  while (parent.size() + part.size() + 1 < PATH_MAX - 210) {
    parent += '/' + part;
    fs::create_directory(part);  // step by step, since the whole may be too long
    fs::current_path(part);
  }
  const std::string fits(PATH_MAX - 1 - parent.size() - 1, 'x');
  EXPECT_EQ(resolve(parent + '/' + fits, "").size(), PATH_MAX - 1U);
  named_lock lock(parent + '/' + fits);
  EXPECT_TRUE(lock.try_lock());
  expect_refused("./" + fits + "x", errc::invalid_name);
}

// What it becomes

TEST_F(Name, WithoutASlashLivesInTheDirectoryOfTheOptions) {
  ::setenv("LOCKBYFILE_DIR", subdirectory("env").c_str(), 1);
  EXPECT_EQ(resolve("bed", directory()), directory() + "/bed.lockfile");
}

TEST_F(Name, WithoutASlashLivesInLOCKBYFILE_DIRNext) {
  const std::string env = subdirectory("env");
  ::setenv("LOCKBYFILE_DIR", env.c_str(), 1);
  EXPECT_EQ(resolve("bed", ""), env + "/bed.lockfile");
  ::setenv("LOCKBYFILE_DIR", "", 1);
  fs::current_path(directory());
  EXPECT_EQ(resolve("bed", ""), directory() + "/bed.lockfile") << "an empty one is none";
}

TEST_F(Name, WithoutASlashLivesInTheCurrentDirectoryByDefault) {
  fs::current_path(directory());
  EXPECT_EQ(resolve("bed", ""), directory() + "/bed.lockfile");
}

TEST_F(Name, WithSlashesIsAPathUsedAsItIs) {
  ::setenv("LOCKBYFILE_DIR", subdirectory("env").c_str(), 1);
  const std::string sub = subdirectory("sub");
  fs::current_path(directory());
  EXPECT_EQ(resolve("./bed", sub), directory() + "/bed") << "no suffix, no other directory";
  EXPECT_EQ(resolve("sub/bed.lock", ""), sub + "/bed.lock");
  EXPECT_EQ(resolve(sub + "/bed", ""), sub + "/bed");
  EXPECT_EQ(resolve("/bed", ""), "/bed");
  EXPECT_EQ(resolve("//bed", ""), "/bed");
}

TEST_F(Name, IsResolvedThroughDotsAndSymbolicLinks) {
  const std::string real = subdirectory("real/deep");
  fs::create_directory_symlink(real, directory() + "/link");
  EXPECT_EQ(resolve(directory() + "/real/../real/./deep/bed", ""), real + "/bed");
  EXPECT_EQ(resolve(directory() + "/link/bed", ""), real + "/bed");
  EXPECT_EQ(resolve(directory() + "/link/../bed", ""), directory() + "/real/bed")
      << "`..` is the real parent, as for the kernel";
  EXPECT_EQ(resolve("bed", directory() + "/link"), real + "/bed.lockfile");
}

TEST_F(Name, ALinkAsItsLastPartIsNotFollowed) {
  fs::create_symlink(directory() + "/elsewhere", directory() + "/bed");
  EXPECT_EQ(resolve(directory() + "/bed", ""), directory() + "/bed");
}

TEST_F(Name, BytesAreKeptAsTheyAre) {
  for (const std::string name : {"Bett für zwei", "a b", "\xff\xfe", "-rf", "~", "$HOME", "*"})
    EXPECT_EQ(resolve(name, directory()), directory() + "/" + name + ".lockfile");
}

TEST_F(Name, IsResolvedOnceAtOpen) {  // TORTURE 21
  const std::string first = subdirectory("first");
  const std::string second = subdirectory("second");
  fs::create_directory_symlink(first, directory() + "/current");
  fs::current_path(directory());
  named_lock lock("./current/bed");

  fs::current_path("/");
  fs::remove(directory() + "/current");
  fs::create_directory_symlink(second, directory() + "/current");
  ::setenv("LOCKBYFILE_DIR", second.c_str(), 1);

  EXPECT_EQ(lock.path(), first + "/bed");
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.is_held());
  EXPECT_FALSE(fs::exists(second + "/bed"));
}

// What has no directory

TEST_F(Name, AMissingDirectoryIsNamed) {
  const std::string missing = directory() + "/missing";
  const auto expect_named = [&](const std::string& name, const std::string& in) {
    try {
      (void)named_lock(name, {.directory = in});
      ADD_FAILURE() << name;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::error_code(ENOENT, std::system_category())) << error.what();
      EXPECT_NE(std::string(error.what()).find(missing), std::string::npos) << error.what();
      EXPECT_NE(error.path().find(missing), std::string::npos);
    }
  };
  expect_named("bed", missing);
  expect_named(missing + "/bed", "");
  expect_named(missing + "/deeper/bed", "");
  ::setenv("LOCKBYFILE_DIR", missing.c_str(), 1);
  expect_named("bed", "");
  EXPECT_FALSE(fs::exists(missing)) << "it is not created either";
}

TEST_F(Name, ADirectoryThatIsAFileIsNamed) {
  const std::string file = directory() + "/file.lockfile";
  { const named_lock lock(file); }
  try {
    const named_lock lock(file + "/bed");
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), std::errc::not_a_directory) << error.what();
    EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
  }
}

TEST_F(Name, ADirectoryThatIsALoopOfLinksIsNamed) {
  fs::create_symlink("loop", directory() + "/loop");
  try {
    const named_lock lock(directory() + "/loop/bed");
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), std::errc::too_many_symbolic_link_levels) << error.what();
    EXPECT_NE(std::string(error.what()).find("/loop"), std::string::npos) << error.what();
  }
}

TEST_F(Name, ADirectoryWithANulByteIsRefused) {
  std::error_code ec;
  EXPECT_FALSE(named_lock::open("bed", {.directory = directory() + std::string("\0x", 2)}, ec));
  EXPECT_TRUE(ec);
  EXPECT_TRUE(fs::is_empty(directory())) << "a lock in another directory than asked for";
}

// Other engines

TEST_F(Name, WithASchemeIsReservedForOtherEngines) {
  for (const auto* name :
       {"redis://host/bed", "redis://", "file:///tmp/bed", "a+b-c.d://x", "2://x"})
    expect_refused(name, errc::wrong_engine);
}

TEST_F(Name, WithAColonButNoSchemeIsAFile) {
  EXPECT_EQ(resolve("etcd:bed", directory()), directory() + "/etcd:bed.lockfile");
  EXPECT_EQ(resolve("a:b:c", directory()), directory() + "/a:b:c.lockfile");
  const std::string odd = subdirectory("etcd:");
  EXPECT_EQ(resolve(directory() + "/etcd://bed", ""), odd + "/bed");
  fs::current_path(directory());
  EXPECT_EQ(resolve("./etcd://bed", ""), odd + "/bed");
}

// Every door

TEST_F(Name, IsCheckedByEveryFunctionThatTakesOne) {
  for (const auto& [name, code] :
       {std::pair{"", errc::invalid_name}, std::pair{"..", errc::invalid_name},
        std::pair{"redis://h/x", errc::wrong_engine}}) {
    std::error_code ec;
    EXPECT_FALSE(observe(name, {}, ec));
    EXPECT_EQ(ec, code);
    lockbyfile::remove(name, {}, ec);
    EXPECT_EQ(ec, code);
    break_lock(name, fencing_token(), {}, ec);
    EXPECT_EQ(ec, code);
  }
}

}  // namespace
}  // namespace lockbyfile
