"""`examine`: is this Redis fit to hold jobs, may we do what we need, how do the queues stand, what is set?

The checks are plain functions from a `Probe` to findings, in `doctor_server` (the server),
`doctor_rights` (what we may do) and `doctor_jobs` (queues). Nothing is changed but a throwaway queue,
which is removed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ferryman import doctor_jobs, doctor_rights, doctor_server
from ferryman.doctor_probe import Finding, Probe
from ferryman.errors import FerrymanError, StoreError
from ferryman.settings import Settings, names
from ferryman.store import Link
from ferryman.store.address import mask

if TYPE_CHECKING:
    from ferryman.app import Ferryman

Check = Callable[[Probe], list[Finding]]
CHECKS: tuple[Check, ...] = (*doctor_server.CHECKS, *doctor_rights.CHECKS, *doctor_jobs.CHECKS)
OF_EACH_SERVER: frozenset[Check] = frozenset(
    {
        doctor_server.version,
        doctor_server.eviction,
        doctor_server.memory,
        doctor_server.persistence,
        doctor_server.replication,
        doctor_server.clock,
        doctor_server.clients,
        doctor_server.slow_scripts,
    }
)
"""What is asked of each primary of a cluster; the clock too, since each keeps its own queues' times."""


@dataclass(frozen=True, slots=True)
class SettingShown:
    """One setting, fit to be shown: secrets are masked."""

    name: str
    value: Any
    source: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `examine` found."""

    url: str
    findings: tuple[Finding, ...]
    settings: tuple[SettingShown, ...]

    @property
    def fit(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.status != "error" for finding in self.findings)


def examine(app: Ferryman, checks: Iterable[Check] = CHECKS) -> Report:
    """Look at the app's Redis, queues and settings. Takes a second or two; never raises for what it finds."""
    return Report(mask(app.settings.url), tuple(_findings(app, checks)), tuple(settings_shown(app.settings)))


def _findings(app: Ferryman, checks: Iterable[Check]) -> list[Finding]:
    try:
        kind = app.store.address.kind
    except FerrymanError as error:
        return [Finding("url", "error", str(error), "Mend the setting url.")]
    if kind == "memory":
        return [Finding("reachable", "ok", "memory:// keeps jobs in this process alone: for tests")]
    probe = Probe(app)
    try:
        found = doctor_server.reachable(probe)
    except FerrymanError as error:  # an embedded server that cannot start, a server that answers nonsense
        return [Finding("reachable", "error", str(error))]
    if found[0].status == "error":
        return found
    for check in checks:
        if kind == "cluster" and check in OF_EACH_SERVER:
            found += _of_each_server(check, app)
        else:
            found += _carried_out(check, probe)
    return found


def _of_each_server(check: Check, app: Ferryman) -> list[Finding]:
    """What is found of each primary; said once if it is the same of all."""
    found: dict[str, list[Finding]] = {}
    for node in app.store.address.slots.nodes:
        link = Link(app.store.address.node(node), app.store.timeout_s)
        found[f"{node[0]}:{node[1]}"] = _carried_out(check, Probe(app, link))
        link.close()
    known = list(found.values())
    if all([one.status for one in findings] == [one.status for one in known[0]] for findings in known):
        return known[0] if known else []
    return [
        replace(finding, what=f"{where}: {finding.what}")
        for where, findings in found.items()
        for finding in findings
    ]


def _carried_out(check: Check, probe: Probe) -> list[Finding]:
    name = check.__name__.replace("_", " ")
    try:
        return check(probe)
    except StoreError as error:
        return [Finding(name, "unknown", f"could not be checked: {error}")]


def settings_shown(settings: Settings) -> list[SettingShown]:
    """Every setting with its value, where it came from and what it means."""
    fields = Settings.__dataclass_fields__
    shown = []
    for name in names():
        value = getattr(settings, name)
        if fields[name].metadata["secret"]:
            value = mask(value) if name == "url" else ("***" if value else "")
        shown.append(
            SettingShown(
                name, value, settings.sources.get(name, "default"), str(fields[name].metadata["meaning"])
            )
        )
    return shown
