// SPDX-License-Identifier: Apache-2.0
// howToUse of 2015: A, B, C, D is all there is to it.
#include <chrono>
#include <lockbyfile/flock.hpp>
#include <thread>

int main() {
  lockbyfile::FLock L("LOCKNAME");                        // A: instantiate, with name
  const bool acquired = L.LoopWhileLocked_ThenLocking();  // B: wait, then lock
  if (acquired) {
    std::this_thread::sleep_for(std::chrono::seconds(1));  // C: use it, TIMEOUT at most
    L.unlocking();                                         // D: free for the next
  }
  return acquired ? 0 : 1;  // optional: tell the caller
}
