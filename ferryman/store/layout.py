"""How the keys of a prefix are laid out: the stamp by which one release knows what another has left there.

The first program that comes writes the stamp, ``<format> <least>``: its own format, and the least that a
program must know to share these keys. A release that only adds keys raises the first number; one whose keys
an older program would misread raises both, and the older program then refuses to start. What is compatible
with what: docs/upgrades.md.
"""

from __future__ import annotations

from typing import NamedTuple

from ferryman.errors import StoreError, StoreIncompatible
from ferryman.store import transitions
from ferryman.store.keys import FleetKeys
from ferryman.store.link import Link
from ferryman.store.sync import Operation

FORMAT = 1
"""The layout that this release writes."""
LEAST = 1
"""The format that a program must know at least to share what this release writes."""
OLDEST = 1
"""The oldest format that this release can work with."""


class Layout(NamedTuple):
    """What the stamp says."""

    format: int
    least: int

    @property
    def stamp(self) -> bytes:
        """As it stands in Redis."""
        return b"%d %d" % self


OURS = Layout(FORMAT, LEAST)


def read(stamp: bytes, key: str) -> Layout:
    """The layout that a stamp names. Raises `StoreError` for what is no stamp."""
    first, _, second = stamp.partition(b" ")
    if not (first.isdigit() and second.isdigit()):
        raise StoreError(
            f"the key {key} holds {stamp[:40]!r}, which is no number of a format: something else writes "
            "under this prefix; choose another prefix"
        )
    return Layout(int(first), int(second))


def verify(found: Layout, prefix: str) -> Layout:
    """`found`, if this release can share it. Raises `StoreIncompatible`."""
    if found.least > FORMAT:
        raise StoreIncompatible(
            f"the keys under the prefix {prefix!r} are laid out in format {found.format}, by a newer "
            f"Ferryman than this one, which knows formats up to {FORMAT}: upgrade this program, or give it "
            "a prefix of its own"
        )
    if found.format < OLDEST:
        raise StoreIncompatible(
            f"the keys under the prefix {prefix!r} are laid out in format {found.format}, by an older "
            f"Ferryman than this one, which knows formats from {OLDEST} on: let workers of the older release "
            "empty the queues, or begin under another prefix"
        )
    return found


def checking(keys: FleetKeys) -> Operation[Layout]:
    """Read the stamp, or leave ours where there is none. Raises `StoreIncompatible`."""
    stamp = yield ("GET", keys.format)
    if stamp is None:
        yield transitions.insist(keys.format, "SET", OURS.stamp, "NX")
        stamp = yield ("GET", keys.format)
    return verify(read(stamp or OURS.stamp, keys.format), keys.prefix)


def check(link: Link, keys: FleetKeys) -> Layout:
    """As `checking`, over one connection."""
    operation = checking(keys)
    step = next(operation)
    try:
        while True:
            step = operation.send(link.command(*step) if isinstance(step, tuple) else link.run(step))
    except StopIteration as end:
        found: Layout = end.value
        return found
