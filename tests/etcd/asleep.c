/* SPDX-License-Identifier: Apache-2.0
 *
 * For LD_PRELOAD: when the file $ASLEEP exists, the machine has slept for an hour. CLOCK_BOOTTIME
 * has gone on meanwhile, CLOCK_MONOTONIC has not.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* t) {
  const int result = (int)syscall(SYS_clock_gettime, clock, t);
  const char* const file = getenv("ASLEEP");
  if (result == 0 && clock == CLOCK_BOOTTIME && file != NULL && access(file, F_OK) == 0)
    t->tv_sec += 3600;
  return result;
}
