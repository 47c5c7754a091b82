/* SPDX-License-Identifier: Apache-2.0
 *
 * The C API from C. Each function is a claim; `c_api_test CLAIM` runs one, in a directory of its
 * own, and ends with 0 if it holds.
 */
#include <errno.h>
#include <limits.h>
#include <lockbyfile.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures = 0;

#define EXPECT(condition)                                                                \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      fprintf(stderr, "%s:%d: %s\n  last message: %s\n", __FILE__, __LINE__, #condition, \
              lockbyfile_message());                                                     \
      ++failures;                                                                        \
    }                                                                                    \
  } while (0)

static lockbyfile_lock* opened(const char* name) {
  lockbyfile_lock* lock = NULL;
  EXPECT(lockbyfile_open(&lock, name, NULL) == 0);
  if (lock == NULL) exit(1);
  return lock;
}

static void two_locks_exclude_each_other(void) {
  lockbyfile_lock* a = opened("x");
  lockbyfile_lock* b = opened("x");
  EXPECT(lockbyfile_acquire(a, 0, NULL) == 0);
  EXPECT(lockbyfile_acquire(b, 0, NULL) == LOCKBYFILE_TIMED_OUT);
  EXPECT(lockbyfile_release(a) == 0);
  EXPECT(lockbyfile_acquire(b, 0, NULL) == 0);
  lockbyfile_free(b);
  EXPECT(lockbyfile_acquire(a, 0, NULL) == 0);
  lockbyfile_free(a);
}

static void tokens_grow(void) {
  lockbyfile_lock* lock = opened("x");
  lockbyfile_grant first = LOCKBYFILE_GRANT_INIT;
  lockbyfile_grant second = LOCKBYFILE_GRANT_INIT;
  EXPECT(lockbyfile_token(lock) == 0);
  EXPECT(lockbyfile_acquire(lock, LOCKBYFILE_FOREVER, &first) == 0);
  EXPECT(lockbyfile_release(lock) == 0);
  EXPECT(lockbyfile_acquire(lock, LOCKBYFILE_FOREVER, &second) == 0);
  EXPECT(0 < first.token && first.token < second.token);
  EXPECT(lockbyfile_token(lock) == second.token);
  EXPECT(second.how == LOCKBYFILE_FREE);
  lockbyfile_free(lock);
}

static void a_lease_runs_out_and_is_taken_over(void) {
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.lease = 20 * LOCKBYFILE_MILLISECOND;
  lockbyfile_lock* old = NULL;
  EXPECT(lockbyfile_open(&old, "x", &options) == 0);
  lockbyfile_lock* next = opened("x");
  lockbyfile_grant grant = LOCKBYFILE_GRANT_INIT;
  EXPECT(lockbyfile_acquire(old, 0, NULL) == 0);
  EXPECT(lockbyfile_lease_left(old) > 0);
  EXPECT(lockbyfile_acquire(next, 60 * LOCKBYFILE_SECOND, &grant) == 0);
  EXPECT(grant.how == LOCKBYFILE_EXPIRED);
  EXPECT(grant.waited > 0);
  EXPECT(lockbyfile_is_held(old) == 0);
  EXPECT(lockbyfile_renew(old) == LOCKBYFILE_LEASE_LOST);
  EXPECT(lockbyfile_release(old) == LOCKBYFILE_LEASE_LOST);
  EXPECT(lockbyfile_is_held(next) == 1);
  EXPECT(lockbyfile_lease_left(next) == LOCKBYFILE_FOREVER);
  lockbyfile_free(old);
  lockbyfile_free(next);
}

static void a_lease_can_be_set_and_renewed(void) {
  lockbyfile_lock* lock = opened("x");
  EXPECT(lockbyfile_set_lease(lock, 0) == LOCKBYFILE_INVALID_OPTION);
  EXPECT(lockbyfile_set_lease(lock, 60 * LOCKBYFILE_SECOND) == 0);
  EXPECT(lockbyfile_renew(lock) == LOCKBYFILE_NOT_HOLDER);
  EXPECT(lockbyfile_release(lock) == LOCKBYFILE_NOT_HOLDER);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  EXPECT(lockbyfile_renew(lock) == 0);
  EXPECT(lockbyfile_lease_left(lock) > 30 * LOCKBYFILE_SECOND);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == LOCKBYFILE_WOULD_DEADLOCK);
  lockbyfile_free(lock);
}

static lockbyfile_failure last(void) {
  lockbyfile_failure failure = LOCKBYFILE_FAILURE_INIT;
  EXPECT(lockbyfile_last_failure(&failure) == 0);
  return failure;
}

static void a_failed_wait_tells_holder_time_and_waiters(void) {
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.description = "the holder";
  lockbyfile_lock* holder = NULL;
  EXPECT(last().error == 0);
  EXPECT(lockbyfile_open(&holder, "x", &options) == 0);
  lockbyfile_lock* lock = opened("x");
  EXPECT(lockbyfile_acquire(holder, 0, NULL) == 0);
  EXPECT(lockbyfile_acquire(lock, 3 * LOCKBYFILE_MILLISECOND, NULL) == LOCKBYFILE_TIMED_OUT);
  const lockbyfile_failure f = last();
  EXPECT(f.error == LOCKBYFILE_TIMED_OUT);
  EXPECT(f.cause == LOCKBYFILE_CAUSE_NONE);
  EXPECT(f.waited >= 3 * LOCKBYFILE_MILLISECOND);
  EXPECT(f.waiters == 0);
  EXPECT(f.has_holder == 1 && f.pid == (uint32_t)getpid() && f.user == geteuid());
  EXPECT(strcmp(f.command, "the holder") == 0 && strcmp(f.host, "") == 0);
  EXPECT(strstr(lockbyfile_message(), "the holder (pid ") != NULL);
  EXPECT(lockbyfile_remove("x", NULL) == LOCKBYFILE_IN_USE);
  EXPECT(last().error == LOCKBYFILE_IN_USE && last().has_holder == 1);
  EXPECT(lockbyfile_break("x", 1, NULL) == LOCKBYFILE_TOKEN_MISMATCH);
  EXPECT(last().error == LOCKBYFILE_TOKEN_MISMATCH && last().pid == (uint32_t)getpid());
  lockbyfile_free(lock);
  lockbyfile_free(holder);
}

static void a_lost_grant_tells_why(void) {
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.lease = LOCKBYFILE_MILLISECOND;
  lockbyfile_lock* lock = NULL;
  EXPECT(lockbyfile_open(&lock, "x", &options) == 0);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  while (lockbyfile_is_held(lock)) {
  }
  EXPECT(lockbyfile_release(lock) == LOCKBYFILE_LEASE_LOST);
  EXPECT(last().cause == LOCKBYFILE_CAUSE_EXPIRED && last().has_holder == 0);

  lockbyfile_lock* next = opened("x");
  EXPECT(lockbyfile_set_lease(lock, LOCKBYFILE_FOREVER) == 0);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  EXPECT(lockbyfile_break("x", 0, NULL) == 0);
  lockbyfile_grant grant = LOCKBYFILE_GRANT_INIT;
  EXPECT(lockbyfile_acquire(next, 0, &grant) == 0);
  EXPECT(grant.how == LOCKBYFILE_BROKEN);
  EXPECT(lockbyfile_renew(lock) == LOCKBYFILE_LEASE_LOST);
  EXPECT(last().cause == LOCKBYFILE_CAUSE_BROKEN && last().has_holder == 1);
  EXPECT(strstr(lockbyfile_message(), "somebody broke the lock") != NULL);
  lockbyfile_free(next);
  lockbyfile_free(lock);
}

static void a_failure_of_another_size_is_understood(void) {
  struct {
    lockbyfile_failure known;
    char more[16];
  } later = {LOCKBYFILE_FAILURE_INIT, {1, 2, 3}};
  lockbyfile_failure none = {0, 7, 0, 0, 0, 0, 0, 0, 0, {0}, {0}};
  EXPECT(lockbyfile_observe("never", NULL, NULL) == -EINVAL);
  EXPECT(last().error == -EINVAL);
  later.known.size = sizeof later;
  EXPECT(lockbyfile_last_failure(&later.known) == 0);
  EXPECT(later.known.error == -EINVAL && later.known.size == sizeof later && later.more[0] == 1);
  EXPECT(lockbyfile_last_failure(&none) == LOCKBYFILE_INVALID_OPTION && none.error == 7);
  EXPECT(last().error == LOCKBYFILE_INVALID_OPTION);
  EXPECT(lockbyfile_last_failure(NULL) == -EINVAL);
}

static void* acquires(void* lock) {
  return (void*)(intptr_t)lockbyfile_acquire(lock, 60 * LOCKBYFILE_SECOND, NULL);
}

static void a_second_thread_waits_for_the_first(void) {
  lockbyfile_lock* lock = opened("x");
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  const uint64_t first = lockbyfile_token(lock);
  pthread_t other;
  void* result = NULL;
  EXPECT(pthread_create(&other, NULL, acquires, lock) == 0);
  EXPECT(lockbyfile_release(lock) == 0);
  EXPECT(pthread_join(other, &result) == 0 && result == NULL);
  EXPECT(lockbyfile_token(lock) > first);
  EXPECT(lockbyfile_is_held(lock) == 1);
  EXPECT(lockbyfile_acquire(lock, LOCKBYFILE_MILLISECOND, NULL) == LOCKBYFILE_TIMED_OUT);
  lockbyfile_free(lock);
}

static int tells_that_it_waits(void* waits) {
  sem_post(waits);
  return 0;
}

static void* is_cancelled_in_acquire(void* lock) {
  pthread_cancel(pthread_self());
  return acquires(lock);
}

static void a_thread_that_is_cancelled_ends_after_its_call(void) {
  sem_t waits;
  sem_init(&waits, 0, 0);
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.gives_up = tells_that_it_waits;
  options.context = &waits;
  lockbyfile_lock* lock = NULL;
  EXPECT(lockbyfile_open(&lock, "x", &options) == 0);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  pthread_t other;
  EXPECT(pthread_create(&other, NULL, is_cancelled_in_acquire, lock) == 0);
  for (int i = 0; i < 2; ++i) sem_wait(&waits); /* before each sleep: it has slept once */
  EXPECT(lockbyfile_release(lock) == 0);
  EXPECT(pthread_join(other, NULL) == 0);
  EXPECT(lockbyfile_is_held(lock) == 1);
  lockbyfile_free(lock);
  sem_destroy(&waits);
}

static void a_dead_holder_is_noticed(void) {
  lockbyfile_lock* lock = opened("x");
  const pid_t child = fork();
  if (child == 0) {
    lockbyfile_lock* own = opened("x");
    EXPECT(lockbyfile_acquire(own, 0, NULL) == 0);
    _exit(failures);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  lockbyfile_grant grant = LOCKBYFILE_GRANT_INIT;
  EXPECT(lockbyfile_acquire(lock, 60 * LOCKBYFILE_SECOND, &grant) == 0);
  EXPECT(grant.how == LOCKBYFILE_ABANDONED);
  lockbyfile_free(lock);
}

static void a_child_of_fork_holds_nothing(void) {
  lockbyfile_lock* lock = opened("x");
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  const pid_t child = fork();
  if (child == 0) {
    EXPECT(lockbyfile_is_held(lock) == 0);
    EXPECT(lockbyfile_token(lock) == 0);
    EXPECT(lockbyfile_acquire(lock, 0, NULL) == LOCKBYFILE_TIMED_OUT);
    lockbyfile_free(lock);
    _exit(failures);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  EXPECT(lockbyfile_is_held(lock) == 1);
  lockbyfile_free(lock);
}

static void observe_tells_who_holds(void) {
  lockbyfile_state state = LOCKBYFILE_STATE_INIT;
  EXPECT(lockbyfile_observe("x", NULL, &state) == LOCKBYFILE_NOT_FOUND);
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.description = "the nightly job";
  options.lease = 60 * LOCKBYFILE_SECOND;
  lockbyfile_lock* lock = NULL;
  EXPECT(lockbyfile_open(&lock, "x", &options) == 0);
  EXPECT(lockbyfile_observe("x", NULL, &state) == 0);
  EXPECT(state.is_open == 1 && state.is_held == 0 && state.waiters == 0);
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  EXPECT(lockbyfile_observe("x", NULL, &state) == 0);
  EXPECT(state.is_open == 0 && state.is_held == 1 && state.is_alive == 1);
  EXPECT(state.token == lockbyfile_token(lock));
  EXPECT(state.pid == (uint32_t)getpid() && state.user == (uint32_t)geteuid());
  EXPECT(strcmp(state.command, "the nightly job") == 0);
  EXPECT(state.lease == 60 * LOCKBYFILE_SECOND);
  EXPECT(state.lease_left > 0 && state.lease_left <= state.lease);
  EXPECT(state.since > INT64_C(1700000000) * LOCKBYFILE_SECOND);
  lockbyfile_free(lock);
}

static void break_opens_it_for_the_right_token_only(void) {
  lockbyfile_lock* lock = opened("x");
  EXPECT(lockbyfile_acquire(lock, 0, NULL) == 0);
  const uint64_t token = lockbyfile_token(lock);
  EXPECT(lockbyfile_break("x", token + 1, NULL) == LOCKBYFILE_TOKEN_MISMATCH);
  EXPECT(lockbyfile_is_held(lock) == 1);
  EXPECT(lockbyfile_remove("x", NULL) == LOCKBYFILE_IN_USE);
  EXPECT(lockbyfile_break("x", token, NULL) == 0);
  EXPECT(lockbyfile_is_held(lock) == 0);
  EXPECT(lockbyfile_release(lock) == LOCKBYFILE_LEASE_LOST);
  EXPECT(lockbyfile_remove("x", NULL) == 0);
  EXPECT(lockbyfile_remove("x", NULL) == LOCKBYFILE_NOT_FOUND);
  lockbyfile_free(lock);
}

static int enough(void* context) {
  ++*(int*)context;
  return 1;
}

static void a_wait_can_be_given_up(void) {
  int asked = 0;
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.gives_up = enough;
  options.context = &asked;
  lockbyfile_lock* holder = opened("x");
  lockbyfile_lock* waiter = NULL;
  EXPECT(lockbyfile_open(&waiter, "x", &options) == 0);
  EXPECT(lockbyfile_acquire(holder, 0, NULL) == 0);
  EXPECT(lockbyfile_acquire(waiter, LOCKBYFILE_FOREVER, NULL) == LOCKBYFILE_CANCELLED);
  EXPECT(asked == 1);
  lockbyfile_free(waiter);
  lockbyfile_free(holder);
}

static void errors_have_a_number_and_a_sentence(void) {
  lockbyfile_lock* const untouched = (lockbyfile_lock*)&failures;
  lockbyfile_lock* lock = untouched;
  EXPECT(strcmp(lockbyfile_message(), "") == 0);
  EXPECT(lockbyfile_open(&lock, "", NULL) == LOCKBYFILE_INVALID_NAME);
  EXPECT(strstr(lockbyfile_message(), "is empty") != NULL);
  EXPECT(lockbyfile_open(&lock, "no/such/directory", NULL) == -ENOENT);
  EXPECT(lockbyfile_error_is_system(-ENOENT) == 1);
  EXPECT(strstr(lockbyfile_message(), "no/such/") != NULL);
  EXPECT(lockbyfile_open(&lock, "x", NULL) == 0);
  EXPECT(lockbyfile_open(NULL, "x", NULL) == -EINVAL);
  lockbyfile_free(lock);
  lock = untouched;
  EXPECT(lockbyfile_open(&lock, NULL, NULL) == -EINVAL);
  EXPECT(lock == untouched);
  EXPECT(lockbyfile_acquire(NULL, 0, NULL) == -EINVAL);
  EXPECT(lockbyfile_is_held(NULL) == 0);
  lockbyfile_free(NULL);
  EXPECT(lockbyfile_error_is_system(LOCKBYFILE_TIMED_OUT) == 0);
  EXPECT(strcmp(lockbyfile_error_text(0), "success") == 0);
  EXPECT(strcmp(lockbyfile_error_text(LOCKBYFILE_TIMED_OUT), "patience ran out") == 0);
  EXPECT(strcmp(lockbyfile_error_text(-ENOENT), "No such file or directory") == 0);
  for (int number = INT_MIN; number < -1000000; number += 1000000007 / 2)
    EXPECT(lockbyfile_error_text(number) != NULL);
}

static void a_struct_of_another_version_is_understood(void) {
  struct longer {
    lockbyfile_options now;
    char later[64];
  } options = {LOCKBYFILE_OPTIONS_INIT, {0}};
  lockbyfile_lock* lock = NULL;
  options.now.size = sizeof options;
  EXPECT(lockbyfile_open(&lock, "x", &options.now) == 0);
  lockbyfile_free(lock);
  options.later[17] = 1; /* asks for something that we cannot know */
  EXPECT(lockbyfile_open(&lock, "x", &options.now) == LOCKBYFILE_INVALID_OPTION);

  lockbyfile_options shorter = LOCKBYFILE_OPTIONS_INIT;
  memset((char*)&shorter + offsetof(lockbyfile_options, directory), 0xff,
         sizeof shorter - offsetof(lockbyfile_options, directory));
  shorter.size = offsetof(lockbyfile_options, directory);
  EXPECT(lockbyfile_open(&lock, "x", &shorter) == 0);

  lockbyfile_grant grant = LOCKBYFILE_GRANT_INIT;
  grant.size = offsetof(lockbyfile_grant, waited);
  grant.waited = -7;
  EXPECT(lockbyfile_acquire(lock, 0, &grant) == 0);
  EXPECT(grant.token == lockbyfile_token(lock) && grant.waited == -7);
  EXPECT(grant.size == offsetof(lockbyfile_grant, waited));
  EXPECT(lockbyfile_release(lock) == 0);

  grant.size = 0;
  EXPECT(lockbyfile_acquire(lock, 0, &grant) == LOCKBYFILE_INVALID_OPTION);
  EXPECT(lockbyfile_is_held(lock) == 0);
  lockbyfile_options none = {0};
  lockbyfile_free(lock);
  EXPECT(lockbyfile_open(&lock, "x", &none) == LOCKBYFILE_INVALID_OPTION);
  lockbyfile_options nobody = LOCKBYFILE_OPTIONS_INIT;
  nobody.group = -2;
  EXPECT(lockbyfile_open(&lock, "x", &nobody) == LOCKBYFILE_INVALID_OPTION);
}

static void options_say_where_and_how_a_file_is_made(void) {
  EXPECT(system("mkdir -p there") == 0);
  lockbyfile_options options = LOCKBYFILE_OPTIONS_INIT;
  options.directory = "there";
  options.mode = 0640;
  lockbyfile_lock* lock = NULL;
  EXPECT(lockbyfile_open(&lock, "x", &options) == 0);
  EXPECT(strstr(lockbyfile_path(lock), "/there/x.lockfile") != NULL);
  EXPECT(system("test \"$(stat -c %a there/x.lockfile)\" = 640") == 0);
  EXPECT(lockbyfile_lifeline(lock) >= 0);
  lockbyfile_free(lock);
}

static void the_version_is_told(void) { EXPECT(lockbyfile_version()[0] != '\0'); }

#define CLAIM(name) \
  { #name, name }
static const struct {
  const char* name;
  void (*check)(void);
} claims[] = {
    CLAIM(two_locks_exclude_each_other),
    CLAIM(tokens_grow),
    CLAIM(a_lease_runs_out_and_is_taken_over),
    CLAIM(a_lease_can_be_set_and_renewed),
    CLAIM(a_failed_wait_tells_holder_time_and_waiters),
    CLAIM(a_lost_grant_tells_why),
    CLAIM(a_failure_of_another_size_is_understood),
    CLAIM(a_second_thread_waits_for_the_first),
    CLAIM(a_thread_that_is_cancelled_ends_after_its_call),
    CLAIM(a_dead_holder_is_noticed),
    CLAIM(a_child_of_fork_holds_nothing),
    CLAIM(observe_tells_who_holds),
    CLAIM(break_opens_it_for_the_right_token_only),
    CLAIM(a_wait_can_be_given_up),
    CLAIM(errors_have_a_number_and_a_sentence),
    CLAIM(a_struct_of_another_version_is_understood),
    CLAIM(options_say_where_and_how_a_file_is_made),
    CLAIM(the_version_is_told),
};

int main(int argc, char** argv) {
  char directory[] = "/tmp/lockbyfile-c-XXXXXX";
  const size_t count = sizeof claims / sizeof claims[0];
  size_t i = 0;
  if (argc != 2) {
    for (i = 0; i < count; ++i) puts(claims[i].name);
    return argc == 1 ? 0 : 64;
  }
  while (i < count && strcmp(claims[i].name, argv[1]) != 0) ++i;
  if (i == count || mkdtemp(directory) == NULL || chdir(directory) != 0) return 64;
  unsetenv("LOCKBYFILE_DIR");
  alarm(100);
  claims[i].check();
  if (chdir("/") == 0) {
    char command[sizeof directory + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) return 1;
  }
  return failures == 0 ? 0 : 1;
}
