"""``memory://``: the same scripts, run by fakeredis inside this process. For unit tests and the testing kit.

Nothing outlives the process and no other process can see it. The same Lua decides here as on a real server,
with two differences: the scripts lose their flags line, which fakeredis does not read, and their clock can be
moved by a test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import redis.exceptions as rx

from ferryman.errors import ConfigurationError, StoreError
from ferryman.store import scripts
from ferryman.store.address import Address
from ferryman.store.connection import explain
from ferryman.store.durability import Durability
from ferryman.store.link import Lane, Numbering
from ferryman.store.scripts import Script
from ferryman.store.sync import Pool
from ferryman.store.transitions import Transition

R = TypeVar("R")

_CLOCK_KEY = "ferryman-test-clock"  # "<ms>": it stands there; "+<ms>": it runs, so much ahead of the real one
_MOVABLE_NOW = f"""
local function now_ms()
  local moved = redis.call('GET', '{_CLOCK_KEY}')
  if moved and string.sub(moved, 1, 1) ~= '+' then
    return tonumber(moved)
  end
  local time = redis.call('TIME')
  local real = time[1] * 1000 + math.floor(time[2] / 1000)
  return moved and real + tonumber(string.sub(moved, 2)) or real
end
"""

_servers: dict[str, Any] = {}
_lock = threading.Lock()


def _server(url: str) -> Any:
    """The fake server that `url` names; ``memory://`` without a name is a new one each time."""
    try:
        import fakeredis
    except ImportError:
        raise ConfigurationError(
            "memory:// needs fakeredis with Lua: pip install 'ferryman[testing]', "
            "or use embedded:// for a real server"
        ) from None
    name = url.partition("://")[2]
    if not name:
        return fakeredis.FakeServer()
    with _lock:
        return _servers.setdefault(name, fakeredis.FakeServer())


class MemoryLane(Lane):
    """A lane whose server lives in this process. Calls are serialised: fakeredis runs one script at a time
    anyway.
    """

    def __init__(self, address: Address, client: Any, lock: threading.RLock) -> None:
        # Not Link.__init__: there is no connection to make.
        Numbering.__init__(self)
        self.address = address
        self.breaks = 0
        self._client = client
        self._lock = lock
        self._known: dict[Script, str] = {}

    def close(self) -> None:
        """Nothing to close."""

    def fileno(self) -> int:
        raise StoreError("memory:// has no socket to wait on")

    def command(self, *words: Any) -> Any:
        try:
            with self._lock:
                reply = self._client.execute_command(*words)
        except rx.RedisError as error:
            raise explain(error, self.address) from error
        return reply

    def begin(self, durability: Durability) -> None:
        """Raises `ConfigurationError`: nothing is durable here."""
        raise ConfigurationError(
            f"memory:// keeps jobs in this process only, so durability {durability.level!r} cannot be had"
        )

    def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        if durability is not None:
            self.begin(durability)
        text = self._known.get(transition.script) or self._movable(transition.script)
        try:
            with self._lock:
                reply = self._client.eval(text, len(transition.keys), *transition.keys, *transition.args)
        except rx.RedisError as error:
            raise explain(error, self.address) from error
        return transition.read(reply)

    def pipeline(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        replies: list[Any] = []
        for transition in transitions:
            try:
                replies.append(self.run(transition))
            except StoreError as error:
                replies.append(error)
        return replies

    def _movable(self, script: Script) -> str:
        source = scripts.read(script.name).split("\n", 1)[1]
        self._known[script] = scripts.resolve(source, {"now": _MOVABLE_NOW})
        return self._known[script]


class MemoryPool(Pool):
    """Lanes into one fake server."""

    def __init__(self, address: Address, *, timeout_s: float, patience_s: float) -> None:
        super().__init__(address, timeout_s=timeout_s, patience_s=patience_s)
        server = _server(address.url)  # first: it says what to install
        import fakeredis

        self.client = fakeredis.FakeStrictRedis(server=server)
        self._serial = threading.RLock()

    def _make(self) -> Lane:
        return MemoryLane(self.address, self.client, self._serial)

    def forget(self) -> None:
        """A fork copies the memory; parent and child go separate ways."""
        super().forget()
        self._serial = threading.RLock()

    # A test may move the clock. It is the scripts' clock: due times, leases and expiry follow it by
    # themselves; TTLs count by the real clock, so each is shortened by the distance of the move.

    def set_clock(self, now_ms: int | None) -> None:
        """Let the clock stand at `now_ms`; None gives the scripts the real clock back."""
        with self._serial:
            before = self.now_ms()
            if now_ms is None:
                self.client.delete(_CLOCK_KEY)
            else:
                self.client.set(_CLOCK_KEY, now_ms)
            self._shorten_ttls(self.now_ms() - before)

    def shift_clock(self, ahead_ms: int) -> None:
        """Let the clock run, `ahead_ms` ahead of the real one (or behind it, if negative)."""
        with self._serial:
            before = self.now_ms()
            self.client.set(_CLOCK_KEY, f"+{ahead_ms}")
            self._shorten_ttls(self.now_ms() - before)

    def now_ms(self) -> int:
        """The scripts' clock."""
        moved = self._clock()
        if moved and not moved.startswith(b"+"):
            return int(moved)
        return int(time.time() * 1000) + int(moved[1:] or 0)

    def clock_stands(self) -> bool:
        """Whether the clock was set to stand."""
        return bool(self._clock()) and not self._clock().startswith(b"+")

    def _clock(self) -> bytes:
        found: Any = self.client.get(_CLOCK_KEY)
        return found or b""

    def _shorten_ttls(self, by_ms: int) -> None:
        found: Any = self.client.keys() if by_ms else ()
        for key in found:
            left: Any = self.client.pttl(key)
            if 0 <= left <= by_ms:
                self.client.delete(key)
            elif left >= 0:
                self.client.pexpire(key, left - by_ms)
