// SPDX-License-Identifier: Apache-2.0
//
// A program that unloads the plugin or library that used a lock.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "support/in_child.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

constexpr int their_handlers_exit = 42;

class Unloading : public LockTest {
 protected:
  /// Opens and closes a lock by the plugin, and unloads it.
  void use_and_unload() const {
    void* const plugin = ::dlopen(LOCKBYFILE_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << ::dlerror();
    const auto use = reinterpret_cast<int (*)(const char*)>(::dlsym(plugin, "use_a_lock"));
    ASSERT_NE(use, nullptr);
    ASSERT_EQ(use(name().c_str()), 0);
    ASSERT_EQ(::dlclose(plugin), 0);
  }

  static void fault() {
    std::FILE* const file = std::tmpfile();
    ASSERT_EQ(::ftruncate(::fileno(file), 4096), 0);
    auto* const byte = static_cast<volatile char*>(
        ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, ::fileno(file), 0));
    ASSERT_EQ(::ftruncate(::fileno(file), 0), 0);
    (void)*byte;
  }
};

TEST_F(Unloading, APluginLeavesAHandlerThatStillWorks) {
  EXPECT_EQ(run_in_child([&] {
              ::signal(SIGBUS, [](int) { ::_exit(their_handlers_exit); });
              use_and_unload();
              fault();
            }),
            their_handlers_exit);
}

TEST_F(Unloading, APluginLeavesASentSignalToTheProgramsHandler) {
  EXPECT_EQ(run_in_child([&] {
              ::signal(SIGBUS, [](int) { ::_exit(their_handlers_exit); });
              use_and_unload();
              ::raise(SIGBUS);
            }),
            their_handlers_exit);
}

}  // namespace
}  // namespace lockbyfile
