// SPDX-License-Identifier: Apache-2.0
//
// demo inner: the inner workings of FLock, as the testFLocks of 2015 showed them.
//
// Every line that reports a result is also a claim: the demo fails if the claim is false. The
// claims allow longer times, for a busy machine. The column on the left shows the real times.
#include <chrono>
#include <lockbyfile/flock.hpp>
#include <lockbyfile/observe.hpp>
#include <string>
#include <thread>

#include "demo_figures.hpp"
#include "demo_log.hpp"
#include "demo_plays.hpp"

namespace lockbyfile::demo {
namespace {

class inner_workings {
 public:
  verdict show() {
    log("INITIALIZE FLock instance:");
    log("FLock L(\"example\")");
    log("L.filename = ", L_.filename());
    log("A hard reset; usually do not use, only at the beginning perhaps:");
    tell("L.breakLock", L_.breakLock(), false, "(nothing to break: a new directory)");
    tell("L.exists", L_.exists(), false, "(nobody has locked yet)");

    locking_and_what_it_does();
    timeout_is_in_the_lock();
    loop_while_locked();
    locking_twice();
    the_name_decides();
    lack_of_patience();
    return result_;
  }

 private:
  void locking_and_what_it_does() {
    example("locking, and see what it does");
    tell("L.locking", L_.locking(), true);
    log("sleep a bit ...");
    sleep(0.5);
    const double age = L_.age();
    tell("L.age >= 0.5", age >= 0.5, true, text_of("(", fixed(age, 3), " s)"));
    tell("L.isLocked", L_.isLocked(), true);
    tell("L.exists", L_.exists(), true);
  }

  void timeout_is_in_the_lock() {
    example("the effect of TIMEOUT: it travels in the lock");
    L_.TIMEOUT = 0.4;
    log("L.TIMEOUT = 0.4, less than its age");
    tell("L.isLocked", L_.isLocked(), true, "(it was locked for 10 s, and that is in the lock;");
    log("    in 2015 each instance judged by its own TIMEOUT, and would now have broken it)");
    tell("L.unlocking", L_.unlocking(), true);
    tell("L.locking", L_.locking(), true, "(this time for 0.4 s)");
    log("sleep a bit ...");
    sleep(0.5);
    tell("L.isLocked", L_.isLocked(), false);
    tell("L.timedOut", L_.timedOut(), true);
    tell("L.exists", L_.exists(), true,
         "(nobody gave it back; it needs no removing, the next takes it)");
  }

  void loop_while_locked() {
    example("loopWhileLocked() waits, and takes nothing");
    L_.TIMEOUT = 1;
    log("L.TIMEOUT = 1");
    tell("L.locking", L_.locking(), true);
    log("L.loopWhileLocked() ...");
    tell("", L_.loopWhileLocked(), true, "(end of loop; hint: study the timestamps on the left)");
    tell("L.isLocked", L_.isLocked(), false);
  }

  void locking_twice() {
    example("try locking when already locked");
    tell("L.locking", L_.locking(), true);
    tell("L.locking", L_.locking(), false, "(cannot: already locked)");
  }

  void the_name_decides() {
    example("not the instance, but the name of the lock decides");
    log("FLock L2(\"example\")");
    tell("L.filename == L2.filename", L_.filename() == L2_.filename(), true);
    L2_.TIMEOUT = 0.1;
    log("L2.TIMEOUT = 0.1");
    tell("L2.locking", L2_.locking(), false, "(cannot: locked by L, and L's TIMEOUT rules)");
    const fencing_token earlier = token();
    log("L2.TIMEOUT = 10");
    L2_.TIMEOUT = 10;
    log("L2.LoopWhileLocked_ThenLocking() ... (waits for L's lease)");
    tell("", L2_.LoopWhileLocked_ThenLocking(), true, "(acquired when L's lease ran out)");
    tell("L2.isLocked", L2_.isLocked(), true);
    tell("L.isLocked", L_.isLocked(), true, "(also: only the name decides)");

    example("tokens grow, and who is late is told");
    const fencing_token later = token();
    tell("token of L2 > token of L", later > earlier, true,
         text_of("(", later.value(), " > ", earlier.value(), ")"));
    tell("L.unlocking", L_.unlocking(), false, "(too late: it is L2's now)");
    tell("L2.isLocked", L2_.isLocked(), true, "(not disturbed by that)");
    tell("L2.unlocking", L2_.unlocking(), true);
  }

  void lack_of_patience() {
    example("a situation where lack of patience ends the waiting");
    log("(usually many processes compete; here TIMEOUT is larger than PATIENCE)");
    L_.TIMEOUT = 10;
    log("L.TIMEOUT = 10");
    tell("L.locking", L_.locking(), true, "(acquired by L)");
    L2_.PATIENCE = 0.7;
    log("L2.PATIENCE = 0.7");
    log("L2.LoopWhileLocked_ThenLocking() ...");
    tell("", L2_.LoopWhileLocked_ThenLocking(), false, "(gave up: patience ran out)");
    tell("L.isLocked", L_.isLocked(), true);
    tell("L.breakLock", L_.breakLock(), true, "(by force; anybody who may write the file can)");
    tell("L.unlocking", L_.unlocking(), false, "(there was nothing left to unlock)");
    tell("L.isLocked", L_.isLocked(), false);
  }

  static void example(const std::string& about) {
    log("");
    log("EXAMPLE: ", about);
  }

  static void sleep(double seconds) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }

  static fencing_token token() { return observe("example").grants.at(0).token; }

  void tell(const std::string& what, bool is, bool shall_be, const std::string& why = "") {
    log(what, " = ", is, why.empty() ? "" : "  ", why);
    if (is == shall_be) return;
    log("THAT IS WRONG: it should be ", shall_be);
    result_ = verdict::failed;
  }

  FLock L_{"example"};
  FLock L2_{"example"};
  verdict result_ = verdict::held;
};

}  // namespace

verdict inner() { return inner_workings().show(); }

}  // namespace lockbyfile::demo
