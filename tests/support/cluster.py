"""A cluster of masters and replicas on loopback ports that were free, and what operators do to one.

    with Cluster() as cluster:                               # 3 masters with a replica each
        cluster.url                                          # of one node; clients find the others
        slot = cluster.slot_of("orders")                     # where everything tagged {orders} is
        cluster.failover(cluster.master_of(slot))            # in good order: the replica takes over
        cluster.kill_master(slot)                            # and wait until the replica was elected
        cluster.reshard(slot, cluster.others(slot)[0])       # SETSLOT, MIGRATE, SETSLOT, as redis-cli does it
        cluster.reshard(slot, cluster.others(slot)[0], atomic=True)       # CLUSTER MIGRATESLOTS of Valkey 9

Everything lives under temporary directories and is ended by its process id, however the test ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from types import TracebackType
from typing import Any, NamedTuple, Self

import redis
from redis.crc import key_slot

from tests.support.access import OPEN, Access
from tests.support.server import Kind, RedisServer, free_port, start_together
from tests.support.waiting import wait_until

SLOTS = 16384
READY_S = 100.0
_TROUBLE = (redis.RedisError, OSError)
_MIGRATE_TIMEOUT_MS = 10_000


class Seen(NamedTuple):
    """What one node believes of a node."""

    port: int
    flags: frozenset[str]
    follows: str
    """The id of its master; ``-`` for a master."""
    connected: bool
    slots: frozenset[int]


class Node(RedisServer):
    """One node of a cluster, with a bus port of its own choice (port + 10000 may not exist)."""

    def __init__(
        self, kind: Kind, args: Sequence[str], access: Access, *, aof: bool, node_timeout_ms: int
    ) -> None:
        self._bus_of = (0, 0)
        self._timeout_ms = node_timeout_ms
        super().__init__(kind, tcp=True, aof=aof, args=args, access=access)
        self.id = str(self.ask("CLUSTER", "MYID").decode())
        """Its name in the cluster."""

    def _command(self) -> list[str]:
        assert self.port is not None
        if self._bus_of[0] != self.port:
            self._bus_of = (self.port, free_port())
        return [
            *super()._command(), "--cluster-enabled", "yes", "--cluster-port", str(self._bus_of[1]),
            "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", str(self._timeout_ms),
            "--cluster-announce-ip", "127.0.0.1", "--cluster-replica-validity-factor", "0",
            "--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0",
        ]  # fmt: skip

    @property
    def bus_port(self) -> int:
        """Where the nodes gossip."""
        return self._bus_of[1]

    def ask(self, *words: Any) -> Any:
        """One command to this node itself, whatever the cluster thinks of it; the reply as it came."""
        with self.admin(socket_timeout=30, protocol=2) as client:
            raw: Any = client
            return raw.execute_command(*words)

    def view(self) -> dict[str, Seen]:
        """What it knows of every node, by id."""
        found = {}
        for line in self.ask("CLUSTER", "NODES").decode().splitlines():
            words = line.split()
            slots: set[int] = set()
            for item in words[8:]:
                if not item.startswith("["):
                    first, _, last = item.partition("-")
                    slots |= set(range(int(first), int(last or first) + 1))
            port = int(words[1].rpartition(":")[2].partition("@")[0])
            flags = frozenset(words[2].split(",")) - {"myself"}
            found[words[0]] = Seen(port, flags, words[3], words[7] == "connected", frozenset(slots))
        return found

    def healthy(self) -> bool:
        """Whether it says that the cluster is."""
        return b"cluster_state:ok" in self.ask("CLUSTER", "INFO")

    def migrations(self) -> dict[str, str]:
        """The atomic moves of slots that it remembers (Valkey 9): name -> state."""
        jobs = [
            dict(zip(job[::2], job[1::2], strict=True)) for job in self.ask("CLUSTER", "GETSLOTMIGRATIONS")
        ]
        return {job[b"name"].decode(): job[b"state"].decode() for job in jobs}

    def following(self) -> bool:
        """Whether it is a master, or a replica that has all that its master has."""
        role = self.ask("ROLE")
        return bool(role[0] == b"master" or role[3] == b"connected")


class Cluster:
    """All nodes: started by construction, ready to be used, removed by `stop`."""

    def __init__(
        self,
        kind: Kind = "valkey",
        *,
        masters: int = 3,
        replicas: int = 1,
        access: Access = OPEN,
        aof: bool = False,
        args: Sequence[str] = (),
        node_timeout_ms: int = 2000,
    ) -> None:
        """`replicas` is the number for each master. `node_timeout_ms`: how long a node is silent before the
        others believe that it is gone.
        """
        self.access = access
        self.nodes: list[Node] = []
        """The masters first, each with the slots of its share; then their replicas, in the same order."""
        self.killed: list[Node] = []
        """The nodes that `kill_master` killed, in order."""
        try:
            make = partial(Node, kind, args, access, aof=aof, node_timeout_ms=node_timeout_ms)
            start_together(self.nodes, [make] * (masters * (1 + replicas)))
            self._join(masters)
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def _join(self, masters: int) -> None:
        leaders, followers = self.nodes[:masters], self.nodes[masters:]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(leaders):
            first, last = number * SLOTS // masters, (number + 1) * SLOTS // masters - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        # Everybody to everybody: gossip alone would take seconds to spread the news.
        for one, other in permutations(self.nodes, 2):
            one.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        ids = {node.id for node in self.nodes}
        self._wait(lambda: all(set(node.view()) == ids for node in self.nodes), "all have met")
        for number, node in enumerate(followers):
            node.ask("CLUSTER", "REPLICATE", leaders[number % masters].id)

    # -- looking ---------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the first node that lives, as a plain ``redis://`` or ``rediss://``."""
        return next(node.url for node in self.nodes if node.alive())

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node."""
        return [("127.0.0.1", node.port or 0) for node in self.nodes]

    @staticmethod
    def slot_of(tag: str) -> int:
        """The slot of all keys with the hash tag ``{tag}``: of a queue, by its name."""
        return int(key_slot(tag.encode()))

    def master_of(self, slot: int) -> Node:
        """The node that serves a slot, by the word of the first live node that says so of itself."""
        for node in self.nodes:
            if node.alive() and slot in (seen := node.view()[node.id]).slots and "master" in seen.flags:
                return node
        raise AssertionError(f"nobody serves slot {slot}")

    def masters(self) -> list[Node]:
        """The live nodes that serve slots."""
        return [node for node in self.nodes if node.alive() and "master" in node.view()[node.id].flags]

    def others(self, slot: int) -> list[Node]:
        """The live masters that do not serve a slot: where it could be moved."""
        owner = self.master_of(slot)
        return [node for node in self.masters() if node is not owner]

    def replicas_of(self, master: Node) -> list[Node]:
        """The live nodes that follow a master, by their own word."""
        return [node for node in self.nodes if node.alive() and node.view()[node.id].follows == master.id]

    # -- operations ------------------------------------------------------------------------------------------

    def failover(self, master: Node, timeout: float = READY_S) -> Node:
        """Have a replica of `master` take over in good order, and wait until all agree; the new master."""

        def taken() -> bool:
            if "master" in replica.view()[replica.id].flags:
                return True
            # A request that found no majority in time is forgotten by the replica: ask again.
            replica.ask("CLUSTER", "FAILOVER")
            return False

        replica = self.replicas_of(master)[0]
        wait_until(taken, timeout, lambda: f"the replica takes over\n{self.log()}", ignoring=_TROUBLE)
        self.wait_ready(timeout)
        return replica

    def kill_master(self, slot: int, *, wait: bool = True, timeout: float = READY_S) -> Node:
        """SIGKILL for the master of a slot; the new one, once all agree (the dead one without `wait`)."""
        before = self.master_of(slot)
        before.kill()
        self.killed.append(before)
        if not wait:
            return before
        self.wait_ready(timeout)
        return self.master_of(slot)

    def reshard(self, slot: int, target: Node, *, atomic: bool = False, timeout: float = READY_S) -> None:
        """Move a slot with all its keys while clients use them, and wait until all nodes know.

        `atomic` asks for ``CLUSTER MIGRATESLOTS``, which only Valkey 9 and later have. Otherwise the slot is
        moved key by key, and in between clients meet ASK and TRYAGAIN.
        """
        if atomic:
            self._move_at_once(slot, target, timeout)
        else:
            source = self.start_moving(slot, target)
            while self.move_keys(slot, source, target):
                pass
            self.settle(slot, target)
        self.wait_owner(slot, target, timeout)

    def start_moving(self, slot: int, target: Node) -> Node:
        """The first half of a move: from now on, keys that are not there are asked for at `target`; the
        source.

        Until `settle`, a command on several keys is refused with TRYAGAIN unless all are in one place.
        """
        source = self.master_of(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        return source

    def move_keys(self, slot: int, source: Node, target: Node, limit: int = 100) -> int:
        """Move up to `limit` keys of a slot that is under way; how many were moved."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, limit)
        if keys:
            login = ["AUTH", self.access.password] if self.access.password else []
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, _MIGRATE_TIMEOUT_MS, *login, "KEYS", *keys)
        return len(keys)

    def settle(self, slot: int, target: Node) -> None:
        """The other half of a move: the slot belongs to `target` alone."""
        others = [node for node in self.masters() if node is not target]
        for node in [target, *others]:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _move_at_once(self, slot: int, target: Node, timeout: float) -> None:
        source = self.master_of(slot)
        before = source.migrations()
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)

        def moved() -> bool:
            [state] = {state for name, state in source.migrations().items() if name not in before}
            assert state not in ("failed", "cancelled"), f"the move of slot {slot} {state}\n{self.log()}"
            return state == "success"

        wait_until(moved, timeout, lambda: f"slot {slot} has moved\n{self.log()}", ignoring=_TROUBLE)

    def wait_owner(self, slot: int, owner: Node, timeout: float = READY_S) -> None:
        """Wait until every live node believes that `owner` serves the slot."""
        self._wait(
            lambda: all(slot in node.view()[owner.id].slots for node in self.nodes if node.alive()),
            f"all know who serves slot {slot}",
            timeout,
        )

    def wait_ready(self, timeout: float = READY_S) -> None:
        """Wait until every live node says that the cluster is well, all of them believe the same of every
        live node, and the replicas follow.
        """
        self._wait(self._settled, "all nodes agree", timeout)

    def _settled(self) -> bool:
        alive = [node for node in self.nodes if node.alive()]
        if not all(node.healthy() and node.following() for node in alive):
            return False
        views = [node.view() for node in alive]
        told = [[(view[node.id].flags, view[node.id].slots) for node in alive] for view in views]
        served: frozenset[int] = frozenset().union(*(slots for flags, slots in told[0] if "master" in flags))
        linked = all(view[node.id].connected for view in views for node in alive)
        return linked and len(served) == SLOTS and all(one == told[0] for one in told)

    def _wait(self, condition: Callable[[], bool], message: str, timeout: float = READY_S) -> None:
        wait_until(condition, timeout, lambda: f"{message}\n{self.log()}", ignoring=(*_TROUBLE, KeyError))

    # -- its own life ----------------------------------------------------------------------------------------

    def log(self) -> str:
        """What the nodes wrote, the end of it."""
        return "\n".join(f"-- node {one.port} {one.id}\n{one.log()[-2000:]}" for one in self.nodes)

    def stop(self) -> None:
        """Kill everything and remove the directories. Safe to call twice."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
