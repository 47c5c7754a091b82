// SPDX-License-Identifier: Apache-2.0
//
// The line of waiters: no wake-up is lost, and a waiter that died or stopped does not
// block the rest.
//
//   here                       in src/file/
//   acquire                    file_session::acquire
//   look, take, wait, give_up  file_session::look, acquire_slowly: A2 to A4
//   release                    file_session::release: S4, L3
//   scan, place, clear_hint    line::scan, place, clear_hint: L1, L2
//   join, pass_over            line::join, pass_over: L3, L5
//   wake_head, wake_wanted     line::wake_head, wake_wanted: L3
//   pass_on, stand_by          line::pass_on, stand_by, want: L7
//   sleep                      line::sleep, and futex(2)
//   fate                       signals 9, 19 and 18
//
// Each process acquires and releases the lock up to ROUNDS times, in a slot of its own.
// Every access to shared state is a step, also each ticket that a scan reads, but for the
// larger searches, where a scan is one step (SCAN_AT_ONCE).
//
// Time is what decides who may rely on whom, and so it is here as a set of rules:
//   - A sleep ends by itself only for a reason: once for each death, and once more for
//     who found a dead holder's lock when it was not its turn; at any time while somebody
//     is stopped; and when the lease ends that it has seen. So without accidents every
//     wake-up has to be sent, and a death costs one look, or two (P6, L4).
//   - An open lock is taken past those ahead (L5) only if all of them are stopped: who
//     runs answers a call in time, and a dead one is dropped, not waited for. (The call is
//     left out. It only wakes, and the rest has to do without it.)
//   - A newcomer may barge at any time, as often as it has rounds.
//   - Patience ends at any time, for those who do not wait for ever.
//   - The lease of a stopped holder ends. (Others that end: lock.pml.)
//   - hasten() is left out, and so is that a head is woken to stand by. They only wake earlier; the
//     rest has to do without them.
//   - A nap (L8) is left out: who naps comes to its next look by itself, as who is slow does.
//   - Who may stand by does so at any place in line for a held lock, and ends it at any time.
//   - A waiter reads all tickets at each look, and so does who wakes. What spares them that
//     (`front`, and the place that a waiter remembers) changes the order at the most, and is
//     left out.
// The word never returns (W2, lock.pml), and so a compare-exchange fails exactly if the
// word has changed since it was read. That is one bit for each process, `stale`, in place
// of a counter. It is the same with a futex word: `woken`.

#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef IMPATIENT
#define IMPATIENT 1  // so many of them may give up
#endif
#ifndef STANDERS
#define STANDERS 0   // and so many may stand by
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 1
#endif

#define NOBODY 255
#define DOZING 128
#define is_awake(t) (t != 0 && t < DOZING)

mtype = { running, stopped, dead };
mtype state[PROCESSES] = running;
byte deaths, stops;

// The word.
byte holder = NOBODY;
bool expired;           // the lease has ended
bool stale[PROCESSES];  // the word has changed since that process read it

// The line.
byte tickets, last_to_join;
bool wanted;
byte standing_by;        // a ticket
byte ticket[PROCESSES];  // of each slot
bool woken[PROCESSES];   // the slot's futex word has changed since its owner read it
bool asleep[PROCESSES];
bool due[PROCESSES];     // its sleep may end by itself, for a death

bool waiting[PROCESSES];
bool patient[PROCESSES];

#define is_alive(s) (state[s] != dead)
#define somebody_stopped \
  (stops != 0 && (state[0] == stopped || state[1] == stopped || state[PROCESSES - 1] == stopped))

inline transition(to) {
  holder = to;
  expired = false;
  for (i : 0 .. PROCESSES - 1) { stale[i] = true }
  i = 0
}

inline die(who) {
  deaths++;
  state[who] = dead;
  asleep[who] = false;
  waiting[who] = false;
  for (i : 0 .. PROCESSES - 1) { due[i] = true }
  i = 0
}

// A process may die before each of its steps. (Asleep: fate.)
inline mortal() {
  if
  :: deaths < DEATHS -> die(me); goto gone
  :: true
  fi
}

#ifdef SCAN_AT_ONCE
#define SCAN_STEP atomic
#else
#define SCAN_STEP
#endif

// Finds the head, its ticket, whether any awake ticket is `ahead` of ours, and whether
// one of these `blocks` us: is not that of a stopped process.
inline scan() {
  SCAN_STEP {
    do
    :: atomic { mortal();
         if
         :: ticket[s] != 0 && (head_ticket == 0 || ticket[s] < head_ticket) ->
            head = s; head_ticket = ticket[s]
         :: else
         fi;
         if
         :: is_awake(ticket[s]) && (mine == 0 || ticket[s] < mine) ->
            ahead = true;
#ifdef STOPPED_HEAD_BLOCKS
            blocked = true
#else
            blocked = blocked || state[s] != stopped
#endif
         :: else
         fi;
         s++;
         if
         :: s == PROCESSES -> s = 0; break
         :: else
         fi
       }
    od
  }
}

inline forget_scan() { head = 0; head_ticket = 0; ahead = false; blocked = false; hint = 0 }

inline clear_hint() {  // (L2)
  if
#ifdef HINT_CLEARED_WITHOUT_COMPARE
  :: true -> last_to_join = 0
#else
  :: last_to_join == hint -> last_to_join = 0
  :: else
#endif
  fi
}

inline clear_dead_ticket() {  // (L1)
#ifdef DEAD_TICKET_NOT_CLEARED
  skip
#else
  if
  :: ticket[head] == head_ticket -> ticket[head] = 0
  :: else
  fi
#endif
}

inline wake_head() {
  do
  :: atomic { mortal(); hint = last_to_join;
       if
       :: hint == 0 -> break
       :: else
       fi
     }
     scan();
     atomic { mortal();
       if
       :: head_ticket == 0 -> clear_hint(); forget_scan(); break
       :: else -> woken[head] = true
       fi
     }
     atomic { mortal();
       if
       :: asleep[head] -> asleep[head] = false; forget_scan(); break
       :: else
       fi
     }
     atomic { mortal();
       if
       :: head == me || is_alive(head) -> forget_scan(); break
       :: else
       fi
     }
     atomic { mortal(); clear_dead_ticket(); forget_scan() }
#ifdef DEAD_TICKET_NOT_CLEARED
     break
#endif
  od
}

inline wake_wanted() {
  if
  :: atomic { wanted -> mortal() }
     if
     :: atomic { wanted -> mortal(); wanted = false } wake_head()
     :: !wanted  // somebody else was faster
     fi
  :: !wanted
  fi
}

inline pass_on() {
  if
  :: atomic { standing_by != 0 -> mortal(); stander = standing_by; standing_by = 0 }
     scan();
     atomic {
#ifdef STANDER_IS_TAKEN_FOR_THE_HEAD
       is_head = true;
#else
       is_head = (head_ticket == stander);
#endif
       stander = 0;
       forget_scan()
     }
     if
     :: is_head -> is_head = false
     :: else -> wake_head()
     fi
  :: standing_by == 0 -> wake_wanted()
  fi
}

inline pass_over() {
  do
  :: atomic { mortal(); head_ticket = ticket[s];
       if
       :: is_awake(head_ticket) && (mine == 0 || head_ticket < mine)
       :: else -> head_ticket = 0
       fi
     }
     atomic {
       if
       :: head_ticket == 0
       :: else -> mortal();
          if
          :: ticket[s] == head_ticket -> ticket[s] = head_ticket + DOZING
          :: else
          fi;
          head_ticket = 0
       fi;
       s++;
       if
       :: s == PROCESSES -> s = 0; break
       :: else
       fi
     }
  od
}

proctype process(byte me) provided (state[me] != stopped) {
  byte mine, hint, head, head_ticket, s, i, rounds, stander;
  bool ahead, blocked, free, open, is_head;

idle:
  atomic {
    if
    :: rounds == ROUNDS -> goto gone
    :: rounds < ROUNDS -> rounds++
    fi;
    if
    :: patient[me] = true
    :: me < IMPATIENT -> patient[me] = false
    fi
  }
  // acquire
  atomic { mortal();
    waiting[me] = true;
    stale[me] = false;
    if
    :: holder == NOBODY
    :: else -> goto look
    fi
  }
  atomic { mortal();
    if
    :: last_to_join == 0 -> goto take
    :: else
    fi
  }

look:
  atomic { mortal();
    woken[me] = false; due[me] = false;  // (A2)
    if                                   // wake_up
    :: mine != 0 && ticket[me] == mine + DOZING -> ticket[me] = mine
    :: else
    fi
  }
  atomic { mortal();
    stale[me] = false;
    free = (holder == NOBODY);
    open = free || expired;
    if
    :: open -> goto place
    :: else -> s = holder
    fi
  }
  atomic { mortal(); open = !is_alive(s); s = 0 }

place:
  atomic { mortal(); forget_scan(); hint = last_to_join }
  scan();
  atomic { mortal();
    if
    :: head_ticket == 0 -> clear_hint()
    :: ahead ->
       if
       :: is_alive(head)
       :: else -> goto drop
       fi
    :: else
    fi;
    hint = 0; head = 0; head_ticket = 0;
    if
    :: !open -> goto wait
    :: open && !blocked -> goto take                                     // our turn
    :: open && blocked && free && mine == 0 -> ahead = false; goto take  // barges
    :: open && blocked -> due[me] = due[me] || !free; ahead = false; blocked = false; goto not_yet
    fi
  }
drop:
  atomic { mortal(); clear_dead_ticket();
#ifdef DEAD_TICKET_NOT_CLEARED
    forget_scan();
    if
    :: !open -> goto wait
    :: open -> goto not_yet
    fi
#endif
  }
  goto place;

take:
  atomic { mortal();
    blocked = false; open = false; free = false;
    if
    :: stale[me] -> ahead = false; goto look
    :: else -> transition(me)
    fi
  }
  if
  :: atomic { ahead -> ahead = false } pass_over()
  :: !ahead
  fi;
  if
  :: atomic { mine != 0 -> mortal(); ticket[me] = 0; mine = 0 }  // leave
#ifndef LEAVE_WITHOUT_WANT
     atomic { mortal(); wanted = true }
#endif
  :: mine == 0
  fi;
  waiting[me] = false;

  // release
#ifdef WAKE_BEFORE_FREE
  wake_wanted();
#endif
  atomic { mortal();
    if
    :: holder == me -> transition(NOBODY)
    :: else -> goto idle
    fi
  }
#ifndef WAKE_BEFORE_FREE
#if STANDERS
  pass_on();  // (L7)
#else
  wake_wanted();  // (L3)
#endif
#endif
  goto idle;

not_yet:
  wake_wanted();
wait:
  atomic {
    ahead = false; blocked = false; open = false; free = false;
    if
    :: !patient[me] -> goto give_up
    :: mine != 0 -> goto sleep
#if STANDERS
    :: mine != 0 && me < STANDERS -> goto stand_by
#endif
    :: mine == 0 -> mortal(); tickets++; mine = tickets
    fi
  }
  // join
#ifdef HINT_BEFORE_TICKET
  atomic { mortal(); last_to_join = mine }
#endif
  atomic { mortal(); ticket[me] = mine }
#ifndef HINT_BEFORE_TICKET
  atomic { mortal();
#ifdef HINT_IS_THE_LARGEST
    last_to_join = (last_to_join > mine -> last_to_join : mine)
#else
    last_to_join = mine
#endif
  }
#endif
#ifndef JOIN_WITHOUT_SECOND_LOOK
  goto look;
#endif

#if STANDERS
stand_by:
  atomic { mortal(); standing_by = mine }
  atomic { mortal();
    if
    :: stale[me] || woken[me] -> goto look
    :: true  // for long enough
    fi
  }
#endif
sleep:
#if STANDERS && !defined(STANDS_BY_ASLEEP)
  atomic { mortal();
    if
    :: standing_by == mine -> standing_by = 0
    :: else
    fi
  }
#endif
#ifndef WANT_WITHOUT_SECOND_LOOK
  atomic { mortal(); wanted = true }
#endif
  atomic { mortal();
    if
    :: stale[me] -> goto look
    :: else
    fi
  }
#ifdef WANT_WITHOUT_SECOND_LOOK
  atomic { mortal(); wanted = true }
#endif
  atomic { mortal();
    if
    :: woken[me] -> goto look
    :: else -> asleep[me] = true
    fi
  }
  atomic {
    if
    :: !asleep[me] || !patient[me]
#ifndef SLEEP_WITHOUT_BOUND
    :: due[me] || somebody_stopped || expired && !stale[me]
#endif
    fi;
    asleep[me] = false;
    if
    :: is_alive(me) -> goto look
    :: else -> goto gone
    fi
  }

give_up:
  atomic { mortal(); ticket[me] = 0; mine = 0 }
#ifndef LEAVE_WITHOUT_WANT
  atomic { mortal(); wanted = true }
#endif
  atomic { mortal();
    if
#ifndef GIVE_UP_WITHOUT_PASSING_ON
    :: holder == NOBODY
#endif
    :: else -> goto given_up
    fi
  }
  wake_head();  // (A4)
given_up:
  atomic { waiting[me] = false; goto idle }

gone:
  atomic { mine = 0; forget_scan(); s = 0; rounds = 0; stander = 0; free = false; open = false }
}

// The lease of a stopped holder ends.
active proctype clock() {
  do
  :: atomic { holder != NOBODY && !expired && state[holder] == stopped -> expired = true }
  od
}

// Stops processes, for a while or for ever, and kills sleeping ones.
active proctype fate() {
  byte p, i;
  do
  :: atomic { deaths < DEATHS ->
       select (p : 0 .. PROCESSES - 1);
       if
       :: asleep[p] -> die(p)
       :: else
       fi;
       p = 0
     }
  :: atomic { stops < STOPS ->
       stops++;
       select (p : 0 .. PROCESSES - 1);
       if
       :: state[p] == running -> state[p] = stopped; goto continue
       :: state[p] == running -> state[p] = stopped
       :: else
       fi;
       p = 0
     }
  :: break
  od;
  goto over;
continue:
  atomic { state[p] = running; p = 0 }
over:
  skip
}

// When nothing more can happen, nobody waits: no wake-up was lost.
active proctype observer() {
  byte i;
  atomic {
    timeout;
    for (i : 0 .. PROCESSES - 1) { assert(!waiting[i] || state[i] == stopped) }
  }
}

// A running waiter gets the lock.
#ifdef SERVED
#define waits (waiting[SERVED] && patient[SERVED] && state[SERVED] == running)
ltl served { [] (waits -> <> !waits) }
#endif

init {
  byte i;
  atomic {
    for (i : 0 .. PROCESSES - 1) { run process(i) }
    i = 0
  }
}
