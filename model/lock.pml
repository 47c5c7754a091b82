// SPDX-License-Identifier: Apache-2.0
//
// The word, the lease, the lifeline, the slot and the file: at most one valid
// holder, tokens that grow, old holders that do no harm.
//
//   here                         in src/file/
//   IS(seen) -> TRANSITION(to)   compare-exchange of the word: word.hpp, W1, W2
//   attach, mend, claim          lockfile::attach, create_nameless, mend, claim: F1, F2
//   acquire, take                file_session::acquire, look, find_opening, take: S3, A1
//   renew, release               file_session::renew, release: S2, S4
//   break_lock, remove           maintain.cpp
//   dies                         lifeline.hpp: the kernel drops what a dead process held
//
// Each of the processes opens a session, or breaks or removes the lock, over and over;
// who dies begins anew as another process. Every access to shared state is a step of its
// own, and between two steps of a process the others may do anything: so a process that
// is stopped and continued is in here, at every step and for any length of time.
//
// What is abstracted, and why nothing is lost by it
//   time       A deadline is `running` until somebody reads it, who may find it passed;
//              it stays passed. Every lease and every delay is one of these runs. A lock
//              without a lease is one that is never found passed. Deadlines that the word
//              does not name are wiped: whoever still acts on one fails at the word.
//   counters   Runs end when a word's counter is COUNTER_END: the proof is of all shorter
//              runs. So a process that cannot go on is no error here. A file's counter starts at 1 and not at the wall clock;
//              a new file's starts above all tokens so far, which is tokens.hpp's part.
//   waiting    A waiter is one who looks again. Who sleeps and who is woken: line.pml.
//   the path   The C++ compares it with the file at times. Here only F2 does and the
//              tombstone has to suffice. Whoever deletes the file without remove()
//              breaks the lock, and is not in here.
//   damage, other clocks, growth, fork: not in here.

#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef OPERATORS
#define OPERATORS 1  // so many of them may break and remove
#endif
#ifndef FILES
#define FILES 2  // one after the other
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef COUNTER_END
#define COUNTER_END 4
#endif
#define SLOTS PROCESSES

// A word is a counter and a holder: a slot, or
#define FREE 254
#define TOMBSTONE 253
#define BROKEN 252  // free, and the last grant was broken

#define NOBODY 255
#define NOWHERE 255

typedef slot_t {
  byte lifeline = NOBODY;  // the process that holds it
  byte reserved;           // the set of those that have reserved it
  bool running             // its lease deadline is not known to have passed
}
typedef file_t {
  byte counter;
  byte holder = TOMBSTONE;
  byte maintenance = NOBODY;
#ifdef BREAK_MARKED_BESIDE_THE_WORD
  byte break_mark;  // the counter that the last break wrote
#endif
  slot_t slots[SLOTS]
}
file_t file[FILES];
byte made;            // files so far
byte path = NOWHERE;  // the file it leads to
byte deaths;

// Ghosts: what the promises speak of. The protocol does not read them.
byte valid = NOBODY;    // whose grant is unexpired, unreleased and unbroken
byte last_token;        // of all grants
byte grantee = NOBODY;  // the living process that holds the lock by the word
bool cut_off;           // the last grant was broken

#define ME (1 << me)
#define SLOT file[f].slots
#define IS(seen) (file[f].counter == seen)

#define TRANSITION(to)                           \
  if                                             \
  :: file[f].holder < SLOTS && file[f].holder != to -> SLOT[file[f].holder].running = false \
  :: else                                        \
  fi;                                            \
  file[f].counter++;                             \
  file[f].holder = to

#define DROP(what) what = (what == me -> NOBODY : what)

inline let_go() {
  SLOT[own].reserved = SLOT[own].reserved & ~ME;
  DROP(SLOT[own].lifeline)
}

// A process may die before each of its steps.
inline mortal() {
  if
  :: deaths < DEATHS ->
     deaths++;
     let_go();
     DROP(file[f].maintenance);
     DROP(valid);
     DROP(grantee);
     goto open
  :: true
  fi
}

// Reads the deadline of slot i, which may pass now. A grant is valid until the
// deadline that its holder knows, or, while it renews, the earlier of two.
inline find_expired(i) {
  if
  :: SLOT[i].running -> SLOT[i].running = false;
     if
     :: valid != NOBODY && valid == SLOT[i].lifeline -> valid = NOBODY
     :: else
     fi
  :: !SLOT[i].running
  fi
}

proctype process(byte me) {
  byte f, own, i, seen, current;

open:
  atomic {
    f = 0; own = 0; i = 0; seen = 0; current = 0;
    if
    :: path == NOWHERE && made < FILES ->
       path = made; made++; file[path].counter = 1; f = path
    :: path != NOWHERE -> f = path
    :: path != NOWHERE && me < OPERATORS -> f = path; goto break_lock
    :: path != NOWHERE && me < OPERATORS -> f = path; goto remove
    fi
  }

  // --- lockfile -----------------------------------------------------------------

  atomic { mortal();
    if
    :: file[f].holder == TOMBSTONE
    :: else -> goto claim
    fi
  }
  // mend
  atomic { file[f].maintenance == NOBODY -> file[f].maintenance = me }
  atomic { mortal();
    if
    :: path == f && file[f].holder == TOMBSTONE ->
       file[f].counter = (last_token > file[f].counter -> last_token : file[f].counter) + 1;
#ifdef NEW_FILE_STARTS_AT_ONE
       file[f].counter = 1;
#endif
       file[f].holder = FREE
    :: else
    fi;
    file[f].maintenance = NOBODY;
    goto open
  }

claim:
  atomic { mortal();
    if
    :: own = me
    :: own = 0
    fi;
    if
    :: file[f].holder == own -> goto open  // (F1)
    :: else
    fi
  }
  atomic { mortal();
    if
    :: SLOT[own].lifeline == NOBODY -> SLOT[own].reserved = SLOT[own].reserved | ME
    :: else -> goto open
    fi
  }
#ifndef CLAIM_WITHOUT_SECOND_LOOK
  atomic { mortal();
    if
    :: file[f].holder == own -> let_go(); goto open  // (F1)
    :: else
    fi
  }
#endif
  atomic { mortal();
    if
    :: SLOT[own].lifeline == NOBODY && SLOT[own].reserved == ME ->
       SLOT[own].lifeline = me; SLOT[own].reserved = 0
    :: else -> let_go(); goto open
    fi
  }
  atomic { mortal();
    if
    :: file[f].holder == TOMBSTONE || path != f -> let_go(); goto open  // (F2)
    :: else
    fi
  }

  // --- file_session -------------------------------------------------------------

session:
  atomic { mortal();
    i = 0; seen = 0;
    if
    :: current == 0 -> goto acquire
    :: current == 0 -> let_go(); goto open
    :: current != 0 -> goto renew
    :: current != 0 -> goto release
    :: current != 0 ->  // is_held() says no
       if
       :: !IS(current)
       :: IS(current) -> find_expired(own)
       fi
    fi
  }

acquire:
  atomic { mortal();
    seen = file[f].counter; i = file[f].holder;
    if
    :: i == FREE || i == BROKEN -> goto take
    :: i == TOMBSTONE -> assert(valid != me); let_go(); goto open
    :: else
    fi
  }
  atomic { mortal();
    if
    :: find_expired(i); goto take
    :: SLOT[i].running
    fi
  }
  atomic { mortal();
    if
    :: i == own && seen != current -> goto take             // abandoned
    :: i != own && SLOT[i].lifeline == NOBODY -> goto take  // abandoned
    :: i == own && seen == current
    :: i != own && SLOT[i].lifeline != NOBODY ->
       assert(!IS(seen) || grantee != NOBODY)  // P5: no dead holder looks alive
    fi;
    goto session
  }

take:
#ifndef DEADLINE_AFTER_WORD
  atomic { mortal(); SLOT[own].running = true }
#endif
#ifdef TWO_STEP_TAKEOVER
  atomic {
    if
    :: IS(seen)
    :: else -> goto session
    fi
  }
#endif
  atomic { mortal(); file[f].counter < COUNTER_END;
    if
#ifndef TWO_STEP_TAKEOVER
    :: !IS(seen) -> SLOT[own].running = false
#endif
    :: else ->
       TRANSITION(own);
       current = file[f].counter;
       assert(valid == NOBODY);       // P1, P3
       assert(current > last_token);  // P2
#ifdef BREAK_MARKED_BESIDE_THE_WORD
       assert(cut_off == (file[f].break_mark == seen));
#elif !defined(TWO_STEP_TAKEOVER)  // which is to fail for the second holder that it makes
       assert(cut_off == (i == BROKEN));  // P5, W4: told as broken if it was, and only then
#endif
       cut_off = false;
       last_token = current;
       grantee = me;
#ifdef DEADLINE_AFTER_WORD
       valid = me
#else
       valid = (SLOT[own].running -> me : NOBODY)
#endif
    fi
  }
#ifdef DEADLINE_AFTER_WORD
  SLOT[own].running = true;
#endif
  goto session;

renew:
  atomic { mortal(); SLOT[own].running = true }  // (S2)
  atomic { mortal(); file[f].counter < COUNTER_END;
    if
#ifndef RENEW_WITHOUT_COMPARE
    :: !IS(current) -> assert(valid != me); SLOT[own].running = false  // lease_lost is true
#endif
    :: else ->
       TRANSITION(own);
       current = file[f].counter;
       assert(valid == NOBODY || valid == me);  // P4
       valid = (SLOT[own].running -> me : NOBODY)
    fi;
    goto session
  }

release:
  atomic { mortal(); file[f].counter < COUNTER_END;
    if
#ifndef RELEASE_WITHOUT_COMPARE
    :: !IS(current) -> assert(valid != me)  // lease_lost is true
#endif
    :: else ->
       TRANSITION(FREE);
       assert(valid == NOBODY || valid == me);  // P4
       valid = NOBODY;
       grantee = NOBODY
    fi;
    current = 0;
    goto session
  }

  // --- maintain -----------------------------------------------------------------

break_lock:
  atomic { mortal();
    seen = file[f].counter; i = file[f].holder;
    if
    :: i >= SLOTS -> goto open
    :: else -> current = last_token  // which it means to break
    fi
  }
  atomic { mortal(); file[f].counter < COUNTER_END;
    if
#ifndef BREAK_WITHOUT_COMPARE
    :: !IS(seen)
#endif
    :: else ->
#ifdef BREAK_MARKED_BESIDE_THE_WORD
       TRANSITION(FREE);
#else
       TRANSITION(BROKEN);
#endif
       assert(current == last_token);  // P3: no other grant is broken
       valid = NOBODY;
       grantee = NOBODY;
       cut_off = true
    fi;
#ifdef BREAK_MARKED_BESIDE_THE_WORD
    seen = file[f].counter
  }
  atomic { mortal(); file[f].break_mark = seen; goto open }
#else
    goto open
  }
#endif

remove:
  atomic { file[f].maintenance == NOBODY -> file[f].maintenance = me }
  atomic { mortal();
    seen = file[f].counter; i = file[f].holder;
    if
    :: path != f -> goto removed
    :: path == f && (i == FREE || i == BROKEN) -> goto entomb
    :: path == f && i == TOMBSTONE -> goto unlink
    :: else
    fi
  }
  atomic { mortal();
    if
    :: SLOT[i].lifeline == NOBODY  // abandoned
    :: else -> goto removed        // in_use
    fi
  }
entomb:
#ifndef UNLINK_WITHOUT_TOMBSTONE
  atomic { mortal(); file[f].counter < COUNTER_END;
    if
    :: !IS(seen) -> goto removed
    :: else ->
       TRANSITION(TOMBSTONE);
       assert(valid == NOBODY);  // P3
       grantee = NOBODY;
       cut_off = false  // of the next file nobody knows
    fi
  }
#endif
unlink:
  atomic { mortal(); assert(path == f); path = NOWHERE }
removed:
  atomic { mortal(); file[f].maintenance = NOBODY; goto open }
}

init {
  byte i;
  atomic {
    made = 1; path = 0; file[0].counter = 1; file[0].holder = FREE;
    for (i : 0 .. PROCESSES - 1) { run process(i) }
    i = 0
  }
}
