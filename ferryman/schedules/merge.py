"""What becomes of a schedule that code defines and people change.

The rule: whoever changed a field last has it. A deployment that says what the one before said changes
nothing,
so edits made at run time stay; where it says something new of a field, the new word holds. A pause is lifted,
and a deleted schedule restored, by people only. What a source no longer defines goes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ferryman.errors import FerrymanError
from ferryman.schedules.definition import Definition
from ferryman.schedules.record import Record, effective


def differences(old: Definition, new: Definition) -> dict[str, tuple[Any, Any]]:
    """The fields in which two definitions differ: name -> (old, new)."""
    before, after = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


_TOGETHER = ({"cron", "every_ms", "at_ms", "anchor_ms"}, {"args", "kwargs"})
"""Fields that make sense only together: a change of one takes all."""


def merged(kept: Record, defined: Definition, source: str) -> Record:
    """The record after a source has said (again) what it defines. The same record if that changes nothing."""
    changed = set(differences(kept.base, defined))
    for group in _TOGETHER:
        if changed & group:
            changed |= group
    edits = {name: value for name, value in kept.edits.items() if name not in changed}
    if not changed and kept.source == source:
        return kept
    try:
        effective(defined, edits)
    except FerrymanError:  # the edits do not fit to what is new: the source has the last word
        edits = {}
    return msgspec.structs.replace(kept, base=defined, source=source, edits=edits)


def edited(kept: Record, fields: dict[str, Any]) -> Record:
    """The record after a person has changed fields. Raises `InvalidOption` if the result makes no sense."""
    if not kept.source:  # nobody else defines it
        return msgspec.structs.replace(kept, base=effective(kept.base, fields), edits={})
    base = msgspec.structs.asdict(kept.base)
    edits = {**kept.edits, **fields}
    edits = {name: value for name, value in edits.items() if base.get(name) != value}
    effective(kept.base, edits)
    return msgspec.structs.replace(kept, edits=edits)
