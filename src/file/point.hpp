// SPDX-License-Identifier: Apache-2.0
//
// Named points of the protocol, each between two steps that other processes can see. The schedule
// tests link a copy of the library (LOCKBYFILE_POINTS) in which a process can be held or killed at
// each point. Everywhere else a point is nothing.
//
// A point is named after the step before it. For each point of this list tests/schedule makes a
// test of a crash there by itself.
#pragma once

namespace lockbyfile::file {

#define LOCKBYFILE_EACH_POINT(X)                                                      \
  /* the file (lockfile.cpp) */                                                       \
  X(file_made)       /* nameless and whole, or empty; not linked, or not filled in */ \
  X(file_linked)     /* it has its name, and is a tombstone */                        \
  X(lifelines_held)  /* all of them, for a reset; nothing is written yet */           \
  X(revival_decided) /* the tombstone is still there */                               \
  X(room_allocated)  /* for more slots; the capacity does not say so yet */           \
  /* a slot (lockfile.cpp) */                                                         \
  X(slot_chosen)   /* it was not the holder's; nobody's lifeline has been tried */    \
  X(slot_reserved) /* its lifeline is not held yet */                                 \
  X(lifeline_held) /* the file has not been looked at again */                        \
  /* a grant (session.cpp, acquire.cpp) */                                            \
  X(path_checked)     /* it leads to our file, for all we know; nothing is noted */   \
  X(opening_found)    /* by a look that will take it */                               \
  X(deadline_written) /* in the own slot; the word is as it was */                    \
  X(word_granted)     /* the session does not know yet */                             \
  X(deadline_renewed) /* in the own slot; the word is as it was */                    \
  X(word_renewed)     /* the session does not know yet */                             \
  X(release_begun)    /* nothing has changed yet */                                   \
  X(release_decided)  /* the session has forgotten; the word is as it was */          \
  X(word_freed)       /* nobody has been woken */                                     \
  /* the wait queue (line.cpp) */                                                     \
  X(ticket_drawn)     /* nobody can see it */                                         \
  X(ticket_published) /* the hint does not yet show that one waits */                 \
  X(line_joined)      /* and not looked again */                                      \
  X(look_made)        /* and nothing taken; nobody is wanted */                       \
  X(standing_by)      /* and watches the word from now on */                          \
  X(stander_relieved) /* by a release; the waiter to be woken sleeps */               \
  X(sleep_decided)    /* by a look that may be old by now */                          \
  X(woken)            /* and not looked yet */                                        \
  X(head_chosen)      /* to be woken; its futex word is as it was */                  \
  X(wake_counted)     /* in its futex word; it still sleeps */                        \
  X(turn_come)        /* those ahead have not been called */                          \
  X(line_overtaken)   /* those ahead are not marked yet */                            \
  X(line_left)        /* the others have not been woken */                            \
  /* an operator's work (maintain.cpp) */                                             \
  X(holder_read)    /* by a break; the word is as it was */                           \
  X(word_broken)    /* who did it is not recorded yet */                              \
  X(break_recorded) /* nobody has been woken */                                       \
  X(word_entombed)  /* the file is still there */                                     \
  X(file_unlinked)  /* the waiters have not been woken */                             \
  /* tokens (tokens.cpp) */                                                           \
  X(mark_reserved) /* and not appended to */                                          \
  X(mark_raised)   /* the caller does not know yet */

enum class point {
#define LOCKBYFILE_POINT_NAME(name) name,
  LOCKBYFILE_EACH_POINT(LOCKBYFILE_POINT_NAME)
#undef LOCKBYFILE_POINT_NAME
};

#ifdef LOCKBYFILE_POINTS
inline void (*at_point)(point) noexcept = nullptr;
#endif

inline void reach([[maybe_unused]] point p) noexcept {
#ifdef LOCKBYFILE_POINTS
  if (at_point != nullptr) at_point(p);
#endif
}

}  // namespace lockbyfile::file
