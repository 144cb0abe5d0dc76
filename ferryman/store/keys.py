"""Every key that Ferryman keeps in Redis: its name, its type, its meaning. Nothing else makes a key's name.

All keys of one queue carry the hash tag ``{queue}``, so a transition touches one slot, on a single server and
on a cluster alike. A few keys are built inside scripts from a prefix that was passed in, because the id is
known only there: ``attempts:<id>`` and ``result:<id>`` of a job that ends in passing, and ``held:<holder>``;
they share the tag and so the slot.

- ``jobs`` hash: id -> envelope; an id is in here if and only if it is in exactly one of the places (*) below
- ``ready``  (*) list: ids in arrival order: pushed left, fetched right
- ``ranked`` (*) sorted set: ids that jump or wait behind the line: priority, shortest first; ties keep
  arrival order
- ``rank`` hash: id -> rank, for as long as a ranked job lives (a retry returns to its rank)
- ``delayed`` (*) sorted set: ids by due time (ms): first runs and snoozes
- ``retries`` (*) sorted set: ids by due time (ms): their own budget, so a storm of retries does not delay the
  rest
- ``held:<holder>`` (*) set: ids that a worker holds; membership is ownership
- ``newer`` sorted set: ids among ``delayed`` that an older worker left to a newer one, by the version of
  their envelope; a hint, with TTL and a cap: a job that is missing here runs when it is due
- ``dead`` (*) sorted set: dead letters by the time they died (ms)
- ``workers`` sorted set: holder -> end of its lease (ms): one entry a process, however many jobs it holds
- ``holders`` set: every holder that may have a ``held`` set, so that one without a lease is found as well
- ``started:<holder>`` set: suspects (jobs that a worker was lost with before) that this holder has begun to
  run
- ``settled:<holder>`` hash: lane -> number of the last settlement in it that was carried out for this holder;
  with TTL; makes a repeated settlement harmless
- ``bell`` list: at most one token; what an idle worker blocks on
- ``timer`` string: ``<holder> <due ms>``: the one worker that wakes when the next delayed job is due; with
  TTL
- ``paused`` string: why the queue is paused; its existence is the fact
- ``tries`` hash: id -> attempts made, once there was a failure
- ``crashes`` hash: id -> ``<times>:<first ms>``: workers lost under this job
- ``attempts:<id>`` list: records of failed attempts, newest last, capped
- ``result:<id>`` string: how a job ended and what it returned; with TTL
- ``failures`` hash: fingerprint -> times seen
- ``ghosts`` set: ids cancelled while in ``ready``: their list entry is skipped when it comes up
- ``cancels`` hash: id -> ``<ttl ms> <record>``: running jobs that somebody asked to cancel, and what each
  leaves behind; a job that leaves ``held``, in whatever way, leaves this too; with TTL
- ``seq`` string: arrival counter of ranked jobs
- ``producer:<lane>`` string: sequence of a connection's last enqueue; with TTL; makes a repeated enqueue
  harmless
- ``stats:<minute>`` hash: counters per task; with TTL
- ``durations`` hash: task -> learned run time (microseconds), where the queue's order asks for it
- ``swept`` string: one sweep at a time for the whole fleet; with TTL

Schedules are kept under the queue that their jobs go to, so that a tick's job and the schedule's advance are
one step:

- ``schedules`` hash: name -> record (msgpack): what was defined, and what was changed at run time
- ``ticks`` sorted set: name by the time its next tick is due (ms); paused and ended schedules are not in it
- ``hands`` hash: name -> ``<version> <next nominal ms> <last nominal ms>``: what a change must know to be
  carried out
- ``owed`` hash: name -> nominal ms of a tick that waits for the run before it (``queue_one``)
- ``overtaken`` set: ids of running jobs that a later tick wants cancelled (``cancel_running``)
- ``runs:<name>`` list: the last runs, newest first, capped
- ``fence`` string: the highest token of a leading scheduler that was here; lower ones are refused
"""

from __future__ import annotations

from dataclasses import dataclass, field

PLACES = ("ready", "ranked", "delayed", "retries", "dead")
"""Where a job's id can be besides ``held:<holder>``."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue."""

    prefix: str
    queue: str
    stem: str = field(init=False)
    jobs: str = field(init=False)
    ready: str = field(init=False)
    ranked: str = field(init=False)
    rank: str = field(init=False)
    delayed: str = field(init=False)
    newer: str = field(init=False)
    retries: str = field(init=False)
    dead: str = field(init=False)
    workers: str = field(init=False)
    holders: str = field(init=False)
    bell: str = field(init=False)
    timer: str = field(init=False)
    paused: str = field(init=False)
    tries: str = field(init=False)
    crashes: str = field(init=False)
    failures: str = field(init=False)
    ghosts: str = field(init=False)
    cancels: str = field(init=False)
    seq: str = field(init=False)
    durations: str = field(init=False)
    swept: str = field(init=False)
    producers: str = field(init=False)
    """What the keys ``producer:<lane>`` begin with."""
    schedules: str = field(init=False)
    ticks: str = field(init=False)
    hands: str = field(init=False)
    owed: str = field(init=False)
    overtaken: str = field(init=False)
    fence: str = field(init=False)
    done: str = field(init=False)
    """Channel: ids of jobs that ended and kept a result, or died."""
    orders: str = field(init=False)
    """Channel: a holder whose supervisor should look at ``cancels``."""

    def __post_init__(self) -> None:
        stem = f"{self.prefix}:{{{self.queue}}}:"
        object.__setattr__(self, "stem", stem)
        for name in self.__slots__[3:]:
            object.__setattr__(self, name, stem + name)
        object.__setattr__(self, "producers", stem + "producer:")

    def held(self, holder: str) -> str:
        return f"{self.stem}held:{holder}"

    def started(self, holder: str) -> str:
        return f"{self.stem}started:{holder}"

    def settled(self, holder: str) -> str:
        return f"{self.stem}settled:{holder}"

    def attempts(self, local: str) -> str:
        return f"{self.stem}attempts:{local}"

    def result(self, local: str) -> str:
        return f"{self.stem}result:{local}"

    def producer(self, lane: str) -> str:
        return self.producers + lane

    def runs(self, schedule: str) -> str:
        return f"{self.stem}runs:{schedule}"

    def stats(self, minute: int) -> str:
        return f"{self.stem}stats:{minute}"


@dataclass(frozen=True, slots=True)
class FleetKeys:
    """The keys that belong to the app and to no queue."""

    prefix: str

    @property
    def format(self) -> str:
        """String: how the keys of this prefix are laid out; see `ferryman.store.layout`."""
        return f"{self.prefix}:format"

    @property
    def queues(self) -> str:
        """Set: names of queues that were ever used."""
        return f"{self.prefix}:queues"

    @property
    def fleet(self) -> str:
        """Sorted set: worker id -> end of its note (ms)."""
        return f"{self.prefix}:fleet"

    def worker(self, worker_id: str) -> str:
        """String with TTL: what a worker says of itself (msgpack)."""
        return f"{self.prefix}:worker:{worker_id}"

    @property
    def orders(self) -> str:
        """Sorted set with TTL: orders for supervisors (msgpack) -> until when they hold (ms)."""
        return f"{self.prefix}:orders"

    @property
    def called(self) -> str:
        """Channel: a supervisor that should look at `orders`."""
        return f"{self.prefix}:called"

    def answer(self, order_id: str, worker_id: str) -> str:
        """String with TTL: what a worker answered to an order."""
        return f"{self.prefix}:answer:{order_id}:{worker_id}"

    @property
    def schedules(self) -> str:
        """Hash: name of a schedule -> its queue."""
        return f"{self.prefix}:schedules"

    # What schedulers agree on shares a slot of its own. No queue's name has a colon.

    @property
    def scheduled_queues(self) -> str:
        """Set: queues that schedules are kept under."""
        return f"{self.prefix}:{{:scheduler}}:queues"

    @property
    def leader(self) -> str:
        """String with TTL: ``<token> <scheduler>``: the scheduler that fires the ticks."""
        return f"{self.prefix}:{{:scheduler}}:leader"

    @property
    def leader_token(self) -> str:
        """String: the last token that was given out; each new leader has a higher one."""
        return f"{self.prefix}:{{:scheduler}}:token"

    @property
    def chime(self) -> str:
        """List, at most one token: what the leading scheduler blocks on; rung when a schedule was changed."""
        return f"{self.prefix}:{{:scheduler}}:chime"

    @property
    def vacancy(self) -> str:
        """List, at most one token, with TTL: what the other schedulers block on; rung by a leader that
        leaves.
        """
        return f"{self.prefix}:{{:scheduler}}:vacancy"
