"""The order of a queue outlives a worker that gives its jobs back or is lost with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from ferryman import Ferryman
from ferryman.execution import prepare
from ferryman.outcome import Released
from ferryman.settlement import Batch, settle
from ferryman.store import Link
from ferryman.worker.recovery import Recovery
from tests.support.hand import Hand
from tests.support.server import RedisServer


def note(number: int) -> None:
    """What the jobs would do."""


@pytest.fixture(params=["fifo", "lifo"])
def order(request: pytest.FixtureRequest) -> Literal["fifo", "lifo"]:
    found: Literal["fifo", "lifo"] = request.param
    return found


@pytest.fixture
def app(server: RedisServer, prefix: str, order: Literal["fifo", "lifo"]) -> Iterator[Ferryman]:
    made = Ferryman(server.url, prefix=prefix)
    made.queue("q", order=order)
    made.task(name="note", queue="q")(note)
    yield made
    made.close()


def in_turn(app: Ferryman, order: str) -> list[str]:
    """Five jobs, in the order of their turn."""
    locals_ = [job.local for job in app.tasks["note"].enqueue_many([(number,) for number in range(5)])]
    return locals_ if order == "fifo" else locals_[::-1]


def test_jobs_of_a_lost_worker_are_next_in_their_old_order(app: Ferryman, order: str) -> None:
    expected = in_turn(app, order)
    ada = Hand(app, "q")
    ada.take(3)
    link = Link(app.store.address, 5.0)
    assert Recovery(app, link).recover(ada.keys, "ada", forced=True, running=[]) == 3
    link.close()
    assert Hand(app, "q", "bob").take() == expected


def test_jobs_given_back_by_a_worker_are_next_in_their_old_order(app: Ferryman, order: str) -> None:
    expected = in_turn(app, order)
    ada = Hand(app, "q")
    fetched = ada.fetch(3)
    batch = Batch()
    for local, body in zip(fetched.ids, fetched.envelopes, strict=True):
        attempt: Any = prepare(app, "q", local, body, made=0, worker="ada")
        batch.add(attempt, settle(attempt, Released(), 1))
    for dispatch in batch.dispatches(ada.keys, "ada", app.settings, 1, lifo=ada.lifo):
        assert ada.run(dispatch.transition).refused == []
    assert Hand(app, "q", "bob").take() == expected
