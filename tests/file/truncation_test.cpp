// SPDX-License-Identifier: Apache-2.0
//
// A lockfile that is truncated while it is mapped: TORTURE 12. The kernel answers with
// SIGBUS, and a chained handler answers that for our own mappings, only for them.
//
// Which handler was there first is a property of the process, so these tests run their
// claims in a program that is started anew (GoogleTest's "threadsafe" death tests).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <string_view>

#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

constexpr int well = 42;  // the exit code of a claim that holds

/// A mapping of a file that another library truncated: touching it raises SIGBUS.
class truncated_mapping {
 public:
  truncated_mapping() {
    std::FILE* file = std::tmpfile();
    if (file == nullptr || ::ftruncate(::fileno(file), 4096) != 0) std::abort();
    bytes_ = static_cast<char*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ::fileno(file), 0));
    if (bytes_ == MAP_FAILED || ::ftruncate(::fileno(file), 0) != 0) std::abort();
    std::fclose(file);
  }
  ~truncated_mapping() { ::munmap(bytes_, 4096); }
  truncated_mapping(const truncated_mapping&) = delete;
  truncated_mapping& operator=(const truncated_mapping&) = delete;

  void touch() const { *const_cast<volatile char*>(bytes_) = 1; }
  [[nodiscard]] const void* address() const { return bytes_; }

 private:
  char* bytes_;
};

void handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

/// For the handlers of "another library" below.
sigjmp_buf back;
volatile sig_atomic_t calls = 0;
const void* volatile fault_address = nullptr;

void another_librarys_handler(int, siginfo_t* info, void*) {
  calls = calls + 1;
  fault_address = info->si_addr;
  siglongjmp(back, 1);
}

void old_style_handler(int signal) {
  calls = calls + (signal == SIGBUS ? 1 : 100);
  siglongjmp(back, 1);
}

class Truncation : public LockTest {
 protected:
  Truncation() { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }

  void SetUp() override {
    struct rlimit none {};
    ::setrlimit(RLIMIT_CORE, &none);  // some of these die on purpose
  }

  /// In a new program: it begins, which must not hang, and it ends, without destructors.
  static void begin() { ::alarm(20); }
  void clean_up() const { std::filesystem::remove_all(directory()); }
  void finish(bool held_the_claim) const {
    clean_up();
    std::_Exit(held_the_claim ? well : 1);
  }
};

using TruncationDeathTest = Truncation;

// Our own mappings

TEST_F(Truncation, OfAHeldLockIsAnErrorNotASignal) {
  named_lock holder(name(), {.lease = 1h});
  named_lock idle(name());
  for (const std::size_t size : {0U, 100U}) {
    holder.lock();
    ASSERT_FALSE(idle.try_lock());
    truncate_file(name(), size);
    EXPECT_FALSE(holder.is_held());
    std::error_code ec;
    holder.renew(ec);
    EXPECT_EQ(ec, errc::lease_lost);
    (void)holder.lease_remaining();
    holder.release(ec);
    EXPECT_EQ(ec, errc::lease_lost);
    EXPECT_FALSE(idle.acquire(1ms, {}, ec));
    EXPECT_EQ(ec, errc::damaged) << "the old holder has it open: " << ec.message();
    EXPECT_TRUE(holder.try_lock_for(1min)) << "and now nobody had";
    holder.unlock();
    EXPECT_TRUE(idle.try_lock_for(1min));
    idle.unlock();
  }
}

TEST_F(Truncation, UnderWaitersKillsNobody) {
  lock_process holder(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  lock_process first(name());
  lock_process second(name());
  queue(first);
  queue(second);
  truncate_file(name(), 0);
  // They cannot tell whether the holder lives on with a grant, so they may not go on.
  EXPECT_EQ(first.end_acquire().error, errc::damaged);
  EXPECT_EQ(second.end_acquire().error, errc::damaged);
  EXPECT_FALSE(holder.is_held());
  EXPECT_EQ(holder.release(), errc::lease_lost);
  holder.kill();
  const outcome o = first.acquire(1min);
  ASSERT_TRUE(o) << o;
  EXPECT_GT(o.granted.token, held.granted.token);
  EXPECT_EQ(second.acquire(0ns).error, errc::timed_out);
}

TEST_F(Truncation, TheErrorNamesThePathAndTheCause) {
  const named_lock in_use(name());
  named_lock lock(name());
  truncate_file(name(), 0);
  try {
    (void)lock.acquire(10ms);
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), errc::damaged);
    EXPECT_EQ(error.path(), name());
    const std::string what = error.what();
    EXPECT_NE(what.find(name()), std::string::npos) << what;
    EXPECT_NE(what.find("truncated"), std::string::npos) << what;
  }
}

TEST_F(Truncation, ByAShellsRedirectionIsSurvived) {  // "a shell's 9>file truncates"
  named_lock lock(name());
  const fencing_token last = lock.acquire(0ns).token;
  const int fd = ::open(name().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  ASSERT_GE(fd, 0);
  ::close(fd);
  EXPECT_FALSE(lock.is_held());
  ASSERT_TRUE(lock.try_lock_for(1min));
  EXPECT_GT(lock.token(), last);
  named_lock other(name());
  EXPECT_FALSE(other.try_lock());
}

TEST_F(Truncation, NothingOfOursTruncates) {
  { const named_lock lock(name()); }
  write_file(name(), content_of(name()) + "a tail");
  const auto size = std::filesystem::file_size(name());
  {
    named_lock lock(name());
    lock.lock();
    lock.renew();
    (void)look();
    break_lock(name(), lock.token());
  }
  EXPECT_EQ(std::filesystem::file_size(name()), size);
}

TEST_F(Truncation, ThatComesAndGoesEndlesslyNeitherCrashesNorHangs) {
  lock_process first(name());
  lock_process second(name());
  for (int i = 0; i < 100; ++i) {
    const auto begun = steady_now();
    const outcome a = first.acquire(1ms);
    truncate_file(name(), i % 2 == 0 ? 0 : 4096);
    const outcome b = second.acquire(1ms);
    ASSERT_FALSE(b && first.is_held()) << "two holders";
    if (a) (void)first.release();
    if (b) (void)second.release();
    ASSERT_LT(steady_now() - begun, 2s);
  }
}

TEST_F(Truncation, AtAnyStepOfAnAcquisitionGrantsNothingThatTheFileDoesNotSay) {
  bool reached = true;
  for (int step = 1; reached; ++step) {
    SCOPED_TRACE(step);
    ASSERT_LT(step, 500);
    reached = false;
    { const named_lock made(name()); }
    named_lock lock(name());
    lock.lock();
    lock.unlock();
    std::filesystem::remove(name());  // so that it opens the path's next file,
    { const named_lock made(name()); }
    outlive_the_last_look_at_the_path();
    std::error_code ec;
    bool granted = false;
    {
      int asked = 0;
      const seam meddling([&](std::string_view) {  // which is truncated just then
        if (++asked == step) {
          reached = true;
          truncate_file(name(), 0);
        }
        return 0;
      });
      granted = lock.acquire(1ms, {}, ec).has_value();
    }
    if (!granted || !lock.is_held()) continue;
    const auto state = observe(name(), {}, ec);
    ASSERT_TRUE(state && state->holder) << "a lock of its own, in memory that nobody shares";
    EXPECT_EQ(state->holder->token, lock.token());
  }
}

// Other mappings

TEST_F(TruncationDeathTest, AnotherLibrarysHandlerIsCalledForItsMappings) {
  EXPECT_EXIT(
      {
        begin();
        handle(SIGBUS, another_librarys_handler);
        named_lock lock(name());
        lock.lock();
        const truncated_mapping theirs;
        if (sigsetjmp(back, 1) == 0) theirs.touch();
        truncate_file(name(), 0);
        const bool ours_survived = !lock.is_held();
        finish(calls == 1 && fault_address == theirs.address() && ours_survived);
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, AnOldStyleHandlerIsCalledForItsMappings) {
  EXPECT_EXIT(
      {
        begin();
        ::signal(SIGBUS, old_style_handler);
        named_lock lock(name());
        const truncated_mapping theirs;
        if (sigsetjmp(back, 1) == 0) theirs.touch();
        finish(calls == 1);
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, WithoutAnotherHandlerAForeignFaultTakesItsCourse) {
  EXPECT_EXIT(
      {
        begin();
        ::signal(SIGBUS, SIG_DFL);
        const named_lock lock(name());
        clean_up();
        const truncated_mapping theirs;
        theirs.touch();
        finish(false);
      },
      KilledBySignal(SIGBUS), "");
}

TEST_F(TruncationDeathTest, ASentSignalTakesItsCourseToo) {  // kill -BUS
  EXPECT_EXIT(
      {
        begin();
        ::signal(SIGBUS, SIG_DFL);
        const named_lock lock(name());
        clean_up();
        ::kill(::getpid(), SIGBUS);
        finish(false);
      },
      KilledBySignal(SIGBUS), "");
}

TEST_F(TruncationDeathTest, AnIgnoredSentSignalDoesNotEndTheGuard) {
  EXPECT_EXIT(
      {
        begin();
        ::signal(SIGBUS, SIG_IGN);
        named_lock lock(name());
        lock.lock();
        ::kill(::getpid(), SIGBUS);
        truncate_file(name(), 0);
        finish(!lock.is_held());
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, AMappingInThePlaceOfAClosedLockIsNotOurs) {
  EXPECT_EXIT(
      {
        begin();
        handle(SIGBUS, another_librarys_handler);
        for (int i = 0; i < 20; ++i) {
          const named_lock closed(name());
        }
        // The kernel gives the freed addresses to the next mapping.
        const truncated_mapping theirs;
        if (sigsetjmp(back, 1) == 0) theirs.touch();
        finish(calls == 1);
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, TheGuardCanBeLeftOut) {
  EXPECT_EXIT(
      {
        begin();
        handle(SIGBUS, another_librarys_handler);
        named_lock lock(name(), {.on_truncation = truncation_guard::leave_out});
        (void)observe(name(), {.on_truncation = truncation_guard::leave_out});
        lock.lock();
        struct sigaction now {};
        ::sigaction(SIGBUS, nullptr, &now);
        static bool untouched = false;  // over siglongjmp
        untouched = now.sa_sigaction == another_librarys_handler;
        truncate_file(name(), 0);
        if (sigsetjmp(back, 1) == 0) (void)lock.is_held();
        finish(untouched && calls == 1);
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, TheGuardIsPerLock) {
  EXPECT_EXIT(
      {
        begin();
        handle(SIGBUS, another_librarys_handler);
        named_lock guarded(name());
        named_lock unguarded(name() + "2", {.on_truncation = truncation_guard::leave_out});
        guarded.lock();
        unguarded.lock();
        truncate_file(name(), 0);
        truncate_file(name() + "2", 0);
        static bool survived = false;  // over siglongjmp
        survived = !guarded.is_held() && calls == 0;
        if (sigsetjmp(back, 1) == 0) (void)unguarded.is_held();
        finish(survived && calls == 1);
      },
      ExitedWithCode(well), "");
}

TEST_F(TruncationDeathTest, TheGuardWorksOnAnAlternateStackAndKeepsErrno) {
  EXPECT_EXIT(
      {
        begin();
        named_lock lock(name());
        lock.lock();
        struct sigaction now {};
        ::sigaction(SIGBUS, nullptr, &now);
        truncate_file(name(), 0);
        errno = 1234;
        const bool lost = !lock.is_held();
        finish(lost && errno == 1234 && (now.sa_flags & SA_ONSTACK) != 0);
      },
      ExitedWithCode(well), "");
}

}  // namespace
}  // namespace lockbyfile
