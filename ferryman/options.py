"""What can be said of a task, and of one call of it: the options, checked and in one form.

A task's options are its defaults; a call's options override them for one job. Only what a call overrides
travels with the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypedDict

import msgspec

from ferryman import ids
from ferryman.errors import InvalidOption
from ferryman.retry import Retry, Seconds, as_seconds
from ferryman.store.durability import Durability

PRIORITIES = range(-1000, 1001)
_LONGEST_S = 3650 * 86_400.0


class CallOptions(TypedDict, total=False):
    """Keyword arguments of ``task.options(...)`` and, but for the last three, of ``@app.task(...)``."""

    queue: str
    """Where the job waits."""
    retry: Retry | int | bool | None
    """When a failed job runs again; a number is short for ``Retry(number)``, None or False for never."""
    timeout: Seconds | None
    """How long one attempt may run."""
    result_ttl: Seconds
    """How long the result is kept after success; 0 keeps none."""
    expires: Seconds
    """A job that no worker took within this time after it was enqueued is not run."""
    priority: int
    """Within the queue: above 0 goes before those without, below 0 after them; -1000 to 1000."""
    meta: Mapping[str, Any]
    """Plain data that travels with the job: for the task to read, and for people."""
    tags: list[str] | tuple[str, ...]
    """Words to find the job by."""
    duration: Seconds
    """Expected run time, for a queue in order ``shortest``; learned when not given."""
    durability: Durability | str
    """What must be true before the call returns: ``memory``, ``replicated``, ``fsync`` (see `Durability`)."""
    delay: Seconds
    """Run no sooner than this much later."""
    at: datetime
    """Run no sooner than this moment; must be aware of its time zone."""
    id: str
    """The job's id in its queue, chosen by you: enqueueing it again does nothing while the job exists, or for
    as long as its success is on record (``result_ttl``).
    """


class TaskOptions(TypedDict, total=False):
    """Keyword arguments of ``@app.task(...)``."""

    queue: str
    retry: Retry | int | bool | None
    timeout: Seconds | None
    result_ttl: Seconds
    expires: Seconds
    priority: int
    meta: Mapping[str, Any]
    tags: list[str] | tuple[str, ...]
    duration: Seconds
    durability: Durability | str


CALL_ONLY = CallOptions.__annotations__.keys() - TaskOptions.__annotations__.keys()
"""Options that a task cannot have as defaults."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options in their checked form. `given` names those that a call set and that travel with its job."""

    queue: str
    retry: Retry
    timeout_s: float | None = None
    result_ttl_s: float = 0.0
    expires_s: float | None = None
    priority: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    duration_s: float | None = None
    durability: Durability | None = None
    delay_s: float | None = None
    at_ms: int | None = None
    local: str | None = None
    given: frozenset[str] = frozenset()

    def override(self, **call: Any) -> Options:
        """These options with those of a call on top. Raises `InvalidOption`."""
        changes: dict[str, Any] = {}
        for name, value in call.items():
            check = _CHECKS.get(name)
            if check is None:
                raise InvalidOption(f"there is no option {name!r}; there are {', '.join(sorted(_CHECKS))}")
            changes.update(check(value))
        found = replace(self, **changes, given=self.given | changes.keys())
        if found.delay_s is not None and found.at_ms is not None:
            raise InvalidOption("give either delay= or at=, not both: they say the same thing in two ways")
        return found

    def due(self) -> str:
        """When the job may run, as the enqueue script reads it."""
        if self.at_ms is not None:
            return str(self.at_ms)
        return f"+{int(self.delay_s * 1000)}" if self.delay_s else ""

    def to_wire(self, now_ms: int) -> dict[str, Any] | None:
        """What travels: the options that a call set and a worker needs to know. None when there are none."""
        wire: dict[str, Any] = {}
        given = self.given
        if "timeout_s" in given:
            wire["timeout"] = self.timeout_s
        if "retry" in given:
            wire["retry"] = self.retry.to_wire()
        if "result_ttl_s" in given:
            wire["result_ttl"] = self.result_ttl_s
        if self.expires_s is not None:  # counts from now, so it travels even if it is the task's own
            start = self.at_ms if self.at_ms is not None else now_ms + int((self.delay_s or 0) * 1000)
            wire["expires"] = max(start, now_ms) + int(self.expires_s * 1000)
        if "meta" in given and self.meta:
            wire["meta"] = dict(self.meta)
        if "tags" in given and self.tags:
            wire["tags"] = list(self.tags)
        if self.priority:
            wire["priority"] = self.priority
        return wire or None


def _seconds(field_name: str, option: str, optional: bool = False) -> Any:
    def check(value: Any) -> dict[str, Any]:
        if value is None and optional:
            return {field_name: None}
        seconds = as_seconds(value, option)
        if seconds > _LONGEST_S:
            raise InvalidOption(f"{option}={value!r} is longer than ten years")
        return {field_name: seconds}

    return check


def _timeout(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = _seconds("timeout_s", "timeout", optional=True)(value)
    if found["timeout_s"] == 0:
        raise InvalidOption("timeout=0 would end every attempt before it begins; None means no timeout")
    return found


def _queue(value: Any) -> dict[str, Any]:
    return {"queue": ids.check_queue(value)}


def _retry(value: Any) -> dict[str, Any]:
    return {"retry": Retry.of(value)}


def _priority(value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or value not in PRIORITIES:
        raise InvalidOption(
            f"priority={value!r} must be a whole number from -1000 to 1000 (higher runs first)"
        )
    return {"priority": value}


def _at(value: Any) -> dict[str, Any]:
    if not isinstance(value, datetime):
        raise InvalidOption(f"at= takes a datetime with a time zone, not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidOption(
            f"at={value.isoformat()} has no time zone, so it names no moment: "
            "use datetime.now(timezone.utc), or .replace(tzinfo=ZoneInfo('Europe/Berlin'))"
        )
    return {"at_ms": max(int(value.timestamp() * 1000), 0)}


def _durability(value: Any) -> dict[str, Any]:
    return {"durability": Durability.of(value)}


def _local(value: Any) -> dict[str, Any]:
    return {"local": ids.check_local(value)}


def _meta(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidOption(f"meta= takes a mapping with text keys, not {type(value).__name__}")
    return {"meta": _travelling("meta", dict(value))}


def _tags(value: Any) -> dict[str, Any]:
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(tag, str) and 0 < len(tag) <= 100 for tag in value
    ):
        raise InvalidOption("tags= takes a list of words of 1 to 100 characters")
    return {"tags": _travelling("tags", tuple(value))}


def _travelling(option: str, value: Any) -> Any:
    try:
        msgspec.msgpack.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidOption(f"{option}= holds something that cannot travel with a job: {error}") from None
    return value


_CHECKS: dict[str, Any] = {
    "queue": _queue,
    "retry": _retry,
    "timeout": _timeout,
    "result_ttl": _seconds("result_ttl_s", "result_ttl"),
    "expires": _seconds("expires_s", "expires", optional=True),
    "priority": _priority,
    "meta": _meta,
    "tags": _tags,
    "duration": _seconds("duration_s", "duration"),
    "durability": _durability,
    "delay": _seconds("delay_s", "delay"),
    "at": _at,
    "id": _local,
}
