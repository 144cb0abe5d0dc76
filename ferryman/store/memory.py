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
from ferryman.store.connection import Address, explain
from ferryman.store.scripts import Script
from ferryman.store.sync import Lane, Pool
from ferryman.store.transitions import Transition

R = TypeVar("R")

_CLOCK_KEY = "ferryman-test-clock"
_MOVABLE_NOW = f"""
local function now_ms()
  local moved = redis.call('GET', '{_CLOCK_KEY}')
  if moved then
    return tonumber(moved)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
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
        # Not Lane.__init__: there is no connection to make.
        self.address = address
        self._client = client
        self._lock = lock
        self._last = 0
        self.name = f"memory-{id(self):x}"
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

    def run(self, transition: Transition[R]) -> R:
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
        import fakeredis

        self.client = fakeredis.FakeStrictRedis(server=_server(address.url))
        self._serial = threading.RLock()

    def _make(self) -> Lane:
        return MemoryLane(self.address, self.client, self._serial)

    def forget(self) -> None:
        """A fork copies the memory; parent and child go separate ways."""
        super().forget()
        self._serial = threading.RLock()

    def set_clock(self, now_ms: int | None) -> None:
        """Let the scripts believe that it is `now_ms`; None gives them the real clock back."""
        if now_ms is None:
            self.client.delete(_CLOCK_KEY)
        else:
            self.client.set(_CLOCK_KEY, now_ms)

    def now_ms(self) -> int:
        """The scripts' clock."""
        moved = self.client.get(_CLOCK_KEY)
        return int(moved) if moved else int(time.time() * 1000)
