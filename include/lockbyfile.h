/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbyfile for C, and for every language that can call C: a named lock between processes,
 * with leases and fencing tokens. It is the same lock as in C++; lockbyfile/named_lock.hpp says
 * what it promises.
 *
 *   lockbyfile_lock *lock;
 *   int r = lockbyfile_open(&lock, "nightly", NULL);
 *   if (r == 0) r = lockbyfile_acquire(lock, 10 * LOCKBYFILE_SECOND, NULL);
 *   if (r != 0) fprintf(stderr, "%s\n", lockbyfile_message());
 *
 * Rules
 *   - A call returns 0, or a negative number that says what went wrong. The number is
 *     LOCKBYFILE_..., or -errno for an error of the system (lockbyfile_error_is_system()). A failed
 *     call takes no lock, and leaves the structs that it should fill unchanged.
 *   - lockbyfile_message() returns the last error of the calling thread as a sentence, with the
 *     path. It is valid until the thread's next call that fails. The parts are in
 *     lockbyfile_last_failure(): why a grant was lost, who holds the lock, how long the call
 *     waited, how many waited.
 *   - No exception leaves these functions. Out of memory is -ENOMEM.
 *   - Durations are nanoseconds. LOCKBYFILE_FOREVER is a lease or a patience without end.
 *   - Structs that may grow begin with their size: fill them by their ..._INIT. An earlier struct
 *     always works with a later library. A later struct works with an earlier library if the
 *     members that the library does not know are zero.
 *   - NULL for an option string is the default. A NULL lock or name is -EINVAL; freeing NULL does
 *     nothing.
 *   - Threads: any thread may use a lock at any time. Except: free a lock only when no other thread
 *     uses it. A lock has one grant at a time. A second thread that acquires waits for the first
 *     one's release, at most for its patience. Only the thread that acquired the grant gets
 *     LOCKBYFILE_WOULD_DEADLOCK. Threads that share a lock take turns in order of arrival, and have
 *     one place among the processes that wait. Open a lock for each thread to have each of them
 *     queue there.
 *   - fork: the parent keeps its grant. The child's copy holds nothing; it opens a session of its
 *     own when it is used, and may be freed.
 *   - Signals: handlers run while a call waits, and do not end the wait.
 *   - Blocking: what the functions say of it refers to locks in files. With locks in etcd most
 *     functions exchange messages with a server, and give up after some seconds
 *     (LOCKBYFILE_UNREACHABLE). Except: is_held, token, lease_left, set_lease, lifeline and path.
 */
#ifndef LOCKBYFILE_H
#define LOCKBYFILE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LOCKBYFILE_API __attribute__((visibility("default")))
#else
#define LOCKBYFILE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Errors. Results first: the lock works, the answer is no. */
enum {
  LOCKBYFILE_TIMED_OUT = -1001,      /* patience ran out */
  LOCKBYFILE_CANCELLED = -1002,      /* gives_up said so */
  LOCKBYFILE_WOULD_DEADLOCK = -1003, /* this thread holds this very lock */
  LOCKBYFILE_NOT_HOLDER = -1004,     /* renew or release without a grant */
  LOCKBYFILE_LEASE_LOST = -1005,     /* the grant ran out, was broken, or its file was deleted */
  LOCKBYFILE_IN_USE = -1006,         /* remove: somebody holds the lock */
  LOCKBYFILE_TOKEN_MISMATCH = -1007, /* break: it is not held under that token */
  LOCKBYFILE_NOT_FOUND = -1008,      /* observe, break, remove: there is no such lock */
  /* Broken things. */
  LOCKBYFILE_INVALID_NAME = -1009,
  LOCKBYFILE_INVALID_OPTION = -1010, /* also a struct without its size */
  LOCKBYFILE_WRONG_ENGINE = -1011,
  LOCKBYFILE_DAMAGED = -1012,
  LOCKBYFILE_TOO_MANY_SESSIONS = -1013,
  LOCKBYFILE_CLOCK_MISMATCH = -1014,
  LOCKBYFILE_NETWORK_FILESYSTEM = -1015,
  LOCKBYFILE_STUCK = -1016,
  LOCKBYFILE_UNREACHABLE = -1017 /* no server of etcd answers, or they have no majority */
};

#define LOCKBYFILE_MILLISECOND INT64_C(1000000)
#define LOCKBYFILE_SECOND INT64_C(1000000000)
#define LOCKBYFILE_FOREVER INT64_MAX

typedef struct lockbyfile_lock lockbyfile_lock;

/* Start from LOCKBYFILE_OPTIONS_INIT and change what you need. */
typedef struct lockbyfile_options {
  size_t size;
  int64_t lease;           /* how long a grant lasts unless renewed, from 1 ns */
  const char* directory;   /* of names without a slash; NULL: $LOCKBYFILE_DIR or the current one */
  const char* description; /* shown as the command; NULL: the program's short name */
  uint32_t mode;           /* of a lockfile that is created, whatever the umask */
  int32_t group;           /* of a lockfile that is created; -1: as the system chooses */
  int32_t leave_sigbus;    /* not 0: install no handler for truncated lockfiles */
  int32_t any_filesystem;  /* not 0: treat a filesystem of unknown type as a local one */
  /* A thread that waits asks this after a signal and ten times a second. Not 0 gives up
   * (LOCKBYFILE_CANCELLED). Must not use the lock. NULL: never. */
  int (*gives_up)(void* context);
  void* context;
} lockbyfile_options;

#define LOCKBYFILE_OPTIONS_INIT \
  { sizeof(lockbyfile_options), LOCKBYFILE_FOREVER, NULL, NULL, 0600, -1, 0, 0, NULL, NULL }

/* How a grant came. */
enum {
  LOCKBYFILE_FREE = 0,      /* nobody held the lock */
  LOCKBYFILE_EXPIRED = 1,   /* taken over: the last holder's lease had run out */
  LOCKBYFILE_ABANDONED = 2, /* taken over: the last holder had died */
  LOCKBYFILE_BROKEN = 3     /* the last grant was ended by lockbyfile_break or a deleted lockfile */
};

/* Why a grant was lost; see lockbyfile/error.hpp. */
enum {
  LOCKBYFILE_CAUSE_NONE = 0,
  LOCKBYFILE_CAUSE_EXPIRED = 1,
  LOCKBYFILE_CAUSE_BROKEN = 2,
  LOCKBYFILE_CAUSE_DELETED = 3,
  LOCKBYFILE_CAUSE_UNREACHABLE = 4,
  LOCKBYFILE_CAUSE_LIFELINE_CLOSED = 5
};

typedef struct lockbyfile_grant {
  size_t size;
  uint64_t token; /* larger than the token of every earlier grant; below 2^52 */
  int64_t waited; /* from the call to the grant */
  uint64_t place; /* how many waited when this waiter joined the wait queue */
  int32_t how;    /* LOCKBYFILE_FREE, ... */
  int32_t reserved;
} lockbyfile_grant;

#define LOCKBYFILE_GRANT_INIT \
  { sizeof(lockbyfile_grant), 0, 0, 0, 0, 0 }

/* A lock at one instant. If there is a holder, all members except is_open, is_held and waiters
 * describe it. */
typedef struct lockbyfile_state {
  size_t size;
  int32_t is_open;  /* acquire would succeed at once if nobody waited */
  int32_t is_held;  /* somebody holds it, alive or dead */
  int32_t is_alive; /* 0: the holder has died, and the next acquire takes the lock over */
  uint32_t pid;     /* only for display: no decision may rest on it */
  uint32_t user;
  uint32_t reserved;
  uint64_t token;     /* 0: the holder has not written it yet (only in etcd) */
  int64_t since;      /* wall clock, nanoseconds since 1970 */
  int64_t lease;      /* as granted or last renewed */
  int64_t lease_left; /* 0: it has run out */
  uint64_t waiters;
  char command[64];
} lockbyfile_state;

#define LOCKBYFILE_STATE_INIT                                        \
  {                                                                  \
    sizeof(lockbyfile_state), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 } \
  }

/* What is known of a call that failed. */
typedef struct lockbyfile_failure {
  size_t size;
  int32_t error;      /* what the call returned; 0: none of this thread has failed */
  int32_t cause;      /* of LOCKBYFILE_LEASE_LOST: LOCKBYFILE_CAUSE_... */
  int64_t waited;     /* of a wait that ended without the lock: since the call */
  uint64_t waiters;   /* and how many others wait now */
  int32_t has_holder; /* not 0: somebody holds the lock, and the rest says who */
  uint32_t pid;       /* only for display: no decision may rest on it */
  uint32_t user;
  uint32_t reserved;
  char command[64];
  char host[72]; /* "": this machine */
} lockbyfile_failure;

#define LOCKBYFILE_FAILURE_INIT                                    \
  {                                                                \
    sizeof(lockbyfile_failure), 0, 0, 0, 0, 0, 0, 0, 0, {0}, { 0 } \
  }

/* Opens the lock called `name` and creates its state if absent. Holds nothing. Blocks only while
 * another process sets up or removes the very same file, for some 2 seconds at most. */
LOCKBYFILE_API int lockbyfile_open(lockbyfile_lock** lock, const char* name,
                                   const lockbyfile_options* options);

/* Releases the lock if it is held, and frees it. */
LOCKBYFILE_API void lockbyfile_free(lockbyfile_lock* lock);

/* Waits up to `patience` for the lock; 0 or less tries once. Waiters are served in order of
 * arrival. `grant` may be NULL. */
LOCKBYFILE_API int lockbyfile_acquire(lockbyfile_lock* lock, int64_t patience,
                                      lockbyfile_grant* grant);

/* Starts the lease again at full length; the token stays. Never waits for other parties. */
LOCKBYFILE_API int lockbyfile_renew(lockbyfile_lock* lock);

/* Releases. LOCKBYFILE_LEASE_LOST if the grant had run out or was lost. Nothing is held
 * afterwards in any case, and a new holder is not disturbed. Does not block. */
LOCKBYFILE_API int lockbyfile_release(lockbyfile_lock* lock);

/* 1 if the lock is held by an unexpired grant that nobody broke, else 0. */
LOCKBYFILE_API int lockbyfile_is_held(const lockbyfile_lock* lock);

/* The token of the current or last grant; 0 if there was none. */
LOCKBYFILE_API uint64_t lockbyfile_token(const lockbyfile_lock* lock);

/* Time until the lease ends; 0 if nothing is held, LOCKBYFILE_FOREVER if it never ends. */
LOCKBYFILE_API int64_t lockbyfile_lease_left(const lockbyfile_lock* lock);

/* The lease of the next grant or renewal. */
LOCKBYFILE_API int lockbyfile_set_lease(lockbyfile_lock* lock, int64_t lease);

/* The lock counts as alive while any process has this descriptor open: pass a duplicate to a
 * child that shares the lock. -1: none. */
LOCKBYFILE_API int lockbyfile_lifeline(const lockbyfile_lock* lock);

/* The path of the lockfile; valid as long as the lock. */
LOCKBYFILE_API const char* lockbyfile_path(const lockbyfile_lock* lock);

/* Looks at a lock, takes nothing, creates nothing. Of `options` only directory and leave_sigbus
 * count. Does not block. */
LOCKBYFILE_API int lockbyfile_observe(const char* name, const lockbyfile_options* options,
                                      lockbyfile_state* state);

/* Forces the lock open if it is held under `token`. 0 matches any holder, so do not pass on a 0
 * that lockbyfile_observe showed. */
LOCKBYFILE_API int lockbyfile_break(const char* name, uint64_t token,
                                    const lockbyfile_options* options);

/* Removes the lockfile. Sessions that have it open move on to the path's next one; no grant is
 * lost. */
LOCKBYFILE_API int lockbyfile_remove(const char* name, const lockbyfile_options* options);

/* The last error of this thread in a sentence; "" if there was none. */
LOCKBYFILE_API const char* lockbyfile_message(void);

/* The last failure of this thread; see struct lockbyfile_failure. This call does not replace it,
 * unless `failure` has no size. */
LOCKBYFILE_API int lockbyfile_last_failure(lockbyfile_failure* failure);

/* Whether `error` is -errno. */
LOCKBYFILE_API int lockbyfile_error_is_system(int error);

/* What the number means, without the circumstances. Never NULL; valid forever. */
LOCKBYFILE_API const char* lockbyfile_error_text(int error);

/* The library's version, like "0.1.0". */
LOCKBYFILE_API const char* lockbyfile_version(void);

#ifdef __cplusplus
}
#endif

#endif
