"""A master with replicas, watched by sentinels, on loopback ports that were free.

    with Sentinels() as group:                              # 1 master, 2 replicas, 3 sentinels
        group.addresses, group.name                         # where a client asks, and for whom
        group.failover()                                    # in good order
        group.kill_master()                                 # and wait until another is elected
        group.killed[0].restart()                           # comes back as a replica

Everything lives under temporary directories and is ended by its process id, however the test ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import redis

from tests.support.access import OPEN, Access
from tests.support.server import Kind, RedisServer, start_together
from tests.support.waiting import wait_until

READY_S = 100.0
TRY_AGAIN_S = 15.0
NAME = "ferry"
_TROUBLE = (redis.RedisError, OSError, StopIteration)


class Sentinel(RedisServer):
    """One sentinel. It rewrites its configuration file, and so remembers the master over a restart."""

    def __init__(self, kind: Kind, lines: Sequence[str], access: Access) -> None:
        self._lines = lines
        super().__init__(kind, tcp=True, access=access)

    def _command(self) -> list[str]:
        path = self.directory / "sentinel.conf"
        if not path.exists():
            path.write_text("\n".join(self._lines) + "\n")
        tls = self.access.tls.options() if self.access.tls else []
        return [str(self.binary), str(path), "--sentinel", *self._common_options(), *tls]


class Sentinels:
    """The whole group: started by construction, ready to be used, removed by `stop`."""

    def __init__(
        self,
        kind: Kind = "valkey",
        *,
        replicas: int = 2,
        sentinels: int = 3,
        access: Access = OPEN,
        sentinel_password: str = "",
        aof: bool = False,
        args: Sequence[str] = (),
        down_after_ms: int = 1000,
        failover_timeout_ms: int = 4000,
    ) -> None:
        """`access` is for the data servers, and its TLS for the sentinels too; `sentinel_password` is what
        the sentinels ask of their clients and of one another. `down_after_ms`: how long a master is silent
        before a sentinel believes that it is gone.
        """
        self.name = NAME
        self.access = access
        self.sentinel_password = sentinel_password
        self.servers: list[RedisServer] = []
        """The data servers, whatever role they have just now."""
        self.sentinels: list[Sentinel] = []
        self.killed: list[RedisServer] = []
        """The data servers that `kill_master` killed, in order."""
        try:
            options = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *args]
            master = RedisServer(kind, aof=aof, tcp=True, args=options, access=access)
            self.servers.append(master)
            follow = [*options, "--replicaof", f"127.0.0.1 {master.port}"]
            start_together(
                self.servers,
                [lambda: RedisServer(kind, aof=aof, tcp=True, args=follow, access=access)] * replicas,
            )
            self._wait(self._synced, "the replicas follow")
            watch = [
                f"sentinel monitor {NAME} 127.0.0.1 {master.port} {sentinels // 2 + 1}",
                f"sentinel down-after-milliseconds {NAME} {down_after_ms}",
                f"sentinel failover-timeout {NAME} {failover_timeout_ms}",
                f"sentinel parallel-syncs {NAME} {max(replicas, 1)}",
            ]
            if access.password:
                watch.append(f"sentinel auth-pass {NAME} {access.password}")
            if sentinel_password:
                watch += [f"requirepass {sentinel_password}", f"sentinel sentinel-pass {sentinel_password}"]
            inside = Access(sentinel_password, tls=access.tls)
            start_together(self.sentinels, [lambda: Sentinel(kind, watch, inside)] * sentinels)
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each sentinel."""
        return [("127.0.0.1", sentinel.port or 0) for sentinel in self.sentinels]

    def master(self) -> RedisServer:
        """The data server that is master by the word of the first sentinel that answers."""
        for sentinel in self.sentinels:
            if sentinel.alive():
                with sentinel.admin(socket_timeout=5) as client:
                    raw: Any = client
                    found = raw.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
                    port = int(found[1])
                    return next(server for server in self.servers if server.port == port)
        raise AssertionError("no sentinel lives")

    def replicas(self) -> list[RedisServer]:
        """The other data servers that live."""
        master = self.master()
        return [server for server in self.servers if server is not master and server.alive()]

    # -- operations ------------------------------------------------------------------------------------------

    def failover(self, timeout: float = READY_S) -> RedisServer:
        """Have a replica promoted in good order; the new master, once it is that for everybody."""
        before = self.master()

        def asked() -> bool:
            raw: Any = client
            # Refused for as long as the sentinel has not yet seen that the replicas are well.
            return bool(raw.execute_command("SENTINEL FAILOVER", NAME))

        with next(one for one in self.sentinels if one.alive()).admin(socket_timeout=5) as client:
            until = time.monotonic() + timeout
            while True:
                wait_until(asked, timeout, "the sentinel agrees", ignoring=redis.ResponseError)
                # It may choose a replica that has only just come back, give up, and not try again by itself.
                with contextlib.suppress(AssertionError):
                    return self.wait_other_than(before, TRY_AGAIN_S)
                assert time.monotonic() < until, self.log()

    def kill_master(self, *, wait: bool = True, timeout: float = READY_S) -> RedisServer:
        """SIGKILL for the master; the new one, once it is the master for everybody (the dead one without
        `wait`).
        """
        before = self.master()
        before.kill()
        self.killed.append(before)
        return self.wait_other_than(before, timeout) if wait else before

    def wait_other_than(self, before: RedisServer, timeout: float = READY_S) -> RedisServer:
        """Wait until every live sentinel names another master than `before`, and that one agrees; the new
        one.
        """

        def changed() -> RedisServer | None:
            ports = {self._master_port(sentinel) for sentinel in self.sentinels if sentinel.alive()}
            if len(ports) != 1 or before.port in ports:
                return None
            new = self.master()
            return new if _role(new) == "master" else None

        found = wait_until(changed, timeout, lambda: f"another master\n{self.log()}", ignoring=_TROUBLE)
        assert found is not None
        return found

    def wait_ready(self, timeout: float = READY_S) -> None:
        """Wait until every live server is in its role, and the sentinels know one another and all servers."""
        self._wait(self._synced, "the replicas follow", timeout)
        self._wait(self._known, "the sentinels know everybody", timeout)

    def _master_port(self, sentinel: Sentinel) -> int:
        with sentinel.admin(socket_timeout=5) as client:
            raw: Any = client
            return int(raw.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def _synced(self) -> bool:
        """Whether there is one master and all other live servers follow it without a lag."""
        roles = [_info(server) for server in self.servers if server.alive()]
        masters = [role for role in roles if role["role"] == "master"]
        links = [role["master_link_status"] for role in roles if role["role"] == "slave"]
        return len(masters) == 1 and masters[0]["connected_slaves"] == len(roles) - 1 == links.count("up")

    def _known(self) -> bool:
        for sentinel in (one for one in self.sentinels if one.alive()):
            with sentinel.admin(socket_timeout=5) as client:
                raw: Any = client
                state = raw.sentinel_master(NAME)
                others, replicas = int(state["num-other-sentinels"]), int(state["num-slaves"])
                if (others, replicas) != (len(self.sentinels) - 1, len(self.servers) - 1):
                    return False
                if state["flags"] != "master":
                    return False
                if any(item["flags"] != "slave" for item in raw.sentinel_slaves(NAME) if _lives(self, item)):
                    return False
        return True

    def _wait(self, condition: Any, message: str, timeout: float = READY_S) -> None:
        wait_until(condition, timeout, lambda: f"{message}\n{self.log()}", ignoring=_TROUBLE)

    # -- its own life ----------------------------------------------------------------------------------------

    def log(self) -> str:
        """What the sentinels wrote, the end of it."""
        return "\n".join(f"-- sentinel {one.port}\n{one.log()[-3000:]}" for one in self.sentinels)

    def stop(self) -> None:
        """Kill everything and remove the directories. Safe to call twice."""
        for server in [*self.sentinels, *self.servers]:
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _info(server: RedisServer) -> dict[str, Any]:
    with server.admin(socket_timeout=5) as client:
        found: Any = client.info("replication")
        return dict(found)


def _role(server: RedisServer) -> str:
    return str(_info(server)["role"])


def _lives(group: Sentinels, item: dict[str, Any]) -> bool:
    return any(server.port == int(item["port"]) and server.alive() for server in group.servers)
