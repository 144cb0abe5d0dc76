/* How Ferryman keeps jobs: the lease, fetch, ack, retry, recover protocol, small enough to look at every run of it.
 *
 * Each `inline` under "The store" is one Lua script of ferryman/store/lua, one atomic step. The processes below are those who
 * call them: a producer on its lane, somebody who cancels, two workers, their supervisors, the network. README.md says what is
 * left out and why, and how to run this. A line that begins with "@" in a simulation is a step, the "=" line after it the state of the
 * store; tests/model replays both against the real scripts.
 *
 * Sizes and faults of a run are chosen with -D; so is a MUTATION, a mistake that the checks have to find.
 */

#ifndef JOBS
#define JOBS 1          /* ids */
#endif
#ifndef LOSSES
#define LOSSES 2        /* requests or replies that the network loses or keeps for later */
#endif
#ifndef LAPSES
#define LAPSES 1        /* pauses of a living worker that outlast its lease */
#endif
#ifndef CRASHES
#define CRASHES 1       /* deaths of a worker process that no job is to blame for */
#endif
#ifndef BACKS
#define BACKS 1         /* jobs given back although nothing is wrong */
#endif
#ifndef QUITS
#define QUITS 0         /* workers that end in good order, and start again */
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef CALLS
#define CALLS JOBS      /* enqueues; more than JOBS: ids are used again */
#endif
#ifndef POISON
#define POISON 0        /* job 0 kills whoever runs it */
#endif
#ifndef STOPS
#define STOPS 0         /* scripts that stop midway, at a key that somebody has damaged */
#endif

#ifdef WALK            /* spin's simulator lets others in between the parts of a d_step that stands in an atomic */
#define d_step atomic
#endif

#define WORKERS 2
#define NAMES 3         /* in use at once; a name that nothing refers to any more stands for a new one */
#define RETRIES 1
#define CRASH_LIMIT 2

#define NO_LEASE 0
#define ALIVE 1
#define LAPSED 2

#define SUCCEEDED 1
#define FAILED 2
#define BACK 3

/* The mistakes. */
#define ACK_UNOWNED 1
#define RECOVER_KEEPS_HELD 2
#define NO_LANE 3
#define OUT_BEFORE_IN 4
#define NO_RECONCILE 7
#define NO_CRASH_COUNT 8
#define NO_ANNOUNCE 9
#define SWEEP_LEASES_ONLY 10
#define GHOST_FORGOTTEN 11
#define HEARTBEAT_REVIVES 12
#define FETCH_WITHOUT_LEASE 14
#define RETIRE_WITH_JOBS 15
#define CHARGE_NEIGHBOURS 16
#define NO_NUMBERS 17
#ifndef MUTATION
#define MUTATION 0
#endif
#ifndef LATE
#define LATE 0          /* a settlement that its sender gave up may still be carried out */
#endif

#define M(j) (1 << (j))
#define EVERYTHING (M(JOBS) - 1)
#define SIZE(mask) (((mask) & 1) + (((mask) >> 1) & 1))

/* ---- What Redis keeps ---------------------------------------------------------------------------------------------- */

typedef Job {
  bit body;             /* `jobs` */
  byte ready;           /* entries in `ready`, `ranked` */
  bit waiting;          /* `delayed`, `retries` */
  bit dead;
  bit ghost;
  byte tries;
  byte crashes;
  /* What the judge remembers, and no part of the system can see: */
  byte life;            /* how often a job of this id was made */
  bit accepted;         /* its enqueue returned */
  bit ended;            /* acknowledged, dead or cancelled */
  byte proud            /* the name under which an attempt has succeeded */
}
Job job[JOBS];
byte held[NAMES + 1];   /* masks of jobs; names count from 1 */
byte started[NAMES + 1];
byte lease[NAMES + 1];
bit holders[NAMES + 1];
byte told[NAMES + 1];   /* `settled`: the last settlement of a name that was carried out */
byte lane;              /* the same of the producer's lane */

/* ---- What the workers know ----------------------------------------------------------------------------------------- */

byte name[WORKERS];      /* 0: no lease */
byte next[WORKERS];      /* registered, and the reply was lost */
byte hand[WORKERS];      /* what it believes to hold */
byte begun[WORKERS];     /* of these: what runs or ran */
byte done[WORKERS];      /* of these: what has an outcome that Redis has not confirmed */
byte outcome[WORKERS * JOBS];
byte made[WORKERS * JOBS];   /* attempts made before this one */
byte given[WORKERS * JOBS];  /* the judge's: which job of this id it was given */
byte suspects[WORKERS];
byte said[WORKERS];      /* 1 + the job whose settlement is under way; 0: none */
byte calls[WORKERS];     /* the number of that settlement */
bit doubt[WORKERS];
byte corpse[WORKERS];    /* the name of a process that its supervisor has seen die */
byte ran[WORKERS];       /* what that was running */
#define OUTCOME(w, j) outcome[(w) * JOBS + (j)]
#define MADE(w, j) made[(w) * JOBS + (j)]
#define GIVEN(w, j) given[(w) * JOBS + (j)]

/* A request that its sender has given up, and that the server may still read. */
byte late_name, late_j, late_kind, late_made, late_call, late_life;
byte late_fetch;
byte late_enqueue;      /* its number */
byte found;             /* what a sweep has found, and not recovered yet */

byte losses = LOSSES, lapses = LAPSES, crashes = CRASHES, backs = BACKS, quits = QUITS, cancels = CANCELS, stops = STOPS;

/* ---- What must hold after every step ------------------------------------------------------------------------------- */

#define PLACES(j) (job[j].ready + job[j].waiting + job[j].dead + ((held[1] >> j) & 1) + ((held[2] >> j) & 1) + ((held[3] >> j) & 1))

#if STOPS
/* Into the new place before out of the old: a script that stops may leave an id in two places, never in none. */
#define WHOLE(j) (!job[j].body || PLACES(j) >= 1)
#else
#define WHOLE(j) (job[j].body -> (PLACES(j) == 1 && !job[j].ghost) : \
  (PLACES(j) == job[j].ready && job[j].ready == job[j].ghost))
#endif
/* Nothing that was made is gone, unless it has ended. */
#define KEPT(j) (job[j].life == 0 || job[j].ended || job[j].body)

#define ROW(j) printf("= job %d %d %d %d %d %d %d %d\n", j, job[j].body, job[j].ready, job[j].waiting, job[j].dead, job[j].ghost, job[j].tries, job[j].crashes)
#define HOLDER(n) printf("= name %d %d %d %d %d %d\n", n, held[n], started[n], lease[n], holders[n], (holders[n] -> told[n] : 0))
inline settled() {
  assert(WHOLE(0)); assert(KEPT(0)); ROW(0);
#if JOBS > 1
  assert(WHOLE(1)); assert(KEPT(1)); ROW(1);
#endif
  HOLDER(1); HOLDER(2); HOLDER(3); printf("= end\n")
}

/* ---- The store ----------------------------------------------------------------------------------------------------- */

/* enqueue.lua: carried out once for each number of the lane. */
inline enqueue(number, j, later) {
  printf("@ enqueue %d %d %d\n", number, j, later);
  if
  :: MUTATION != NO_LANE && number <= lane -> skip
  :: else ->
    lane = number;
    if
    :: CALLS > JOBS && job[j].body -> skip             /* a chosen id that exists is left alone */
    :: else ->
      if
      :: CALLS > JOBS || !job[j].life ->
        job[j].life++; job[j].ended = 0; job[j].proud = 0
      :: else -> skip                                  /* a generated id cannot exist: nothing looks */
      fi;
      job[j].body = 1;
      if
      :: later ->
        job[j].ready = job[j].ready - job[j].ghost;    /* LREM of the old entry */
        job[j].waiting = 1
      :: !later && job[j].ghost && MUTATION != GHOST_FORGOTTEN -> skip  /* inherits the old entry */
      :: else -> job[j].ready++
      fi;
      job[j].ghost = 0
    fi
  fi;
  settled()
}

/* cancel.lua */
inline cancel(j) {
  printf("@ cancel %d\n", j);
  if
  :: !job[j].body || ((held[1] | held[2] | held[3]) & M(j)) -> skip
  :: else ->
    job[j].ghost = (job[j].ready > 0); job[j].waiting = 0; job[j].dead = 0;
    job[j].tries = 0; job[j].crashes = 0; job[j].body = 0; job[j].ended = 1
  fi;
  settled()
}

/* register.lua */
inline register(n) {
  printf("@ register %d\n", n);
  lease[n] = ALIVE; holders[n] = 1;
  settled()
}

/* heartbeat.lua */
inline heartbeat(n) {
  printf("@ heartbeat %d\n", n);
  if
  :: lease[n] != NO_LEASE || MUTATION == HEARTBEAT_REVIVES -> lease[n] = ALIVE
  :: else -> skip
  fi;
  settled()
}

/* fetch.lua, its first half: what has come due gets its turn. */
inline promote(n, j) {
  printf("@ promote %d %d\n", n, j);
  if
  :: lease[n] == NO_LEASE -> skip
  :: stops > 0 && lease[n] != NO_LEASE ->              /* may stop between the two */
    stops--;
    if
    :: MUTATION == OUT_BEFORE_IN -> job[j].waiting = 0
    :: else -> job[j].ready++
    fi
  :: lease[n] != NO_LEASE -> job[j].ready++; job[j].waiting = 0
  fi;
  settled()
}

/* fetch.lua, its second half. `j`: what is first in line; JOBS: nothing is there. */
inline fetch(n, j) {
  printf("@ fetch %d %d\n", n, j);
  if
  :: (lease[n] == NO_LEASE && MUTATION != FETCH_WITHOUT_LEASE) || j == JOBS -> skip
  :: else ->
    job[j].ready--;
    if
    :: job[j].body -> held[n] = held[n] | M(j)
    :: else -> job[j].ghost = 0
    fi
  fi;
  settled()
}

#define OWNS(n, j) (held[n] & M(j))

/* ack.lua, retry.lua, bury.lua, release.lua: what became of a job. Carried out once for each number; 0: not numbered, as when a
 * supervisor speaks for the dead. */
inline settle(n, j, kind, attempts, call, of_life) {
  printf("@ settle %d %d %d %d %d\n", n, j, kind, attempts, call);
  if
  :: MUTATION != NO_NUMBERS && call && call <= told[n] -> skip
  :: else ->
    if
    :: OWNS(n, j) || (MUTATION == ACK_UNOWNED && kind == SUCCEEDED && job[j].body) ->
      /* The job that is settled is the one that was run, and not another that has its id. */
      assert(of_life == job[j].life);
      held[n] = held[n] & ~M(j);
      if
      :: kind == SUCCEEDED ->
        job[j].body = 0; job[j].tries = 0; job[j].ended = 1;
        if
        :: job[j].crashes -> job[j].crashes = 0; started[n] = started[n] & ~M(j)
        :: else -> skip
        fi
      :: kind == FAILED && attempts <= RETRIES -> job[j].waiting = 1; job[j].tries = attempts
      :: kind == FAILED && attempts > RETRIES -> job[j].dead = 1; job[j].tries = attempts; job[j].crashes = 0; job[j].ended = 1
      :: kind == BACK -> job[j].ready++
      fi
    :: else -> skip
    fi;
    if
    :: call -> told[n] = call
    :: else -> skip
    fi
  fi;
  settled()
}

/* bury.lua, as a recovery calls it for jobs under which too many workers were lost. */
inline bury(n, j) {
  printf("@ bury %d %d %d\n", n, j, job[j].tries);
  if
  :: OWNS(n, j) -> held[n] = held[n] & ~M(j); job[j].dead = 1; job[j].crashes = 0; job[j].ended = 1
  :: else -> skip
  fi;
  settled()
}

/* announce.lua */
inline announce(n, mask) {
  printf("@ announce %d %d\n", n, mask);
  started[n] = started[n] | (mask & held[n]);
  settled()
}

inline recover_one(n, j, named, running) {
  if
  :: OWNS(n, j) ->
    if
    :: job[j].crashes < CRASH_LIMIT && MUTATION != NO_CRASH_COUNT &&
       ((named && (running & M(j))) || (!named && (!job[j].crashes || (started[n] & M(j)))) || MUTATION == CHARGE_NEIGHBOURS) ->
      job[j].crashes++; started[n] = started[n] & ~M(j);
      /* A supervisor knows what ran. Whoever did not is never blamed by it. */
      assert(!named || (running & M(j)))
    :: else -> skip
    fi;
    if
    :: job[j].crashes >= CRASH_LIMIT -> skip           /* condemned: still held, to be buried */
    :: else ->
      job[j].ready++;
      if
      :: MUTATION != RECOVER_KEEPS_HELD -> held[n] = held[n] & ~M(j)
      :: else -> skip
      fi
    fi
  :: else -> skip
  fi
}

/* recover.lua. `forced`: its supervisor has seen it die, and names what ran; else only a lapsed lease, and nobody knows. */
inline recover(n, forced, running) {
  printf("@ recover %d %d %d\n", n, forced, running);
  if
  :: !forced && lease[n] == ALIVE -> skip
  :: else ->
    lease[n] = NO_LEASE;
    recover_one(n, 0, forced, running);
#if JOBS > 1
    recover_one(n, 1, forced, running);
#endif
    if
    :: held[n] == 0 -> holders[n] = 0; started[n] = 0; told[n] = 0
    :: else -> skip
    fi
  fi;
  settled()
}

/* retire.lua */
inline retire(n) {
  printf("@ retire %d\n", n);
  if
  :: held[n] == 0 || MUTATION == RETIRE_WITH_JOBS -> lease[n] = NO_LEASE; holders[n] = 0; started[n] = 0; told[n] = 0
  :: else -> skip
  fi;
  settled()
}

/* The clock: not a script. */
inline lapse(n) {
  printf("@ lapse %d\n", n);
  lease[n] = LAPSED;
  settled()
}

/* ---- Choices ------------------------------------------------------------------------------------------------------- */

#if JOBS > 1
#define ANY(j, cond0, cond1) if :: cond0 -> j = 0 :: cond1 -> j = 1 fi
#define READY (job[0].ready || job[1].ready)
#else
#define ANY(j, cond0, cond1) if :: cond0 -> j = 0 fi
#define READY (job[0].ready)
#endif

/* A name that is nobody's: never used, or so long ago that nothing speaks of it any more. */
#define REFERRED(n) (lease[n] || holders[n] || held[n] || found == n || late_name == n || late_fetch == n || \
  name[0] == n || name[1] == n || next[0] == n || next[1] == n || \
  corpse[0] == n || corpse[1] == n)

inline new_name(w) {
  if
  :: !REFERRED(1) -> next[w] = 1
  :: REFERRED(1) && !REFERRED(2) -> next[w] = 2
  :: REFERRED(1) && REFERRED(2) && !REFERRED(3) -> next[w] = 3
  fi;
  told[next[w]] = 0; started[next[w]] = 0;
  if
  :: job[0].proud == next[w] -> job[0].proud = 0
  :: else -> skip
  fi
#if JOBS > 1
  ;
  if
  :: job[1].proud == next[w] -> job[1].proud = 0
  :: else -> skip
  fi
#endif
}

/* The process forgets everything: it has died, has lost its lease, or has ended. */
inline forget(w) {
  name[w] = 0; next[w] = 0; hand[w] = 0; begun[w] = 0; done[w] = 0;
  suspects[w] = 0; said[w] = 0; calls[w] = 0; doubt[w] = 0;
  OUTCOME(w, 0) = 0; MADE(w, 0) = 0; GIVEN(w, 0) = 0
#if JOBS > 1
  ; OUTCOME(w, 1) = 0; MADE(w, 1) = 0; GIVEN(w, 1) = 0
#endif
}

inline drop(w, j) {
  hand[w] = hand[w] & ~M(j); begun[w] = begun[w] & ~M(j); done[w] = done[w] & ~M(j);
  suspects[w] = suspects[w] & ~M(j);
  OUTCOME(w, j) = 0; MADE(w, j) = 0; GIVEN(w, j) = 0
}

inline take(w, j) {
  hand[w] = hand[w] | M(j);
  MADE(w, j) = job[j].tries; GIVEN(w, j) = job[j].life;
  if
  :: job[j].crashes -> suspects[w] = suspects[w] | M(j)
  :: else -> skip
  fi
}

inline take_if(w, j, mask) {
  if
  :: (mask) & M(j) -> take(w, j)
  :: else -> skip
  fi
}

/* What holds when an attempt begins, unless whoever begins it has lost its lease and does not know yet. */
#define MINE(w) (lease[name[w]] != NO_LEASE)
#define ELSEWHERE(w, j) ((begun[1 - w] & ~done[1 - w] & M(j)) && lease[name[1 - w]] != NO_LEASE)
inline begin(w, j) {
#if !STOPS   /* a damaged key may cost a second run */
  assert(!MINE(w) || !job[j].ended);                                  /* nothing that has ended runs again */
  assert(!MINE(w) || !job[j].proud || lease[job[j].proud] == NO_LEASE); /* nor what has succeeded, unless its worker was lost */
  assert(!MINE(w) || !ELSEWHERE(w, j));                               /* nor what runs with a worker that is not lost */
#endif
  begun[w] = begun[w] | M(j)
}

/* ---- Who calls ----------------------------------------------------------------------------------------------------- */

proctype Producer() {
  byte number = 1;
  bit later, arrived;
end:
  do
  :: number <= CALLS ->
    atomic {
      if
      :: later = 0
      :: later = 1
      fi;
      arrived = 1;
      if
      :: true
      :: losses > 0 -> losses--; arrived = 0
      :: losses > 0 && !late_enqueue -> losses--; arrived = 0; late_enqueue = number
      fi;
      if
      :: arrived -> d_step { enqueue(number, (number - 1) % JOBS, later) }
      :: else -> skip
      fi
    };
    if
    :: arrived -> atomic { job[(number - 1) % JOBS].accepted = 1; number++; later = 0; arrived = 0 }
    :: atomic { arrived && losses > 0 -> losses-- }    /* the reply is lost: the same again */
    :: !arrived -> skip
    fi
  :: else -> break
  od
}

proctype Canceller() {
  byte j;
end:
  do
  :: atomic { cancels > 0 && (job[0].life || job[JOBS - 1].life) -> cancels--; ANY(j, job[0].life, job[1].life); d_step { cancel(j); j = 0 } }
  od
}

/* A worker process: worker/exchange.py and what it is made of. `w`: which. */
proctype Process(byte w) {
  byte j, settling, got;
  bit answered;
end:
  do
  :: atomic { name[w] == 0 && !next[w] && !(REFERRED(1) && REFERRED(2) && REFERRED(3)) ->                /* Tenure.begin */
      new_name(w);
    }
  :: atomic { name[w] == 0 && next[w] ->
      d_step { register(next[w]) };
      if
      :: name[w] = next[w]; next[w] = 0
      :: losses > 0 -> losses--
      fi
    }

  :: atomic { name[w] && (hand[w] & ~begun[w] & ~done[w]) ->   /* a slot takes a job */
      ANY(j, (hand[w] & ~begun[w] & ~done[w] & 1), (hand[w] & ~begun[w] & ~done[w] & 2));
      if
      :: (suspects[w] & M(j)) && MUTATION != NO_ANNOUNCE -> d_step { announce(name[w], M(j)) }
      :: else -> skip
      fi;
      begin(w, j);
      if
      :: POISON && j == 0 ->                                          /* it takes the process with it */
        if
        :: !corpse[w] -> corpse[w] = name[w]; ran[w] = begun[w] & ~done[w]
        :: true                                                       /* and the machine too */
        fi;
        forget(w)
      :: else -> skip
      fi;
      j = 0
    }
  :: atomic { begun[w] & ~done[w] ->                     /* an attempt ends */
      ANY(j, (begun[w] & ~done[w] & 1), (begun[w] & ~done[w] & 2));
      done[w] = done[w] | M(j);
      if
      :: OUTCOME(w, j) = SUCCEEDED;
        if
        :: GIVEN(w, j) == job[j].life && MINE(w) -> job[j].proud = name[w]
        :: else -> skip
        fi
      :: OUTCOME(w, j) = FAILED
      fi;
      j = 0
    }
  :: atomic { backs > 0 && (hand[w] & ~begun[w] & ~done[w]) ->        /* Stock.give_back_stale */
      backs--;
      ANY(j, (hand[w] & ~begun[w] & ~done[w] & 1), (hand[w] & ~begun[w] & ~done[w] & 2));
      done[w] = done[w] | M(j); OUTCOME(w, j) = BACK; j = 0
    }

  :: atomic { name[w] && (job[0].waiting || (JOBS > 1 && job[JOBS - 1].waiting)) && lease[name[w]] ->
      ANY(j, job[0].waiting, job[JOBS - 1].waiting);
      promote(name[w], j); j = 0
    }

  /* One round trip (Exchange._trip): what is to be told, then a fetch; the server may do the first and not the second. */
  :: atomic { name[w] && !(doubt[w] && !said[w]) &&
      (said[w] || done[w] || READY || !lease[name[w]] || SIZE(held[name[w]]) != SIZE(hand[w])) ->
      if
      :: !said[w] && done[w] ->
        ANY(j, (done[w] & 1), (done[w] & 2));
        said[w] = j + 1; calls[w]++
      :: else -> skip
      fi;
      answered = 1; settling = said[w]; j = 0;
      if
      :: settling ->
        if
        :: d_step { settle(name[w], (settling - 1), OUTCOME(w, settling - 1), (MADE(w, settling - 1) + 1), calls[w], GIVEN(w, settling - 1)) }
        :: losses > 0 -> losses--; answered = 0
        :: LATE && losses > 0 && !late_name ->                                /* the server reads it when it is given up already */
          losses--; answered = 0;
          late_name = name[w]; late_j = settling - 1; late_kind = OUTCOME(w, settling - 1);
          late_made = MADE(w, settling - 1) + 1; late_call = calls[w]; late_life = GIVEN(w, settling - 1)
        fi
      :: else -> skip
      fi
    };
    got = JOBS;
    if
    :: atomic { answered ->
        if
        :: READY -> ANY(got, job[0].ready, job[JOBS - 1].ready)
        :: else -> skip
        fi;
        d_step { fetch(name[w], got) }
      }
    :: atomic { answered && losses > 0 -> losses--; answered = 0 }
    :: atomic { answered && losses > 0 && !late_fetch -> losses--; answered = 0; late_fetch = name[w] }
    :: !answered
    fi;
    atomic {
      if
      :: answered && losses > 0 -> losses--; answered = 0              /* the replies are lost */
      :: true
      fi;
      d_step {
        if
        :: !answered ->                                               /* Exchange._pause: to say it twice is harmless */
          doubt[w] = 1
        :: answered && !lease[name[w]] && MUTATION != FETCH_WITHOUT_LEASE ->  /* Stock.forfeit */
          forget(w)
        :: else ->
          if
          :: settling -> drop(w, (settling - 1)); said[w] = 0
          :: else -> skip
          fi;
          if
          :: got < JOBS -> take_if(w, got, held[name[w]])
          :: else -> skip
          fi;
          if
          :: SIZE(held[name[w]]) != SIZE(hand[w]) -> doubt[w] = 1
          :: else -> skip
          fi
        fi;
        settling = 0; got = 0; answered = 0
      }
    }

  :: atomic { name[w] && doubt[w] && !said[w] ->   /* Stock.reconcile */
      if
      :: losses > 0 -> losses--
      :: d_step {
          printf("@ reconcile %d %d\n", name[w], held[name[w]]);
          doubt[w] = 0;
          if
          :: MUTATION == NO_RECONCILE -> skip
          :: else ->
            take_if(w, 0, held[name[w]] & ~hand[w]);
#if JOBS > 1
            take_if(w, 1, held[name[w]] & ~hand[w]);
#endif
            /* What is gone and has not begun is not begun any more. */
            hand[w] = hand[w] & (held[name[w]] | begun[w] | done[w])
          fi
        }
      fi
    }

  :: atomic { quits > 0 && name[w] && !hand[w] && !said[w] -> quits--; j = 1 }   /* Tenure.end */
    do
    :: atomic { j == 1 -> d_step { retire(name[w]) };
        if
        :: holders[name[w]] && held[name[w]] -> j = 2
        :: else -> forget(w); j = 0; break
        fi }
    :: atomic { j == 2 ->                                             /* what a lost reply has left behind */
        if
        :: held[name[w]] & 1 -> d_step { settle(name[w], 0, BACK, 0, 0, job[0].life) }
        :: JOBS > 1 && (held[name[w]] & 2) -> d_step { settle(name[w], (JOBS - 1), BACK, 0, 0, job[JOBS - 1].life) }
        :: else -> j = 1
        fi }
    od

  :: atomic { crashes > 0 && name[w] -> crashes--;
      if
      :: !corpse[w] -> corpse[w] = name[w]; ran[w] = begun[w] & ~done[w]
      :: true
      fi;
      forget(w)
    }
  od
}

#define CURRENT(n) (name[0] == n || name[1] == n || next[0] == n || next[1] == n)
#define LOST(n) (lease[n] == LAPSED || (holders[n] && lease[n] == NO_LEASE && MUTATION != SWEEP_LEASES_ONLY))

/* Time passes: a lease that nobody keeps lapses; so may one whose worker and supervisor are paused. */
proctype Clock() {
  byte n;
end:
  do
  :: atomic {
      if
      :: lease[1] == ALIVE && (!CURRENT(1) || lapses > 0) -> n = 1
      :: lease[2] == ALIVE && (!CURRENT(2) || lapses > 0) -> n = 2
      :: lease[3] == ALIVE && (!CURRENT(3) || lapses > 0) -> n = 3
      fi;
      if
      :: CURRENT(n) -> lapses--
      :: else -> skip
      fi;
      d_step { lapse(n); n = 0 }
    }
  od
}

/* The hearts of the supervisors (worker/heart.py): they beat for processes that live ... */
proctype Heart() {
  byte n;
end:
  do
  :: atomic {
      if
      :: (name[0] == 1 || name[1] == 1) && (lease[1] == LAPSED || (MUTATION == HEARTBEAT_REVIVES && !lease[1])) -> n = 1
      :: (name[0] == 2 || name[1] == 2) && (lease[2] == LAPSED || (MUTATION == HEARTBEAT_REVIVES && !lease[2])) -> n = 2
      :: (name[0] == 3 || name[1] == 3) && (lease[3] == LAPSED || (MUTATION == HEARTBEAT_REVIVES && !lease[3])) -> n = 3
      fi;
      d_step { heartbeat(n); n = 0 }
    }
  od
}

#define CONDEMNED(n, j) ((held[n] & M(j)) && job[j].crashes >= CRASH_LIMIT)

/* ... sweep, and recover what they find (worker/recovery.py). Between any two steps another may do the same, or this one die:
 * what is left is found again. */
proctype Reaper() {
end:
  do
  :: atomic {
      if
      :: LOST(1) -> found = 1
      :: LOST(2) -> found = 2
      :: LOST(3) -> found = 3
      fi;
      printf("@ sweep %d\n", found)
    };
    d_step { recover(found, 0, 0) };
    do
    :: d_step { CONDEMNED(found, 0) -> bury(found, 0) }
#if JOBS > 1
    :: d_step { CONDEMNED(found, 1) -> bury(found, 1) }
#endif
    :: atomic { crashes > 0 -> crashes--; found = 0 }; break          /* it dies itself */
    :: d_step { !CONDEMNED(found, 0) && (JOBS == 1 || !CONDEMNED(found, JOBS - 1)) -> found = 0 }; break
    od
  od
}

/* A supervisor that has seen its child die (Supervisor._take_back). It may be cut short, by its own death. */
proctype Supervisor(byte w) {
end:
  do
  :: corpse[w] ->
    do
    :: atomic { d_step { recover(corpse[w], 1, ran[w]) } };
       if
       :: d_step { CONDEMNED(corpse[w], 0) -> bury(corpse[w], 0) }
       :: !CONDEMNED(corpse[w], 0)
       fi;
#if JOBS > 1
       if
       :: d_step { CONDEMNED(corpse[w], 1) -> bury(corpse[w], 1) }
       :: !CONDEMNED(corpse[w], 1)
       fi;
#endif
       if
       :: d_step { !held[corpse[w]] -> corpse[w] = 0; ran[w] = 0 }; break
       :: held[corpse[w]] && MUTATION != RECOVER_KEEPS_HELD
       fi
    od
  od
}

/* Requests that were given up arrive after all. */
proctype Network() {
end:
  do
  :: atomic { late_name ->
      d_step { settle(late_name, late_j, late_kind, late_made, late_call, late_life) };
      d_step { late_name = 0; late_j = 0; late_kind = 0; late_made = 0; late_call = 0; late_life = 0 }
    }
  :: atomic { late_fetch ->
      byte which = JOBS;
      if
      :: READY -> ANY(which, job[0].ready, job[JOBS - 1].ready)
      :: else -> skip
      fi;
      d_step { fetch(late_fetch, which); late_fetch = 0; which = JOBS }
    }
  :: atomic { late_enqueue -> d_step { enqueue(late_enqueue, ((late_enqueue - 1) % JOBS), 0); late_enqueue = 0 } }
  od
}

/* When nobody has anything left to do, every accepted job has ended. With the proof that there are no endless runs (README.md) this
 * says that every job ends. */
#if JOBS > 1
#define ENDED(j) (!job[j].accepted || job[j].ended)
#else
#define ENDED(j) (!job[j].accepted || job[j].ended)
#endif
proctype Judge() {
end:
  timeout -> assert(ENDED(0)); assert(ENDED(JOBS - 1)); assert(!(held[1] | held[2] | held[3]))
}

init {
  atomic {
    run Producer(); run Process(0); run Process(1); run Clock(); run Heart(); run Reaper(); run Supervisor(0); run Supervisor(1);
    run Network(); run Judge();
#if CANCELS
    run Canceller()
#endif
  }
}
