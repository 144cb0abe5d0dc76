"""When a failed job runs again: the `Retry` policy, and the signals a task raises to say so itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from ferryman import chance
from ferryman.errors import InvalidOption

Seconds = float | int | timedelta
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

DEFAULT_LIMIT = 3


def as_seconds(value: Seconds, name: str) -> float:
    """Seconds of a number or a timedelta. Raises `InvalidOption` for negative, non-finite or other values."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**10:
        raise InvalidOption(f"{name} must be a number of seconds >= 0 or a timedelta, not {value!r}")
    return float(value)


_without_jitter: ContextVar[bool] = ContextVar("ferryman_without_jitter", default=False)


@contextlib.contextmanager
def without_jitter() -> Iterator[None]:
    """Within it, every wait is the longest that its policy could draw: for tests, which must not depend on
    chance.
    """
    token = _without_jitter.set(True)
    try:
        yield
    finally:
        _without_jitter.reset(token)


class Signal(Exception):
    """What a task raises to say what shall become of its job. Not an error: no alarm is logged."""


class Retry(Signal):
    """A rule for running a failed job again; raised by a task, the wish for one more attempt.

    As a policy, ``@app.task(retry=Retry(5))`` allows five attempts after the first. The wait before retry *n*
    is, by default, exponential with jitter: a random time between half and the whole of ``base * 2 ** (n -
    1)`` seconds, at most ``max_delay`` ("equal jitter" in M. Brooker, "Exponential Backoff And Jitter",
    2015). ``delay=30`` waits 30 s each time; ``delay=[1, 10, 60]`` walks the list, whose length is then the
    limit unless one is given. ``on`` names the exceptions that are retried (default: all), ``not_on`` those
    that never are; a job whose exception is not retried is dead at once.

    Raised from a task, ``raise Retry(delay=30)`` asks for the next attempt in 30 s, and ``raise Retry()`` for
    the time that the task's policy gives. Either way the attempt counts and the task's limit holds.
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        delay: Seconds | Sequence[Seconds] | None = None,
        base: Seconds = 2.0,
        max_delay: Seconds = 3600.0,
        jitter: bool = True,
        on: ErrorTypes = (),
        not_on: ErrorTypes = (),
        reason: str = "",
    ) -> None:
        super().__init__(reason or "the task asked for a retry")
        listed = None if delay is None else tuple(delay) if isinstance(delay, Sequence) else (delay,)
        if listed is not None and not listed:
            raise InvalidOption("Retry(delay=[]) names no delay: give at least one, or leave it out")
        if limit is None:
            limit = len(listed) if listed is not None and isinstance(delay, Sequence) else DEFAULT_LIMIT
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= 10_000:
            raise InvalidOption(f"Retry(limit) must be a whole number from 0 to 10000, not {limit!r}")
        self.limit = limit
        self.delays = None if listed is None else tuple(as_seconds(item, "Retry(delay)") for item in listed)
        self.base = as_seconds(base, "Retry(base)")
        self.max_delay = as_seconds(max_delay, "Retry(max_delay)")
        self.jitter = bool(jitter)
        self.on = _names(on, "on")
        self.not_on = _names(not_on, "not_on")
        self.reason = reason

    def covers(self, error: BaseException) -> bool:
        """Whether this rule retries after `error` at all. Subclasses count."""
        names = {_name(cls) for cls in type(error).__mro__}
        return not names.intersection(self.not_on) and (not self.on or bool(names.intersection(self.on)))

    def wait_s(self, attempts_made: int) -> float:
        """Seconds to wait after `attempts_made` attempts (1 after the first)."""
        if self.delays is not None:
            return self.delays[min(attempts_made, len(self.delays)) - 1]
        ceiling = min(self.base * 2.0 ** min(attempts_made - 1, 60), self.max_delay)
        return chance.between(ceiling / 2, ceiling) if self.jitter and not _without_jitter.get() else ceiling

    def to_wire(self) -> dict[str, Any]:
        """Plain data for the envelope; `from_wire` reads it back."""
        wire = {
            name: value
            for name, value in self.__dict__.items()
            if value not in ((), "", None) and name != "reason"
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in wire.items()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Retry:
        """The policy that `to_wire` wrote."""
        rule = cls(
            wire["limit"],
            delay=wire.get("delays"),
            base=wire["base"],
            max_delay=wire["max_delay"],
            jitter=wire["jitter"],
        )
        rule.on, rule.not_on = tuple(wire.get("on", ())), tuple(wire.get("not_on", ()))
        return rule

    @classmethod
    def of(cls, value: Retry | int | bool | None) -> Retry:
        """A policy of what ``retry=`` accepts: a `Retry`, a number of retries, True for the usual ones, or
        None/False for none.
        """
        if isinstance(value, Retry):
            return value
        if value is None or value is False:
            return cls(0)
        return cls() if value is True else cls(value)

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, Retry) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.limit, self.delays, self.base))

    def __repr__(self) -> str:
        return f"Retry({', '.join(f'{name}={value!r}' for name, value in self.to_wire().items())})"


class Snooze(Signal):
    """Raised from a task: put the job back and run it later. The attempt does not count.

    ``raise Snooze(60)`` for "not before a minute from now".
    """

    def __init__(self, delay: Seconds, *, reason: str = "") -> None:
        super().__init__(reason or "the task snoozed")
        self.delay_s = as_seconds(delay, "Snooze(delay)")
        self.reason = reason


class Reject(Signal):
    """Raised from a task: this job can never succeed; it is dead at once, whatever attempts are left."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task rejected the job")
        self.reason = reason or "rejected"


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _names(types: ErrorTypes, option: str) -> tuple[str, ...]:
    listed = types if isinstance(types, tuple) else (types,)
    for item in listed:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise InvalidOption(f"Retry({option}=) takes exception classes, not {item!r}")
    return tuple(_name(item) for item in listed)
