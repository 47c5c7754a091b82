/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin that the library is linked into. Its program loads it, has it open a lock, and unloads
 * it (tests/process/unloading_test.cpp). */
#include <lockbyfile.h>
#include <stddef.h>

int use_a_lock(const char* path);

int use_a_lock(const char* path) {
  lockbyfile_lock* lock = NULL;
  if (lockbyfile_open(&lock, path, NULL) != 0) return 1;
  lockbyfile_free(lock);
  return 0;
}
