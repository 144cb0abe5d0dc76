"""Keeping Redis in step with what a source, an app's code or a file, defines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ferryman.errors import FerrymanError, StoreUnavailable
from ferryman.location import dotted
from ferryman.schedules.definition import Definition
from ferryman.schedules.keeping import Keeper
from ferryman.schedules.merge import differences, merged
from ferryman.schedules.record import Record, decode
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.schedules")


def source_of(app: Ferryman, location: str) -> str:
    """What the code of an app is called as a source: alike whether the location names the app or only its
    module.
    """
    module, _, attribute = location.partition(":")
    name = dotted(module)
    if not attribute:
        members = vars(sys.modules[name])
        attribute = next((key for key, value in members.items() if value is app), "app")
    return f"code:{name}:{attribute}"


@dataclass
class Sync:
    """What a synchronisation has done."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Messages about schedules that were left as they are."""

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {word}"
            for word, names in (
                ("added", self.added), ("changed", self.changed), ("retired", self.retired),
                ("with problems", self.problems),
            )
            if names
        ]  # fmt: skip
        return ", ".join(parts) or "nothing to change"


def sync(
    app: Ferryman, source: str, defined: Mapping[str, Definition], *, keep: Collection[str] = ()
) -> Operation[Sync]:
    """Bring what is kept in line with what `source` defines now; the rule is that of
    `ferryman.schedules.merge`. Schedules that are named in `keep` are neither changed nor retired: their
    definitions could not be read. One schedule's error stops no other.
    """
    keeper, done = Keeper(app), Sync()
    for name, definition in defined.items():
        try:
            yield from _sync_one(keeper, source, definition, done)
        except StoreUnavailable:
            raise
        except FerrymanError as error:
            done.problems.append(f"schedule {name!r}: {error}")
    for queue in (yield from keeper.queues()):
        for name, raw, _, _ in (yield from keeper.scan(queue)):
            if name in defined or name in keep:
                continue
            try:
                if decode(raw).source == source and (yield from keeper.drop(name)):
                    done.retired.append(name)
            except StoreUnavailable:
                raise
            except FerrymanError as error:
                done.problems.append(f"schedule {name!r}: {error}")
    if done.retired:
        yield from keeper.ring()
    return done


def _sync_one(keeper: Keeper, source: str, definition: Definition, done: Sync) -> Operation[None]:
    name, existed = definition.name, False

    def change(record: Record | None) -> Record | None:
        nonlocal existed
        existed = record is not None
        if record is None:
            return Record(base=definition, source=source)
        if not record.source:
            done.problems.append(
                f"schedule {name!r} of {source} is not used: one of that name was added at run time; "
                "remove or rename one of the two"
            )
            return None
        if record.source != source:
            logger.warning("schedule %s came from %s and now comes from %s", name, record.source, source)
        return merged(record, definition, source)

    if (yield from keeper.change(name, change)):
        (done.changed if existed else done.added).append(name)


@dataclass(frozen=True)
class Difference:
    """How one schedule differs between a source and what is kept."""

    name: str
    what: str
    """``missing`` (defined, not kept yet), ``stored only``, ``changed`` (the next synchronisation will),
    ``edited``, ``paused`` or ``removed`` (at run time).
    """
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """name -> (in the source, kept)"""


def difference(app: Ferryman, source: str, defined: Mapping[str, Definition]) -> Operation[list[Difference]]:
    """What `sync` would change, and what people have changed since."""
    keeper, found, seen = Keeper(app), [], set()
    for queue in (yield from keeper.queues()):
        for name, raw, _, _ in (yield from keeper.scan(queue)):
            try:
                record = decode(raw)
                now = record.definition()
            except FerrymanError:
                continue
            seen.add(name)
            if name not in defined:
                found.append(Difference(name, "stored only"))
                continue
            if record.base != defined[name] or record.source != source:
                found.append(Difference(name, "changed", differences(defined[name], record.base)))
            if record.edits:
                found.append(Difference(name, "edited", differences(record.base, now)))
            if record.removed:
                found.append(Difference(name, "removed"))
            elif record.paused:
                found.append(Difference(name, "paused", {"reason": ("", record.paused)}))
    found += [Difference(name, "missing") for name in defined if name not in seen]
    return sorted(found, key=lambda item: item.name)
