"""Sentinel groups and clusters: producers, workers and everybody who looks, and what happens when servers
change their roles under them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import Durability, Ferryman, NotDurable, ids
from ferryman.errors import StoreDenied
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.engine import Engine
from ferryman.scheduler.lease import Lease
from ferryman.schedules.sync import sync
from ferryman.worker.inprocess import InProcessWorker
from tests.support.access import Access, Certificates
from tests.support.cluster import Cluster
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # an election takes its time on a busy machine

ROOT = Path(__file__).parents[2]
SERVICE = "ferry"
PATIENCE_S = 45.0  # longer than any failover here takes on a busy machine


def url_of(group: Cluster | Sentinels, login: str = "", query: str = "") -> str:
    """The store URL of a group of servers."""
    secure = "rediss" if group.access.tls else "redis"
    hosts = ",".join(f"{host}:{port}" for host, port in group.addresses)
    if isinstance(group, Cluster):
        return f"{secure}+cluster://{login}{hosts}{query}"
    return f"{secure}+sentinel://{login}{hosts}/{SERVICE}/0{query}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three masters with a replica each. Tests put back what they change, or do not mind."""
    with Cluster() as group:
        yield group


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    """A master, two replicas, three sentinels."""
    with Sentinels() as group:
        yield group


@pytest.fixture(params=["cluster", "sentinels"])
def group(request: pytest.FixtureRequest) -> Any:
    """One of each kind."""
    return request.getfixturevalue(request.param)


class Shop:
    """An app with tasks in a plain and in a sharded queue; counts what has run."""

    def __init__(self, url: str, prefix: str, **settings: Any) -> None:
        self.app = app = Ferryman(url, prefix=prefix, patience_s=PATIENCE_S, **settings)
        self.ran: list[int] = []
        app.queue("clicks", shards=4)

        @app.task(queue="plain")
        def add(number: int) -> int:
            self.ran.append(number)
            return number + 1

        @app.task(queue="plain")
        async def aadd(number: int) -> int:
            self.ran.append(number)
            return number + 1

        @app.task(queue="clicks")
        def click(number: int) -> None:
            self.ran.append(number)

        self.add, self.aadd, self.click = add, aadd, click

    def worker(self) -> InProcessWorker:
        """A worker on all its queues."""
        return InProcessWorker(self.app, "plain,clicks", threads=4)

    def wait_for(self, numbers: range) -> None:
        """Wait until all of these have run, and make sure that none ran twice."""
        wait_until(lambda: set(numbers) <= set(self.ran), 60, lambda: f"{len(set(self.ran))} ran")
        again = [number for number in set(self.ran) if self.ran.count(number) > 1]
        assert not again


@pytest.fixture
def open_shop(prefix: str) -> Iterator[Callable[..., Shop]]:
    """Opens shops, and closes them."""
    with contextlib.ExitStack() as stack:

        def made(url: str, **settings: Any) -> Shop:
            shop = Shop(url, prefix, **settings)
            stack.callback(shop.app.close)
            return shop

        yield made


def test_everything_that_works_on_one_server_works_there(group: Any, open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(url_of(group))
    app = shop.app

    async def from_a_loop() -> int:
        try:
            job = await shop.aadd.aenqueue(2)
            await shop.click.aenqueue_many([(number,) for number in range(1000, 1100)])
            return int(await job.aresult(30))
        finally:
            await app.aclose()

    with shop.worker():
        assert shop.add.enqueue(1).result(30) == 2
        assert asyncio.run(from_a_loop()) == 3
        assert shop.add.options(delay=0.2, id="mine").enqueue(3).result(30) == 4
        assert shop.add.options(id="mine").enqueue(3).state == "succeeded"
        shop.click.enqueue_many([(number,) for number in range(100, 400)])
        shop.wait_for(range(100, 400))
        shop.wait_for(range(1000, 1100))
    queue = app.queue("plain")
    assert queue.pause("lunch")
    job = shop.add.enqueue(9)
    assert (queue.info().paused, queue.info().queued, [one.id for one in queue.jobs()]) == (
        "lunch",
        1,
        [job.id],
    )
    assert app.job(job.id).state == "queued"
    assert job.cancel()
    assert queue.resume()
    assert [one.name for one in app.queues()] == ["clicks", "plain"]


def test_the_command_line_works_there(
    group: Any, open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(url_of(group))
    job = shop.add.enqueue(1)
    monkeypatch.setenv("FERRYMAN_URL", url_of(group))
    monkeypatch.setenv("FERRYMAN_PREFIX", shop.app.settings.prefix)

    def run(*words: str) -> Any:
        command = [sys.executable, "-m", "ferryman", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    assert run("queues", "--json")[0]["queued"] == 1
    assert run("job", job.id, "--json")["state"] == "queued"
    checks = run("doctor", "--json")
    assert not [check for check in checks["findings"] if check["status"] == "error"], checks


def test_the_shards_of_a_queue_are_one_queue_to_whoever_looks(
    cluster: Cluster, open_shop: Callable[..., Shop]
) -> None:
    shop = open_shop(url_of(cluster))
    queue = shop.app.queue("clicks")
    jobs = [shop.click.enqueue(number) for number in range(8)]
    assert {job.shard for job in jobs} == {f"clicks#{shard}" for shard in range(4)}
    assert {job.queue for job in jobs} == {"clicks"} == {job.info().queue for job in jobs}
    assert len({cluster.slot_of(job.shard) for job in jobs}) == 4
    assert len(queue) == 8
    assert {job.id for job in queue.jobs()} == {job.id for job in jobs}
    chosen = shop.click.options(id="one-and-only")
    assert {chosen.enqueue(1).shard for _ in range(5)} == {shop.app.job(chosen.enqueue(1).id).shard}
    assert len(queue) == 9
    assert queue.pause()
    assert queue.info().paused
    assert queue.resume()
    assert queue.purge() == 9
    assert len(queue) == 0


def test_shards_that_are_no_longer_declared_are_worked_off(
    cluster: Cluster, open_shop: Callable[..., Shop], prefix: str
) -> None:
    before = open_shop(url_of(cluster))
    before.click.enqueue_many([(number,) for number in range(2000)])
    app = Ferryman(url_of(cluster), prefix=prefix)
    ran: list[int] = []

    @app.task(queue="clicks", name=before.click.name)
    def click(number: int) -> None:
        ran.append(number)

    with InProcessWorker(app):
        wait_until(lambda: len(ran) == 2000, 60, lambda: f"{len(ran)} ran")
    app.close()


def test_when_a_primary_dies_its_replica_goes_on_and_the_fleet_finds_it(
    group: Any, open_shop: Callable[..., Shop]
) -> None:
    shop = open_shop(url_of(group), durability=Durability.replicated(1, timeout=2))
    numbers = range(200)
    with shop.worker():
        shop.add.enqueue(-1).result(30)
        stop = threading.Event()

        def produce() -> None:
            for number in numbers:
                # With its one replica promoted, the new primary has nobody to confirm: accepted all the same.
                with contextlib.suppress(NotDurable):
                    shop.add.enqueue(number)
                if number == 20:
                    stop.set()

        producer = threading.Thread(target=produce)
        producer.start()
        assert stop.wait(60)
        if isinstance(group, Cluster):
            group.kill_master(group.slot_of("plain"))
        else:
            group.kill_master()
        group.killed[-1].restart()  # comes back as a replica
        producer.join(120)
        assert not producer.is_alive()
        wait_until(lambda: set(numbers) <= set(shop.ran), 60, lambda: f"{len(set(shop.ran))} ran")
    info = shop.app.queue("plain").info()
    assert (info.queued, info.running, info.scheduled) == (0, 0, 0)
    group.wait_ready()


@pytest.mark.parametrize("atomic", [False, True], ids=["key-by-key", "at-once"])
def test_a_queue_moves_to_another_node_while_its_jobs_flow(
    cluster: Cluster, open_shop: Callable[..., Shop], atomic: bool
) -> None:
    shop = open_shop(url_of(cluster))
    numbers = range(600)
    slot = cluster.slot_of("plain")
    with shop.worker():
        shop.add.enqueue(-1).result(30)
        begun = threading.Event()

        def produce() -> None:
            for number in numbers:
                shop.add.enqueue(number)
                if number == 50:
                    begun.set()

        producer = threading.Thread(target=produce)
        producer.start()
        assert begun.wait(60)
        before = cluster.master_of(slot)
        cluster.reshard(slot, cluster.others(slot)[0], atomic=atomic)
        assert cluster.master_of(slot) is not before
        producer.join(120)
        assert not producer.is_alive()
        shop.wait_for(numbers)
        shop.add.enqueue(10_000).result(60)


def test_a_queue_whose_node_is_away_does_not_stop_the_others(
    cluster: Cluster, open_shop: Callable[..., Shop]
) -> None:
    shop = open_shop(url_of(cluster))
    home = cluster.master_of(cluster.slot_of("plain"))
    names = {number: f"job-{number}" for number in range(100, 140)}
    shards = {number: f"clicks#{ids.shard_of(name, 4)}" for number, name in names.items()}
    elsewhere = [
        number for number, shard in shards.items() if cluster.master_of(cluster.slot_of(shard)) is not home
    ]
    assert elsewhere
    with shop.worker():
        shop.add.enqueue(1).result(30)
        shop.click.enqueue(2)  # the list of queues may be on the node that goes away
        home.pause()
        try:
            for number in elsewhere:
                shop.click.options(id=names[number]).enqueue(number)
            wait_until(lambda: set(elsewhere) <= set(shop.ran), 30, "the other nodes' jobs run")
        finally:
            home.resume()
    cluster.wait_ready()


def test_a_guarded_cluster_and_guarded_sentinels_let_in_whom_they_should(
    redis_server_binary: Path, tmp_path: Path, open_shop: Callable[..., Shop], prefix: str
) -> None:
    access = Access(
        "sesame",
        {"ferry": f"on >secret ~{prefix}:* &{prefix}:* +@all -@dangerous +info +client +role +cluster"},
        Certificates(tmp_path, clients_too=True),
    )
    login = Access.login_of("ferry", "secret")
    with Sentinels("redis", access=access, sentinel_password="open") as group:
        query = f"{access.query}&sentinel_password=open"
        shop = open_shop(url_of(group, login, query))
        with shop.worker():
            assert shop.add.enqueue(1).result(30) == 2
        shop.app.close()
        assert "secret" not in repr(shop.app)
        assert "open" not in str(shop.app.store.address)
        wrong = Ferryman(url_of(group, Access.login_of("ferry", "wrong"), query), prefix=prefix)
        with pytest.raises(StoreDenied) as refusal:
            wrong.queue("plain").info()
        assert "wrong" not in str(refusal.value).replace("WRONGPASS", "")
    with Cluster("redis", access=access) as nodes:
        shop = open_shop(url_of(nodes, login, access.query))
        with shop.worker():
            assert shop.add.enqueue(1).result(30) == 2


def test_replicas_that_do_not_confirm_are_told_to_the_caller_and_a_second_call_enqueues_nothing_twice(
    sentinels: Sentinels, open_shop: Callable[..., Shop]
) -> None:
    shop = open_shop(url_of(sentinels))
    careful = shop.add.options(durability=Durability.replicated(2, timeout=15))
    careful.enqueue(1)
    replicas = sentinels.replicas()
    for replica in replicas:
        replica.pause()
    try:
        hasty = shop.add.options(durability="replicated:2:0.2")
        with pytest.raises(NotDurable, match=r"0 of 2 replicas") as refusal:
            hasty.enqueue(2)
        (job_id,) = refusal.value.job_ids
        assert shop.app.job(job_id).state == "queued"
        with pytest.raises(NotDurable, match="3 jobs"):
            hasty.enqueue_many([(3,), (4,), (5,)])

        async def on_a_loop() -> None:
            try:
                with pytest.raises(NotDurable):
                    await hasty.aenqueue(6)
                with pytest.raises(NotDurable):
                    await hasty.aenqueue_many([(7,)])
            finally:
                await shop.app.aclose()

        asyncio.run(on_a_loop())
        with pytest.raises(NotDurable):
            hasty.options(id=job_id.partition("@")[0]).enqueue(2)
    finally:
        for replica in replicas:
            replica.resume()
    again = careful.options(id=job_id.partition("@")[0]).enqueue(2)
    assert again.id == job_id
    assert len(shop.app.queue("plain")) == 7


def test_schedules_tick_whatever_slot_their_queue_is_in(group: Any, prefix: str) -> None:
    app = Ferryman(url_of(group), prefix=prefix, patience_s=PATIENCE_S)
    app.task(name="note")(lambda: None)
    for name in ("one", "two", "three"):
        app.schedule("note", name=name, every="1s", grace="5m", options={"queue": f"clock-{name}"})
    app.store.drive(sync(app, "code:test", app.declared))
    engine = Engine(app, app.store.link(), Lease(app.store.fleet_keys, "only", 5000), ServerClock())

    def fired(queue: str) -> bool:
        engine.turn()
        return len(app.queue(queue)) > 1

    for name in ("one", "two", "three"):
        wait_until(lambda name=name: fired(f"clock-{name}"), PATIENCE_S)  # type: ignore[misc]
    app.schedules.edit("one", options={"queue": "clock-four"})
    engine.bell_rang()
    wait_until(lambda: fired("clock-four"), PATIENCE_S)
    jobs = [job.local for queue in ("clock-one", "clock-four") for job in app.queue(queue).jobs()]
    assert len(jobs) == len(set(jobs)), "no second twice, in whichever queue"
    assert app.schedules.run_now("two").state == "queued"
    assert app.schedules.history("one")[0].outcome == "queued"
    app.close()
