"""Each script alone: a whole state before, one call, the whole state after; a call more; and with each of its
keys spoilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ferryman.errors import StoreCorrupt, StoreError
from ferryman.store import Store, Transition, scripts, transitions
from ferryman.store.keys import QueueKeys
from tests.support.samples import NUMBERED, SAMPLES
from tests.support.server import RedisServer
from tests.support.snapshot import Snapshot, assert_one_place, places, snapshot

FAR = 4_000_000_000_000
NAMES = sorted({SAMPLES[sample](QueueKeys("p", "q")).script.name for sample in SAMPLES})


@pytest.fixture
def store(server: RedisServer, prefix: str) -> Iterator[Store]:
    found = Store(server.url, prefix=prefix, timeout_s=5, patience_s=1)
    yield found
    found.close()


def seed(client: redis.Redis, keys: QueueKeys) -> None:
    """A queue with a job in every place, and all that can be known of a job."""
    everywhere = ["r1", "r2", "k1", "k2", "d0", "d1", "t0", "t1", "h1", "h2", "h3", "x1"]
    client.hset(keys.jobs, mapping={local: f"body {local}" for local in everywhere})
    client.lpush(keys.ready, "r1", "g1", "r2")
    client.sadd(keys.ghosts, "g1")
    client.zadd(keys.ranked, {"k1": -5, "k2": 5})
    client.hset(keys.rank, mapping={"k1": -5, "k2": 5, "h2": -6, "h3": -7})
    client.zadd(keys.delayed, {"d0": 1, "d1": FAR})
    client.zadd(keys.newer, {"d1": 2, "gone": 2})
    client.zadd(keys.retries, {"t0": 2, "t1": FAR + 1})
    client.sadd(keys.held("ada"), "h1", "h2", "h3")
    client.hset(keys.cancels, "h3", "60000 ended")
    client.zadd(keys.workers, {"ada": FAR, "bob": 1})
    client.sadd(keys.holders, "ada", "bob")
    client.zadd(keys.dead, {"x1": FAR})
    client.hset(keys.tries, mapping={"h1": 1, "h3": 1, "t0": 1, "t1": 1, "x1": 3})
    client.hset(keys.crashes, mapping={"h1": f"1:{FAR}", "h3": f"1:{FAR}", "t1": f"1:{FAR}"})
    for local in ("h1", "h3", "t0", "t1", "x1"):
        client.rpush(keys.attempts(local), f"attempt of {local}")
    client.sadd(keys.started("ada"), "h1")
    client.hset(keys.failures, "print", 1)
    client.set(keys.timer, f"bob {FAR}")
    client.set(keys.seq, 2)
    client.set(keys.paused, "seeded")
    client.delete(keys.paused)


def flat(state: Snapshot) -> set[tuple[str, Any]]:
    """The state as single facts; moments that the server chose read 'now'."""
    facts: set[tuple[str, Any]] = set()
    for name, value in state.items():
        if isinstance(value, dict):
            facts.update((name, f"{key.decode()}={shown(item)}") for key, item in value.items())
        elif isinstance(value, list):
            facts.add((name, " ".join(shown(item) for item in value)))
        elif isinstance(value, set):
            facts.update((name, shown(item)) for item in value)
        else:
            facts.add((name, shown(value)))
    return facts


def shown(value: Any) -> str:
    if isinstance(value, bytes):
        words = value.decode().replace(":", " : ").split(" ")
        return " ".join(shown(float(word)) if word.isdigit() else word for word in words)
    if 1_500_000_000_000 < value < FAR:
        return "now"
    return "far" if value >= FAR else f"{value:g}"


def change(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """What came (+) and what went (-), by key."""
    found: dict[str, list[str]] = {}
    for sign, facts in (("-", flat(before) - flat(after)), ("+", flat(after) - flat(before))):
        for name, fact in sorted(facts):
            found.setdefault(name, []).append(sign + fact)
    return found


CHANGES: dict[str, dict[str, list[str]]] = {
    "enqueue": {
        "ready": ["-r2 g1 r1", "+j1 r2 g1 r1"],
        "bell": ["+1"],
        "jobs": ["+j1=body"],
        "producer:lanej1": ["+1"],
    },
    "enqueue with a chosen id": {
        "ready": ["-r2 g1 r1", "+j2 r2 g1 r1"],
        "bell": ["+1"],
        "jobs": ["+j2=body"],
        "producer:lanej2": ["+1"],
    },
    "enqueue with a delay": {"delayed": ["+j3=now"], "jobs": ["+j3=body"], "producer:lanej3": ["+1"]},
    "enqueue with a priority": {
        "seq": ["-2", "+3"],
        "bell": ["+1"],
        "jobs": ["+j4=body"],
        "producer:lanej4": ["+1"],
        "rank": ["+j4=-13194139533309"],
        "ranked": ["+j4=-1.31941e+13"],
    },
    "enqueue with a cost": {
        "seq": ["-2", "+3"],
        "bell": ["+1"],
        "jobs": ["+j5=body"],
        "producer:lanej5": ["+1"],
        "rank": ["+j5=131075"],
        "ranked": ["+j5=131075"],
    },
    "fetch": {
        "delayed": ["-d0=1"],
        "ghosts": ["-g1"],
        "ranked": ["-k1=-5", "-k2=5"],
        "ready": ["-r2 g1 r1"],
        "retries": ["-t0=2"],
        "held:ada": ["+d0", "+k1", "+k2", "+r1", "+r2", "+t0"],
    },
    "ack": {
        "attempts:h1": ["-attempt of h1"],
        "crashes": ["-h1=1 : far"],
        "held:ada": ["-h1", "-h2"],
        "jobs": ["-h1=body h1", "-h2=body h2"],
        "rank": ["-h2=-6"],
        "tries": ["-h1=1"],
        "result:h2": ["+result"],
        "started:ada": ["-h1"],
        "stats:29000000": ["+ok:task=2"],
    },
    "retry": {
        "attempts:h1": ["-attempt of h1", "+attempt of h1 record"],
        "held:ada": ["-h1"],
        "retries": ["+h1=now"],
    },
    "snooze": {"held:ada": ["-h1"], "delayed": ["+h1=now"]},
    "defer": {"held:ada": ["-h1"], "delayed": ["+h1=now"], "newer": ["+h1=2"]},
    "summon": {"newer": ["-d1=2", "-gone=2"], "delayed": ["-d1=far"], "held:ada": ["+d1"]},
    "insist": {"durations": ["+task=5"]},
    "bury": {
        "attempts:h1": ["-attempt of h1", "+attempt of h1 record"],
        "crashes": ["-h1=1 : far"],
        "failures": ["-print=1", "+print=2"],
        "held:ada": ["-h1"],
        "dead": ["+h1=now"],
        "stats:29000000": ["+dead:task=1"],
    },
    "release": {
        "held:ada": ["-h1", "-h2"],
        "ready": ["-r2 g1 r1", "+r2 g1 r1 h1"],
        "bell": ["+1"],
        "ranked": ["+h2=-6"],
    },
    "release of a cancelled job": {
        **(
            CANCELLED := {
                "attempts:h3": ["-attempt of h3"],
                "cancels": ["-h3=60000 ended"],
                "crashes": ["-h3=1 : far"],
                "held:ada": ["-h3"],
                "jobs": ["-h3=body h3"],
                "rank": ["-h3=-7"],
                "result:h3": ["+ended"],
                "tries": ["-h3=1"],
            }
        ),
        "held:ada": ["-h1", "-h3"],
        "ready": ["-r2 g1 r1", "+r2 g1 r1 h1"],
        "bell": ["+1"],
    },
    "retry of a cancelled job": {
        **CANCELLED,
        "attempts:h1": ["-attempt of h1", "+attempt of h1 record"],
        "held:ada": ["-h1", "-h3"],
        "retries": ["+h1=now"],
    },
    "burial of a cancelled job": CANCELLED,
    "success of a cancelled job": {
        name: facts for name, facts in CANCELLED.items() if name not in ("attempts:h3", "result:h3")
    },
    "announce": {},
    "drop": {},
    "register": {"holders": ["+eve"], "workers": ["+eve=now"]},
    "heartbeat": {"workers": ["-ada=far", "+ada=now"]},
    "retire": {"holders": ["-bob"], "timer": ["-bob far"], "workers": ["-bob=1"], "bell": ["+1"]},
    "sweep": {"swept": ["+1"]},
    "recover": {
        **CANCELLED,
        "crashes": ["-h1=1 : far", "-h3=1 : far", "+h1=2 : far", "+h2=1 : now"],
        "held:ada": ["-h1", "-h2", "-h3"],
        "holders": ["-ada"],
        "ready": ["-r2 g1 r1", "+r2 g1 r1 h1"],
        "started:ada": ["-h1"],
        "workers": ["-ada=far"],
        "bell": ["+1"],
        "ranked": ["+h2=-6"],
    },
    "reconcile": {},
    "locate": {},
    "cancel": {"delayed": ["-d1=far"], "jobs": ["-d1=body d1"], "result:d1": ["+record"]},
    "cancel of a running job": {"cancels": ["+h1=60000 record"]},
    "revive": {
        "dead": ["-x1=far"],
        "delayed": ["-d1=far"],
        "ready": ["-r2 g1 r1", "+d1 x1 r2 g1 r1"],
        "tries": ["-x1=3"],
        "bell": ["+1"],
    },
    "purge": {"ghosts": ["-g1"], "jobs": ["-r1=body r1", "-r2=body r2"], "ready": ["-r2 g1 r1"]},
    "purge of dead letters": {
        "attempts:x1": ["-attempt of x1"],
        "dead": ["-x1=far"],
        "jobs": ["-x1=body x1"],
        "tries": ["-x1=3"],
    },
    "survey": {},
    "pause": {"paused": ["+deploy"]},
    "resume": {"bell": ["+1"]},
}


for plain in NUMBERED:
    CHANGES[f"numbered {plain}"] = {**CHANGES[plain], "settled:ada": ["+0=7"]}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_call_changes_exactly_this(sample: str, store: Store, client: redis.Redis) -> None:
    keys = store.keys("q")
    seed(client, keys)
    before = snapshot(client, keys)
    store.run(SAMPLES[sample](keys))
    after = snapshot(client, keys)
    assert_one_place(after)
    assert change(before, after) == CHANGES[sample]


SETTLED_BY_ONE_CALL = [sample for sample in SAMPLES if sample not in ("purge", "heartbeat", "sweep")]


@pytest.mark.parametrize("sample", SETTLED_BY_ONE_CALL)
def test_the_same_call_again_changes_nothing(sample: str, store: Store, client: redis.Redis) -> None:
    keys = store.keys("q")
    seed(client, keys)
    transition = SAMPLES[sample](keys)
    store.run(transition)
    before = snapshot(client, keys)
    store.run(transition)
    assert flat(snapshot(client, keys)) == flat(before)


STRINGS = ("producer:", "result:", "timer", "paused", "seq", "swept")


def spoil(client: redis.Redis, keys: QueueKeys, name: str) -> None:
    client.delete(name)
    if name.removeprefix(keys.stem).startswith(STRINGS):
        client.rpush(name, "not ours")
    else:
        client.set(name, "not ours")


WHERE = [
    (sample, number) for sample in SAMPLES for number in range(len(SAMPLES[sample](QueueKeys("p", "q")).keys))
]


@pytest.mark.parametrize("sample,number", WHERE)
def test_a_key_of_the_wrong_type_costs_no_job(
    sample: str, number: int, store: Store, client: redis.Redis
) -> None:
    keys = store.keys("q")
    seed(client, keys)
    transition = SAMPLES[sample](keys)
    spoilt = transition.keys[number]
    spoil(client, keys, spoilt)
    before = snapshot(client, keys)
    try:
        store.run(transition)
    except StoreCorrupt:
        pass
    else:
        return  # it had no need to look at that key, or replaced it
    after = snapshot(client, keys)
    assert after.get("jobs") == before.get("jobs"), "a body came or went"
    del before[spoilt.removeprefix(keys.stem)], after[spoilt.removeprefix(keys.stem)]
    assert places(after).keys() - {b"g1"} == places(before).keys() - {b"g1"}, "a job came or went"
    assert {local: found for local, found in places(after).items() if len(found) != 1} == {}


@pytest.fixture(params=["valkey", "redis"])
def any_server(request: pytest.FixtureRequest) -> RedisServer:
    found: RedisServer = request.getfixturevalue("server" if request.param == "valkey" else "redis_server")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_script_loads_with_and_without_its_flags(name: str, any_server: RedisServer) -> None:
    script = scripts.load(name)
    with any_server.client() as client:
        assert client.script_load(script.flagged) == script.flagged_sha
        assert client.script_load(script.plain) == script.plain_sha


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_server_that_knows_no_flags_does_the_same(sample: str, store: Store, client: redis.Redis) -> None:
    keys, others = store.keys("q"), store.keys("old")
    for one in (keys, others):
        seed(client, one)
    store.run(SAMPLES[sample](keys))
    transition = SAMPLES[sample](others)
    client.eval(transition.script.plain, len(transition.keys), *transition.keys, *transition.args)
    assert flat(snapshot(client, others)) == flat(snapshot(client, keys))


@pytest.mark.parametrize("count", [3500, 9000])
def test_a_call_too_large_for_lua_is_carried_out_whole_or_not_at_all(
    count: int, store: Store, client: redis.Redis
) -> None:
    """Lua's stack takes some 8,000 values. Whoever describes a step with more must not lose half of it."""
    keys = store.keys("q")
    locals_ = [f"n{number:05}" for number in range(count)]
    store.run(transitions.register(keys, "ada", 60_000))
    for part in transitions.batches(locals_):
        jobs: list[str | bytes] = [word for local in part for word in (local, b"body")]
        store.run(transitions.enqueue(keys, "lane", int(part[0][1:]) + 1, jobs))
    fetched = store.run(transitions.fetch(keys, "ada", count))
    assert [local.decode() for local in fetched.ids] == locals_[:3500]
    client.zadd(keys.delayed, {f"d{number:05}": 1 for number in range(count)})
    client.hset(keys.jobs, mapping={f"d{number:05}": b"body" for number in range(count)})
    store.run(transitions.fetch(keys, "ada", 0, budget=count))
    client.delete(keys.timer)  # it may end by itself while this test looks
    steps: list[Transition[Any]] = [
        transitions.release(keys, "ada", locals_),
        transitions.enqueue(keys, "other", 1, [word for local in locals_ for word in (f"x{local}", b"body")]),
        transitions.ack(keys, "ada", locals_),
    ]
    for step in steps:
        before = snapshot(client, keys)
        assert_one_place(before)
        if count <= 3500:
            store.run(step)
        else:
            with pytest.raises(StoreError, match="too many results to unpack"):
                store.run(step)
            assert snapshot(client, keys) == before
        assert_one_place(snapshot(client, keys))
