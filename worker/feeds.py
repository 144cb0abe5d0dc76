"""The queues of a worker, as it sees them: what it holds of each, what it has to tell, and how much to fetch
from which.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferryman.execution import Attempt
from ferryman.settlement import Batch, Dispatch
from ferryman.store.keys import QueueKeys
from ferryman.worker.lanes import Lanes

_LEARNING = 0.2


class Feed:
    """One queue of this worker."""

    __slots__ = (
        "async_share", "away_ns", "batch", "credit", "doubt", "due_ns", "hand", "keys", "lanes", "lifo",
        "may_have_work", "misses", "name", "order", "pass_on", "rank", "unfit", "unsent", "weight",
    )  # fmt: skip

    def __init__(
        self, name: str, keys: QueueKeys, order: str, weight: float, async_share: float, rank: int = 0
    ) -> None:
        self.name = name
        self.keys = keys
        self.order = order
        self.lifo = order == "lifo"
        self.weight = weight
        self.rank = rank
        """Its place in a strict order; the shards of a queue have the same."""
        self.async_share = async_share
        """Which part of its jobs is async, as of late."""
        self.hand: dict[bytes, Attempt] = {}
        """What this worker holds of it, by id: waiting, running, or done and not yet told."""
        self.batch = Batch()
        """What is done and not yet on its way."""
        self.unsent: list[Dispatch] = []
        """What was on its way when the connection was lost, or was refused with an error."""
        self.lanes = Lanes()
        """Numbers what it tells."""
        self.may_have_work = True
        self.pass_on = False
        """Its token was taken when there was no room: ring again for others."""
        self.due_ns = 0
        """This worker keeps the queue's timer: fetch at that moment; 0: it does not."""
        self.unfit = False
        """It has brought jobs that this worker has no slots for. What comes due is left to whoever hears the
        bell first: this worker, who keeps the timer, would else fetch such a job again and again.
        """
        self.credit = 0.0
        self.doubt = False
        """What is held of it may not be what is in hand: a reply was lost."""
        self.misses = 0
        """How often that was so since it last answered."""
        self.away_ns = 0
        """Its server, one of several, did not answer: leave it alone until that moment; 0: it is there."""

    def learn_kinds(self, jobs: int, async_jobs: int) -> None:
        """So many jobs came, so many of them async."""
        self.async_share += (async_jobs / jobs - self.async_share) * _LEARNING
        if self.async_share < 0.01:
            self.async_share = 0.0
        elif self.async_share > 0.99:
            self.async_share = 1.0

    def limit(self, threads: int, coroutines: int) -> int:
        """How many jobs of it fit, with room for so many on threads and on the loop."""
        share = self.async_share
        if share == 0.0:
            return max(threads, 0)
        if share == 1.0:
            return max(coroutines, 0)
        if threads <= 0 or coroutines <= 0:
            return 0
        return max(1, min(int(threads / (1 - share)), int(coroutines / share)))


def strict(feeds: Sequence[Feed], threads: int, coroutines: int) -> list[tuple[Feed, int]]:
    """Fetch from the first queue that may have work and fits; the others have to wait for what it leaves. Its
    shards share alike.
    """
    for feed in feeds:
        if feed.may_have_work and (limit := feed.limit(threads, coroutines)) > 0:
            alike = [other for other in feeds if other.rank == feed.rank]
            return [(feed, limit)] if len(alike) == 1 else weighted(alike, threads, coroutines)
    return []


def weighted(feeds: Sequence[Feed], threads: int, coroutines: int) -> list[tuple[Feed, int]]:
    """Split the room among the queues that may have work, by their weights.

    A queue is credited with its share of the room, and spends whole jobs of it; what is left stays for the
    next time (deficit round robin, Shreedhar and Varghese 1995), so a weight of 1 beside one of 100 gets its
    turn even if there is room for one job at a time."""
    wanting = [feed for feed in feeds if feed.may_have_work and feed.limit(threads, coroutines) > 0]
    if not wanting:
        return []
    total = sum(feed.weight for feed in wanting)
    plan = []
    for feed in wanting:
        fits = feed.limit(threads, coroutines)
        feed.credit = min(feed.credit + fits * feed.weight / total, fits + 1.0)
    left = max(feed.limit(threads, coroutines) for feed in wanting)
    for feed in sorted(wanting, key=lambda feed: -feed.credit):
        limit = min(int(feed.credit + 1e-9), feed.limit(threads, coroutines), left)
        if limit > 0:
            feed.credit -= limit
            left -= limit
            plan.append((feed, limit))
    if not plan:  # nobody has a whole job's credit yet: the richest goes into debt
        feed = max(wanting, key=lambda feed: feed.credit)
        feed.credit -= 1
        plan.append((feed, 1))
    return plan
