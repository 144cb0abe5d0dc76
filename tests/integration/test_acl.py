"""The rules of ``deploy/redis/users.acl``: enough for each part of Ferryman, and none too many."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from ferryman import Ferryman, ResultTimeout, StoreDenied, StoreError, doctor, doctor_rights
from ferryman.cli import failures as cli_failures
from ferryman.cli import workers as cli_workers
from ferryman.doctor_probe import Probe
from ferryman.scheduler.bell import Bell
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.engine import Engine
from ferryman.scheduler.lease import Lease
from ferryman.schedules.sync import sync
from ferryman.store import Link, Store, inspection, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import Burial
from ferryman.worker import notes
from ferryman.worker.bells import Ear
from ferryman.worker.feeds import Feed
from ferryman.worker.fitness import check_store
from ferryman.worker.notes import Note
from tests.integration.test_store_scripts import seed
from tests.integration.worker_jobs import tasks_on
from tests.support import acl
from tests.support.fleet import Fleet
from tests.support.hand import Hand
from tests.support.samples import SAMPLES
from tests.support.server import Kind, RedisServer
from tests.support.snapshot import snapshot
from tests.support.waiting import wait_until

BY_HAND = {"cancel", "revive", "purge", "purge of dead letters", "survey", "pause", "resume"}
OF_PRODUCERS = {sample for sample in SAMPLES if sample.startswith("enqueue")} | {"locate"}
LOOKS = {"locate", "survey"}


@pytest.fixture(scope="module", params=["valkey", "redis"])
def guarded(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server whose users the tests of this file make."""
    if request.param == "redis":
        request.getfixturevalue("redis_server_binary")
    with RedisServer(request.param) as running:
        yield running


@pytest.fixture
def admin(guarded: RedisServer, prefix: str) -> Iterator[redis.Redis]:
    """Somebody who may do everything; the users are as in the file, for this test's prefix."""
    with guarded.client() as raw:
        for role in acl.ROLES:
            acl.set_user(raw, role, acl.rules(role, prefix))
        raw.acl_log_reset()
        yield raw


FOREIGN = (
    ("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",), ("DBSIZE",), ("MONITOR",),
    ("SWAPDB", "0", "1"), ("CONFIG", "SET", "maxmemory", "1"), ("SHUTDOWN",), ("ACL", "LIST"),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("SCRIPT", "FLUSH"), ("SCRIPT", "KILL"),
    ("EVAL", "return 1", "0"), ("SUBSCRIBE", "elsewhere"), ("REPLICAOF", "NO", "ONE"), ("FUNCTION", "LIST"),
)  # fmt: skip
"""What is nobody's business but the administrator's."""


def url(server: RedisServer, role: str) -> str:
    return f"unix://{role}:{acl.password(role)}@{server.socket_path}"


class Part:
    """One part of Ferryman under its own user, on queues that nobody has used."""

    _numbers = itertools.count(1)

    def __init__(self, server: RedisServer, role: str, prefix: str, admin: redis.Redis) -> None:
        self.app = Ferryman(url(server, role), prefix=prefix, patience_s=0.0)
        self.admin = admin
        self.store: Store = self.app.store
        self.link = Link(self.store.address, 5.0)
        admin.delete(self.store.fleet_keys.format)

    def queue(self) -> QueueKeys:
        """A queue with a job in every place."""
        keys = self.store.keys(f"q{next(self._numbers)}")
        seed(self.admin, keys)
        return keys

    def run(self, samples: set[str]) -> None:
        for sample in samples:
            self.link.run(SAMPLES[sample](self.queue()))

    def close(self) -> None:
        self.link.close()
        self.app.close()


def as_producer(part: Part) -> None:
    """All that a producer may come to do."""
    part.run(OF_PRODUCERS)
    keys, run, admin = part.queue(), part.link.run, part.admin
    for local in ("ended", "again"):  # ids that are used again
        admin.set(keys.result(local), b"\x9a\xa9cancelled")
    admin.lpush(keys.ready, "again")
    admin.sadd(keys.ghosts, "again")
    jobs: list[str | bytes] = ["ended", b"body", "again", b"body"]
    assert run(transitions.enqueue(keys, "lane", 1, jobs, chosen=True, due="+1000")).created == 2
    for local in ("r1", "k1", "t1", "h1", "x1", "nobody"):
        run(inspection.locate(keys, local))
    queue = part.app.queue(f"short{next(Part._numbers)}", order="shortest")
    queue.enqueue("x:y")
    part.link.command("PING")
    part.link.command("SUBSCRIBE", keys.done)


def as_worker(part: Part) -> None:
    """All that a worker and its supervisor may come to do, with a scheduler beside them."""
    as_producer(part)
    part.link.close()
    as_scheduler(part, ticks=0)
    part.run(SAMPLES.keys() - BY_HAND)
    run, admin = part.link.run, part.admin
    keys = part.queue()
    run(transitions.fetch(keys, "ada", 3, lifo=True))
    run(transitions.release(keys, "ada", ["r2", "h1"], lifo=True))
    keys = part.queue()
    run(transitions.fetch(keys, "ada", 100))
    run(transitions.retire(keys, "eve"))
    keys = part.queue()
    with admin.pipeline() as pipe:
        pipe.hset(keys.failures, mapping={str(number): 1 for number in range(2001)})
        pipe.zadd(keys.dead, {"old": 1})
        pipe.hset(keys.jobs, "old", "body")
        pipe.execute()
    burial = Burial("h1", 1, b"record", "new", "task")
    run(transitions.bury(keys, "ada", [burial], minute=1, most=100, oldest_ms=60_000))
    check_store(part.app)
    note = Note("w", "h", 1, 1, "running", ["q"], 1, 1, 1)
    notes.write(part.link, part.store.fleet_keys, note, 5)
    notes.withdraw(part.link, part.store.fleet_keys, "w")
    part.link.command("TIME")
    ear = Ear(part.store.link())
    ear.know_itself()
    ear.arm([Feed("q", keys, "fifo", 1, 0.0)])
    assert ear.interrupt(part.link)
    ear.close()


def as_scheduler(part: Part, ticks: int = 2) -> None:
    """All that a scheduler, and whoever changes schedules, may come to do."""
    app, link = part.app, part.link
    name, queue = f"s{next(Part._numbers)}", f"due{next(Part._numbers)}"
    task, book = app.task(name=name, queue=queue)(lambda: None), app.schedules
    link.command("PING")
    app.store.drive(sync(app, "code", {}))
    book.add(task, name=name, every="1s" if ticks else "1h", overlap="cancel_running")
    book.run_now(name)
    lease = Lease(app.store.fleet_keys, name, 3000)
    engine = Engine(app, link, lease, ServerClock())
    engine.turn()
    wanted = len(book.history(name)) + ticks
    wait_until(lambda: engine.turn() >= 0 and len(book.history(name)) >= wanted, 20)
    book.backfill(name, datetime.now(UTC) - timedelta(seconds=2), datetime.now(UTC))
    book.pause(name)
    book.resume(name)
    book.edit(name, every="2h")
    book.overview()
    book.remove(name)
    bell = Bell(app.store.link())
    bell.arm(app.store.fleet_keys.chime)
    bell.close()
    lease.give_up(link)


def as_operator(part: Part) -> None:
    """All that a person may come to do, the doctor included."""
    as_worker(part)
    part.link.close()
    part.run(BY_HAND)
    assert not [finding for finding in doctor.examine(part.app).findings if finding.status == "unknown"]
    as_dashboard(part)


def as_dashboard(part: Part) -> None:
    """All that can be looked at."""
    part.link.close()
    part.run(LOOKS)
    app, keys = part.app, part.queue()
    part.admin.sadd(part.store.fleet_keys.queues, keys.queue)
    for queue in app.queues():
        queue.info()
        for place in ("queued", "scheduled", "running", "dead"):
            list(queue.jobs(place))
    list(cli_workers.fleet(app))
    cli_failures.groups_of(app, keys.queue)
    part.link.command("HGETALL", keys.failures)
    part.link.command("INFO", "server")
    part.link.command("TIME")
    part.link.command("PING")
    part.link.command("SUBSCRIBE", keys.done)


PLAYS: dict[str, Callable[[Part], None]] = {
    "producer": as_producer, "scheduler": as_scheduler, "worker": as_worker, "operator": as_operator,
    "dashboard": as_dashboard,
}  # fmt: skip


def denials(admin: redis.Redis) -> list[str]:
    """What the server has denied to anybody; that clients tell their name is left out, as the file says."""
    raw: Any = admin
    found = raw.execute_command("ACL", "LOG")
    entries = [entry for entry in map(_plain, found) if entry["object"] != "client|setinfo"]
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in entries]


def _plain(entry: Any) -> dict[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def play(server: RedisServer, role: str, prefix: str, admin: redis.Redis) -> None:
    part = Part(server, role, prefix, admin)
    try:
        PLAYS[role](part)
    finally:
        part.close()


@pytest.mark.parametrize("role", acl.ROLES)
def test_the_rules_are_enough_and_the_server_denies_nothing(
    role: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    play(guarded, role, prefix, admin)
    assert denials(admin) == []


@pytest.mark.parametrize("role", [role for role in acl.ROLES if role != "scheduler"])
def test_each_rule_is_needed(role: str, guarded: RedisServer, prefix: str, admin: redis.Redis) -> None:
    spare = []
    for rule, others in acl.without_one(acl.rules(role, prefix)):
        acl.set_user(admin, role, others)
        admin.acl_log_reset()
        with contextlib.suppress(StoreError, AssertionError):
            play(guarded, role, prefix, admin)
        if not denials(admin):
            spare.append(rule)
    assert spare == []


@pytest.mark.parametrize("sample", sorted(SAMPLES.keys() - OF_PRODUCERS - {"insist", "reconcile"}))
def test_a_producer_cannot_take_finish_or_mend_a_job(
    sample: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    _refused("producer", sample, guarded, prefix, admin)


@pytest.mark.parametrize("sample", sorted(SAMPLES.keys() - LOOKS - {"reconcile"}))
def test_a_dashboard_changes_nothing(
    sample: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    _refused("dashboard", sample, guarded, prefix, admin)


def _refused(role: str, sample: str, server: RedisServer, prefix: str, admin: redis.Redis) -> None:
    part = Part(server, role, prefix, admin)
    keys = part.queue()
    before = snapshot(admin, keys)
    with pytest.raises(StoreDenied, match="user's ACL"):
        part.link.run(SAMPLES[sample](keys))
    assert snapshot(admin, keys) == before
    part.close()


@pytest.mark.parametrize("role", acl.ROLES)
def test_nobody_reaches_other_keys_or_what_concerns_the_whole_server(
    role: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    part = Part(guarded, role, prefix, admin)
    admin.set(f"{prefix}-other", "secret")
    admin.set(f"x{prefix}:{{q}}:jobs", "secret")
    script = "return redis.call('GET', ARGV[1])"
    load = f"return redis.call('SET', '{prefix}-other', '1')"
    for words in (*FOREIGN, ("GET", f"{prefix}-other"), ("HLEN", f"x{prefix}:{{q}}:jobs")):
        with pytest.raises(StoreDenied):
            part.link.command(*words)
    for text in (script, load):
        sha = part.link.command("SCRIPT", "LOAD", text)
        with pytest.raises(StoreDenied):
            part.link.command("EVALSHA", sha, "0", f"{prefix}-other")
    part.close()


# -- whole ---------------------------------------------------------------------------------------------------


def test_a_fleet_a_producer_and_a_dashboard_under_their_users_recover_from_kills(
    guarded: RedisServer, prefix: str, admin: redis.Redis, tmp_path: Path
) -> None:
    producer = Ferryman(url(guarded, "producer"), prefix=prefix, patience_s=5.0)
    looking = Ferryman(url(guarded, "dashboard"), prefix=prefix)
    tasks = tasks_on(producer)
    environment = {"FERRYMAN_TEST_FLEET": "1"}
    with Fleet(
        url(guarded, "worker"), prefix, "tests.integration.worker_jobs:app", processes=2,
        environment=environment, lease_s=3.0, timeout_s=2.0,
    ) as fleet:  # fmt: skip
        fleet.wait_ready(lambda: len(cli_workers.fleet(looking)) == 2)
        jobs = tasks.nap.enqueue_many([(0.01,)] * 300)
        victim = fleet.worker_pids()[0]
        fleet.send(signal.SIGKILL, victim)
        assert len([job.result(60) for job in jobs]) == 300
        assert asyncio.run(_later(producer)) > 0
        with pytest.raises(ResultTimeout):
            tasks.nap.options(delay=60).enqueue(0).result(0.2)
        # A machine that is lost: its jobs are found by the sweep, which is a worker's right too.
        lost = Hand(Ferryman(guarded.url, prefix=prefix), "default", "lost")
        fleet.send(signal.SIGTSTP)
        wait_until(lambda: {note.state for note in cli_workers.fleet(looking)} == {"quiet"}, 40)
        held = tasks.nap.enqueue(0)
        taken = wait_until(lambda: held.local in lost.take(), 20)
        admin.zadd(lost.keys.workers, {"lost": 1})
        fleet.send(signal.SIGCONT)
        assert taken
        assert held.result(60) > 0
        wait_until(lambda: looking.queue("default").info().workers == 2, 40, "the killed one is replaced")
        info = looking.queue("default").info()
        assert (info.dead, info.scheduled) == (0, 1)
        assert fleet.terminate() == 0, fleet.output()
        assert "refused the login or the command" not in fleet.output(), fleet.output()
    assert denials(admin) == []
    producer.close()
    looking.close()


async def _later(app: Ferryman) -> int:
    try:
        job = await app.tasks["fleet:nap"].aenqueue(0.0)
        return int(await job.aresult(60))
    finally:
        await app.aclose()


@pytest.mark.parametrize("role", ["producer", "dashboard"])
def test_the_doctor_says_what_a_user_is_fit_for(
    role: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    part = Part(guarded, role, prefix, admin)
    (finding,) = doctor_rights.rights(Probe(part.app))
    assert finding.status == "warn"
    assert {"producer": "enqueue and wait for results", "dashboard": "look and change nothing"}[
        role
    ] in finding.what
    left = [key for key in admin.keys(f"{prefix}:{{ferryman-doctor*") if admin.ttl(key) < 0]
    assert left == []
    part.close()


def test_a_worker_s_user_who_lacks_one_right_is_an_error(
    guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    acl.set_user(admin, "worker", [*acl.rules("worker", prefix), "-blpop"])
    part = Part(guarded, "worker", prefix, admin)
    (finding,) = doctor_rights.rights(Probe(part.app))
    assert finding.status == "error"
    assert "BLPOP" in finding.what
    part.close()


@pytest.mark.parametrize("role", ["worker", "operator"])
def test_the_doctor_finds_nothing_to_complain_of_in_who_works(
    role: str, guarded: RedisServer, prefix: str, admin: redis.Redis
) -> None:
    part = Part(guarded, role, prefix, admin)
    assert {finding.status for finding in doctor_rights.rights(Probe(part.app))} == {"ok"}
    assert admin.keys(f"{prefix}:{{ferryman-doctor*") == []
    part.close()


def test_the_doctor_and_the_file_name_the_same_commands() -> None:
    optional = {"INFO", "CONFIG GET", "SLOWLOG GET", "MEMORY USAGE"}  # without them some checks are 'unknown'
    assert acl.commands("operator") - optional == doctor_rights.COMMANDS
    assert acl.commands("worker") - {"INFO"} == doctor_rights.OF_WORKERS
    assert acl.commands("producer") < acl.commands("worker") < acl.commands("operator")
    assert acl.commands("dashboard") < acl.commands("operator")


@pytest.mark.parametrize("how", ["aclfile", "include"])
def test_a_server_takes_the_file_as_its_header_says(how: str, guarded: RedisServer, tmp_path: Path) -> None:
    kind: Kind = guarded.kind
    text = "\n".join(acl.lines("shop")) if how == "aclfile" else acl.text("shop")
    path = tmp_path / "users.acl"
    # The test's own client comes as the default user.
    path.write_text(text.replace("user default off", "user default on nopass ~* &* +@all") + "\n")
    with RedisServer(kind, args=[f"--{how}", str(path)]) as server, server.client() as raw:
        assert set(raw.acl_users()) == {"default", "admin", *acl.ROLES}
        app = Ferryman(url(server, "producer"), prefix="shop")
        app.queue("q").enqueue("x:y")
        assert raw.exists("shop:{q}:jobs")
        app.close()
