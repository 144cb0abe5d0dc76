"""The jobs that a schedule makes: their ids, which follow from the tick, and their envelopes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ferryman import envelope
from ferryman.schedules.definition import Definition
from ferryman.store.scheduling import KEEP_RUNS, Entry

SHORTEST_KEPT_MS = 3_600_000
LONGEST_KEPT_MS = 7 * 86_400_000


def local_of(name: str, nominal_ms: int) -> str:
    """The id of a tick's job in its queue: the same whoever fires it, so it is enqueued once."""
    moment = datetime.fromtimestamp(nominal_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
    fraction = f".{nominal_ms % 1000:03}" if nominal_ms % 1000 else ""
    return f"{name}:{moment}{fraction}Z"


def kept_ms(definition: Definition, gap_ms: int | None) -> int:
    """How long it stays known how a job ended: for as many ticks as the history shows, within bounds.
    `gap_ms` is the distance of two ticks.
    """
    shown = LONGEST_KEPT_MS if gap_ms is None else gap_ms * KEEP_RUNS
    return max(min(max(shown, SHORTEST_KEPT_MS), LONGEST_KEPT_MS), definition.unless_fresh_ms)


def entry(
    definition: Definition,
    nominal_ms: int,
    kind: str,
    now_ms: int,
    *,
    previous_ms: int | None,
    next_ms: int | None,
    local: str | None = None,
    end_ttl_ms: int | None = None,
) -> Entry:
    """The job of one tick, ready to be enqueued."""
    tick: dict[str, Any] = {"schedule": definition.name, "at": nominal_ms, "kind": kind}
    if previous_ms is not None:
        tick["previous"] = previous_ms
    if next_ms is not None:
        tick["next"] = next_ms
    gap_ms = next_ms - nominal_ms if next_ms is not None else None
    ttl_ms = kept_ms(definition, gap_ms) if end_ttl_ms is None else end_ttl_ms
    options: dict[str, Any] = {**definition.options, "tick": tick, "end_ttl": ttl_ms / 1000}
    if definition.expires_ms is not None:
        options["expires"] = now_ms + definition.expires_ms
    letter = envelope.Envelope(
        envelope.VERSION, definition.task, msgspec.Raw(definition.args),
        envelope.NO_KWARGS if definition.kwargs is None else msgspec.Raw(definition.kwargs),
        now_ms, options,
    )  # fmt: skip
    return Entry(local or local_of(definition.name, nominal_ms), nominal_ms, kind, envelope.encode(letter))


def priority_of(definition: Definition) -> int | None:
    """The priority of its jobs, where it is not the usual one."""
    options: Mapping[str, Any] = definition.options
    return options.get("priority") or None
