// SPDX-License-Identifier: Apache-2.0
//
// The word, the lease, the lifeline, the slot and the file: at most one valid
// holder, tokens that grow, old holders that do no harm.
//
//   here                         in src/file/
//   compare_exchange             word.hpp: W1, W2
//   attach, mend, claim          lockfile::attach, create_nameless, mend, claim: F1, F2
//   acquire, take                file_session::acquire, look, find_opening, take: S3, A1
//   renew, release               file_session::renew, release: S2, S4
//   break_lock, remove           maintain.cpp
//   fate                         lifeline.hpp: the kernel drops what a dead process held
//
// Each of the processes opens a session, or breaks or removes the lock, over and over.
// Every access to shared state is a step of its own, and between two steps of a process
// the others may do anything: so a process that is stopped and continued is in here,
// at every step and for any length of time.
//
// What is abstracted, and why nothing is lost by it
//   time       A deadline is `running` until somebody reads it, and may find it passed;
//              it stays passed. Every lease and every delay is one of these runs. A lock
//              without a lease is one that is never found passed.
//   counters   Runs end when a word has been changed COUNTER_END times: the proof is of
//              all shorter runs. A file's counter starts at 1 and not at the wall clock;
//              a new file's starts above all tokens so far, which is tokens.hpp's part.
//   waiting    A waiter is one who looks again. Who sleeps and who is woken: line.pml.
//   the path   The C++ compares it with the file at times. Here only F2 does and the
//              tombstone has to suffice. Whoever deletes the file without remove()
//              breaks the lock, and is not in here.
//   damage, other clocks, growth, fork: not in here.

#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef FILES
#define FILES 2  // one after the other
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef COUNTER_END
#define COUNTER_END 5
#endif
#define SLOTS PROCESSES

// A word is a counter and a holder: a slot, or
#define FREE 254
#define TOMBSTONE 253

#define NOBODY 255
#define NOWHERE 255

typedef slot_t {
  byte lifeline = NOBODY;  // the process that holds it
  byte reserved;           // the set of those that have reserved it
  bool running;            // its lease deadline is not known to have passed
  byte token
}
typedef file_t {
  byte counter;
  byte holder = TOMBSTONE;
  byte maintenance = NOBODY;
  slot_t slots[SLOTS]
}
file_t file[FILES];
byte made;            // files so far
byte path = NOWHERE;  // the file it leads to
bool killed[PROCESSES];

// Ghosts: what the promises speak of. The protocol does not read them.
byte valid = NOBODY;    // whose grant is unexpired, unreleased and unbroken
byte last_token;        // of all grants,
byte grantee = NOBODY;  // and who got it, if he still lives

#define ME (1 << me)
#define SLOT file[f].slots
#define IS(seen) (file[f].counter == seen)
#define TRANSITION(to) file[f].counter++; file[f].holder = to

// compare_exchange(...) -> what to do if it succeeds; else `ok` is false.
#define COMPARE_EXCHANGE(seen, to)    \
  file[f].counter < COUNTER_END;      \
  ok = IS(seen);                      \
  if                                  \
  :: ok -> TRANSITION(to)             \
  :: else                             \
  fi

// Reads the deadline of slot i, which may pass now. A grant is valid until the
// deadline that its holder knows, or, while it renews, the earlier of two.
inline look_at_clock(i) {
  if
  :: SLOT[i].running -> SLOT[i].running = false;
     if
     :: valid != NOBODY && valid == SLOT[i].lifeline -> valid = NOBODY
     :: else
     fi
  :: !SLOT[i].running
  fi
}

inline let_go(i) {
  SLOT[i].reserved = SLOT[i].reserved & ~ME;
  if
  :: SLOT[i].lifeline == me -> SLOT[i].lifeline = NOBODY
  :: else
  fi
}

proctype process(byte me) {
  byte f, own, i, seen, current, token;
  bool ok;

open:
  {
    atomic {
      f = 0; own = 0; i = 0; seen = 0; current = 0; token = 0; ok = false;
      if
      :: goto attach
      :: path != NOWHERE -> f = path; token = last_token; goto break_lock
      :: path != NOWHERE -> f = path; goto remove
      fi
    }

    // --- lockfile ---------------------------------------------------------------

attach:
    atomic {
      if
      :: path == NOWHERE && made < FILES -> path = made; made++; file[path].counter = 1
      :: path != NOWHERE
      fi;
      f = path
    }
    atomic {  // examine
      if
      :: file[f].holder == TOMBSTONE
      :: else -> goto claim
      fi
    }
    // mend
    atomic { file[f].maintenance == NOBODY -> file[f].maintenance = me }
    atomic {
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
    atomic {
      select (i : 0 .. SLOTS - 1);
      file[f].holder != i  // (F1)
    }
    atomic {  // try_reserve
      if
      :: SLOT[i].lifeline == NOBODY -> SLOT[i].reserved = SLOT[i].reserved | ME
      :: else -> goto open
      fi
    }
#ifndef CLAIM_WITHOUT_SECOND_LOOK
    atomic {
      if
      :: file[f].holder == i -> let_go(i); goto open  // (F1)
      :: else
      fi
    }
#endif
    atomic {  // try_hold
      if
      :: SLOT[i].lifeline == NOBODY && SLOT[i].reserved == ME ->
         SLOT[i].lifeline = me; SLOT[i].reserved = 0
      :: else -> let_go(i); goto open
      fi
    }
    atomic {
      if
      :: file[f].holder == TOMBSTONE || path != f -> let_go(i); goto open  // (F2)
      :: else -> own = i
      fi
    }

    // --- file_session -----------------------------------------------------------

session:
    atomic {
      i = 0; seen = 0; token = 0;
      if
      :: current == 0 -> goto acquire
      :: current == 0 -> let_go(own); goto open
      :: current != 0 -> goto renew
      :: current != 0 -> goto release
      :: current != 0 ->  // is_held() says no
         if
         :: !IS(current)
         :: IS(current) -> look_at_clock(own)
         fi;
         goto acquire
      fi
    }

acquire:
    atomic {
      seen = file[f].counter; i = file[f].holder;
      if
      :: i == FREE -> goto take
      :: i == TOMBSTONE -> assert(valid != me); let_go(own); goto open
      :: else
      fi
    }
    atomic {  // find_opening
      if
      :: look_at_clock(i); goto take  // expired
      :: SLOT[i].running
      fi
    }
    atomic {
      if
      :: i == own && seen != current -> goto take             // abandoned
      :: i != own && SLOT[i].lifeline == NOBODY -> goto take  // abandoned
      :: i == own && seen == current -> goto session
      :: i != own && SLOT[i].lifeline != NOBODY ->
         assert(!IS(seen) || grantee != NOBODY);  // a dead holder does not look alive
         goto session
      fi
    }

take:
#ifndef DEADLINE_AFTER_WORD
    SLOT[own].running = true;
#endif
    SLOT[own].token = seen + 1;
#ifdef TWO_STEP_TAKEOVER
    atomic {
      if
      :: IS(seen)
      :: else -> goto session
      fi
    }
    atomic { file[f].counter < COUNTER_END -> ok = true; TRANSITION(own);
#else
    atomic { COMPARE_EXCHANGE(seen, own);
#endif
      if
      :: ok ->
         current = file[f].counter;
         assert(valid == NOBODY);       // P1, P3
         assert(current > last_token);  // P2
         last_token = current;
         grantee = me;
#ifdef DEADLINE_AFTER_WORD
         valid = me
#else
         valid = (SLOT[own].running -> me : NOBODY)
#endif
      :: else
      fi
    }
#ifdef DEADLINE_AFTER_WORD
    SLOT[own].running = true;
#endif
    goto session;

renew:
    SLOT[own].running = true;  // (S2)
    atomic { COMPARE_EXCHANGE(current, own);
#ifdef RENEW_WITHOUT_COMPARE
      if
      :: !ok -> TRANSITION(own); ok = true
      :: else
      fi;
#endif
      if
      :: ok ->
         current = file[f].counter;
         assert(valid == NOBODY || valid == me);  // P4
         valid = (SLOT[own].running -> me : NOBODY)
      :: else -> assert(valid != me)  // lease_lost is true
      fi;
      goto session
    }

release:
    atomic { COMPARE_EXCHANGE(current, FREE);
#ifdef RELEASE_WITHOUT_COMPARE
      if
      :: !ok -> TRANSITION(FREE); ok = true
      :: else
      fi;
#endif
      if
      :: ok -> assert(valid == NOBODY || valid == me); valid = NOBODY  // P4
      :: else -> assert(valid != me)  // lease_lost is true
      fi;
      current = 0;
      goto session
    }

    // --- maintain ---------------------------------------------------------------

break_lock:  // the grant with that token
    atomic {
      seen = file[f].counter; i = file[f].holder;
      if
      :: i == FREE || i == TOMBSTONE -> goto open
      :: else
      fi
    }
    atomic {
      if
      :: SLOT[i].token != token -> goto open  // the second look makes only the message right
      :: else
      fi
    }
    atomic { COMPARE_EXCHANGE(seen, FREE);
      if
      :: ok -> assert(token == last_token); valid = NOBODY
      :: else
      fi;
      goto open
    }

remove:
    atomic { file[f].maintenance == NOBODY -> file[f].maintenance = me }
    atomic {
      seen = file[f].counter; i = file[f].holder;
      if
      :: path != f -> goto removed
      :: path == f && i == FREE -> goto entomb
      :: path == f && i == TOMBSTONE -> goto unlink
      :: else
      fi
    }
    atomic {
      if
      :: SLOT[i].lifeline == NOBODY -> goto entomb  // abandoned
      :: else -> goto removed                       // in_use
      fi
    }
entomb:
#ifndef UNLINK_WITHOUT_TOMBSTONE
    atomic { COMPARE_EXCHANGE(seen, TOMBSTONE);
      if
      :: ok -> assert(valid == NOBODY)
      :: else -> goto removed
      fi
    }
#endif
unlink:
    atomic { assert(path == f); path = NOWHERE }
removed:
    atomic { file[f].maintenance = NOBODY; goto open }
  } unless { killed[me] }
  atomic { killed[me] = false; goto open }
}

// Kills processes, and the kernel drops what they held.
active proctype fate() {
  byte deaths, me, f, i;
  do
  :: deaths == DEATHS -> break
  :: deaths < DEATHS -> atomic {
       deaths++;
       select (me : 0 .. PROCESSES - 1);
       killed[me] = true;
       for (f : 0 .. FILES - 1) {
         for (i : 0 .. SLOTS - 1) { let_go(i) }
         if
         :: file[f].maintenance == me -> file[f].maintenance = NOBODY
         :: else
         fi
       }
       if
       :: valid == me -> valid = NOBODY
       :: else
       fi
       if
       :: grantee == me -> grantee = NOBODY
       :: else
       fi
       me = 0; f = 0; i = 0
     }
  od
}

init {
  byte i;
  atomic {
    for (i : 0 .. PROCESSES - 1) { run process(i) }
    i = 0
  }
}
