/* SPDX-License-Identifier: Apache-2.0 */
#include <lockbyfile.h>
#include <stdio.h>

int main(void) {
  lockbyfile_lock* lock = NULL;
  lockbyfile_grant grant = LOCKBYFILE_GRANT_INIT;
  if (lockbyfile_open(&lock, "consumer", NULL) != 0 ||
      lockbyfile_acquire(lock, 10 * LOCKBYFILE_SECOND, &grant) != 0) {
    fprintf(stderr, "%s\n", lockbyfile_message());
    return 1;
  }
  printf("token %llu of version %s\n", (unsigned long long)grant.token, lockbyfile_version());
  lockbyfile_free(lock);
  return 0;
}
