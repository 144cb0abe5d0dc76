"""Processes that fork after they have enqueued never share a socket, and every job is there once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from ferryman import Ferryman
from tests.support.hand import Hand
from tests.support.server import RedisServer, _guard, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
REQUESTS = 240

GUNICORN = [
    sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--threads", "4", "--worker-class",
    "gthread", "--bind", "127.0.0.1:{port}", "--no-control-socket", "tests.support.web:application",
]  # fmt: skip
UWSGI = [
    str(Path(sys.executable).with_name("uwsgi")), "--http-socket", "127.0.0.1:{port}", "--master",
    "--processes", "3", "--threads", "4", "--enable-threads", "--die-on-term", "--module",
    "tests.support.web:application",
]  # fmt: skip
SERVERS = pytest.mark.parametrize("command", [GUNICORN, UWSGI], ids=["gunicorn --preload", "uWSGI"])


@pytest.fixture(scope="module")
def tcp() -> Iterator[RedisServer]:
    """A server on a port: TCP connections tell by their ports who holds them."""
    with RedisServer(tcp=True) as running:
        yield running


@contextmanager
def web(command: list[str], url: str, prefix: str) -> Iterator[tuple[int, int]]:
    """The web server under test: its process and its port."""
    port = free_port()
    environment = {**os.environ, "FERRYMAN_TEST_WEB": "1", "FERRYMAN_URL": url, "FERRYMAN_PREFIX": prefix}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [word.format(port=port) for word in command],
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        _guard.tell(f"+{process.pid}")
        try:
            wait_until(lambda: process.poll() is not None or answers(port), 60, "it listens")
            output.seek(0)
            assert process.poll() is None, output.read().decode()
            yield process.pid, port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)
            _guard.tell(f"-{process.pid}")


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def sockets(pid: int, port: int) -> set[int]:
    """This process's ends of connections to `port`, by their own ports."""
    return {
        link.laddr.port
        for link in psutil.Process(pid).net_connections("tcp")
        if link.raddr and link.raddr.port == port
    }


@SERVERS
def test_a_forking_web_server_s_processes_share_no_socket_and_enqueue_each_job_once(
    command: list[str], tcp: RedisServer, prefix: str
) -> None:
    assert tcp.port is not None
    if not os.path.exists(command[0]):
        pytest.skip("there is no wheel of uWSGI for this Python")
    looking = Ferryman(tcp.url, prefix=prefix)
    with web(command, tcp.url, prefix) as (master, port), ThreadPoolExecutor(24) as pool:
        paths = ["/async" if number % 4 == 0 else "/" for number in range(REQUESTS)]
        replies = list(pool.map(lambda path: get(port, path), paths))
        ids = [reply["found"] for reply in replies]
        assert len(set(ids)) == REQUESTS
        assert looking.queue("web").info().queued == REQUESTS + 1, "none lost, none twice, and the master's"
        served = Counter(reply["pid"] for reply in replies)
        assert len(served) >= 2, f"several processes serve: {served}"
        held = {pid: sockets(pid, tcp.port) for pid in {master, *served}}
        shared = [
            port
            for port, count in Counter(port for ends in held.values() for port in ends).items()
            if count > 1
        ]
        assert shared == [], held
        # Results, too, are heard of in each process by itself.
        waiting = [pool.submit(get, port, "/wait") for _ in range(12)]
        hand = Hand(looking, "web")
        local = next(local for local in hand.take(1000) if f"{local}@web" not in ids)
        hand.finish(local, 6, task="web:note")
        assert {reply.result(60)["found"] for reply in waiting} == {"6"}
        held = {pid: sockets(pid, tcp.port) for pid in {master, *served}}
        assert max(Counter(port for ends in held.values() for port in ends).values()) == 1
    looking.close()


def _child(app: Ferryman, count: int, face: str, port: int, found: Any) -> None:
    """What a forked child does: enqueue, and tell which sockets it has."""
    task = app.tasks["note"]

    async def several() -> None:
        await asyncio.gather(*(task.aenqueue(number) for number in range(count)))
        found.put((os.getpid(), sockets(os.getpid(), port)))
        await app.aclose()

    if face == "async":
        asyncio.run(several())
    else:
        for number in range(count):
            task.enqueue(number)
        found.put((os.getpid(), sockets(os.getpid(), port)))


@pytest.mark.parametrize("face", ["sync", "async"])
def test_children_forked_while_threads_and_loops_enqueue_have_sockets_of_their_own(
    face: str, tcp: RedisServer, prefix: str
) -> None:
    assert tcp.port is not None
    app = Ferryman(tcp.url, prefix=prefix)
    app.task(queue="q", name="note")(abs)
    stop, made, errors = threading.Event(), Counter[str](), []

    def busy(name: str) -> None:
        async def on_a_loop() -> None:
            while not stop.is_set():
                await app.tasks["note"].aenqueue(1)
                made[name] += 1
            await app.aclose()

        try:
            if name.startswith("loop"):
                asyncio.run(on_a_loop())
            while not stop.is_set():
                app.tasks["note"].enqueue(1)
                made[name] += 1
        except Exception as error:  # noqa: BLE001 (the test's thread reports it)
            errors.append(error)

    threads = [threading.Thread(target=busy, args=(name,)) for name in ("loop", "one", "two")]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(made[name] for name in ("loop", "one", "two")) > 20, 30)
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    children = [context.Process(target=_child, args=(app, 20, face, tcp.port, found)) for _ in range(4)]
    for child in children:
        child.start()
    own = dict(found.get() for _ in children)
    for child in children:
        child.join(60)
    ours = sockets(os.getpid(), tcp.port)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert errors == []
    assert app.queue("q").info().queued == sum(made.values()) + 4 * 20
    used = [ends - ours for ends in own.values()]
    assert all(used), "each child has opened connections of its own"
    assert sum(map(len, used)) == len(set.union(*used)), "and no two children share one"
    app.close()


def test_what_a_child_inherits_it_never_speaks_on(tcp: RedisServer, prefix: str) -> None:
    """The parent's connections see no command of the child: their clients' counts stand still."""
    app = Ferryman(tcp.url, prefix=prefix)
    app.task(queue="q", name="note")(abs)
    app.tasks["note"].enqueue(1)
    with tcp.client() as admin:
        before = _spoken(admin)
        context = multiprocessing.get_context("fork")
        found = context.SimpleQueue()
        child = context.Process(target=_child, args=(app, 10, "sync", tcp.port, found))
        child.start()
        found.get()
        child.join(60)
        assert child.exitcode == 0
        after = _spoken(admin)
    assert {name: after[name] for name in before if name in after} == before
    app.tasks["note"].enqueue(1)
    assert app.queue("q").info().queued == 12
    app.close()


def _spoken(admin: redis.Redis) -> dict[str, str]:
    """How long each connection but ours has been silent is no matter; how much it has said is."""
    clients: Any = admin.client_list()
    mine = admin.client_id()
    return {one["addr"]: one["tot-net-in"] for one in clients if int(one["id"]) != mine}
