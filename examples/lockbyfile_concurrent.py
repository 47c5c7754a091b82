# SPDX-License-Identifier: Apache-2.0
"""Many that want one lock: Andreas Krueger's lockbyfile_concurrent.py (2015), written anew.

    python lockbyfile_concurrent.py 1 [SLEEPERS]     processes share one narrow bed
    python lockbyfile_concurrent.py 2 [CONSUMERS]    threads hammer one lock, and none may overlap

It uses the names of 2015 only, so it also shows how such a program looks.
"""

import random
import subprocess
import sys
import threading
import time

from lockbyfile import TIMEOUT, FLock, getInfoLogger, print_Ramdisk_Manual

SLEEPTIME = 0.3
FORGETTINGPROBABILITY = 0.25
LOCKNAME = "oneBed"


def compete(number):
    """One sleeper: a process of its own."""
    Log = getInfoLogger("[pId=%(process)5d]")
    L = FLock(LOCKNAME)  # A: instantiate, with name
    L.TIMEOUT = 1
    if not L.LoopWhileLocked_ThenLocking():  # B: wait, then lock
        Log("sleeper %s had no more patience", number)
        return
    Log("sleeper %s is in bed", number)
    time.sleep(SLEEPTIME)  # C: use the scarce resource
    if random.random() < FORGETTINGPROBABILITY:
        Log("sleeper %s forgets to unlock: the lock opens when the process ends", number)
    else:
        Log("sleeper %s gets up: L.unlocking() = %s", number, L.unlocking())  # D: free for the next


def startSeveral(sleepers):
    Log = getInfoLogger("[pId=%(process)5d]")
    Log("%d sleepers, one bed; the default TIMEOUT is %d s", sleepers, TIMEOUT)
    started = [
        subprocess.Popen([sys.executable, __file__, "sleeper", str(n)]) for n in range(1, sleepers + 1)
    ]
    for process in started:
        process.wait()
    Log("Bed is empty = %s", not FLock(LOCKNAME).isLocked())


class FastFLock(FLock):
    """Defaults of one's own."""

    TIMEOUT = 30
    PATIENCE = 30


def massiveNumberOfUsers(consumers, seconds):
    """Threads, each with an FLock of its own. Returns whether none overlapped."""
    naps = []

    def consume():
        L = FastFLock("oneNarrowBed")
        if L.LoopWhileLocked_ThenLocking():
            begin = time.monotonic()
            time.sleep(seconds)
            naps.append((begin, time.monotonic()))
            L.unlocking()

    threads = [threading.Thread(target=consume) for _ in range(consumers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    naps.sort()
    overlaps = sum(1 for one, other in zip(naps, naps[1:]) if other[0] < one[1])
    print(f"{len(naps)} had it, {overlaps} overlaps")
    return overlaps == 0


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "1"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if what == "sleeper":
        compete(count)
    elif what == "1":
        startSeveral(count or 4)
    elif what == "2":
        good = massiveNumberOfUsers(count or 100, 0.005)
        print_Ramdisk_Manual()
        sys.exit(0 if good else 1)
    else:
        sys.exit(__doc__)
