"""How do the app's own queues stand, and who laid out their keys?"""

from __future__ import annotations

from typing import Any

from ferryman.doctor_probe import Finding, Probe, bytes_text, counted
from ferryman.errors import StoreError, StoreUnavailable
from ferryman.queue import QueueInfo
from ferryman.store import layout

_OLD_S = 300
_MANY = 1_000_000
_LARGE = 512 * 1024**2


# -- the queues ----------------------------------------------------------------------------------------------


def queues(probe: Probe) -> list[Finding]:
    """Does anything wait in vain?"""
    found: list[Finding] = []
    names = list(probe.app.queues())
    if not names:
        return [Finding("queues", "ok", "no queue has been used yet")]
    for queue in names:
        info = queue.info()
        found += _standing(info)
        found += _orphans(probe, info)
        found += _left_to_newer(probe, info)
        found += _size(probe, info)
    return found or [Finding("queues", "ok", f"{len(names)} in use, none in trouble")]


def _standing(info: QueueInfo) -> list[Finding]:
    name, found = f"queue {info.name}", []
    if info.paused is not None:
        found.append(Finding(name, "warn", f"paused ({info.paused}), {counted(info.queued, 'job')} waiting",
                             f"ferryman queues resume {info.name}"))  # fmt: skip
    elif info.workers == 0 and info.queued + info.scheduled:
        what = f"{counted(info.queued, 'job')} waiting, {info.scheduled} scheduled, and no worker for it"
        found.append(Finding(name, "warn", what, f"ferryman worker MODULE -q {info.name}"))
    elif info.oldest_age_s > _OLD_S:
        found.append(Finding(name, "warn", f"its oldest job has waited for {info.oldest_age_s / 60:.0f} min",
                             "Add workers, or see what they are busy with: ferryman workers"))  # fmt: skip
    if info.dead:
        found.append(
            Finding(name, "warn", counted(info.dead, "dead letter"), f"ferryman failures -q {info.name}")
        )
    return found


def _orphans(probe: Probe, info: QueueInfo) -> list[Finding]:
    """Jobs whose holder has no lease: workers find them within seconds, if there are any workers."""
    keys = probe.app.store.keys(info.name)
    now_ms = probe.app.store.server_ms()
    alive: Any = set(probe.command("ZRANGEBYSCORE", keys.workers, now_ms, "+inf"))
    lost: Any = [holder for holder in probe.command("SMEMBERS", keys.holders) if holder not in alive]
    held = sum(probe.command("SCARD", keys.held(holder.decode())) for holder in lost)
    if not held:
        return []
    return [
        Finding(
            f"queue {info.name}",
            "warn",
            f"{counted(held, 'job')} held by {counted(len(lost), 'lost worker')}",
            "Live workers take them back within seconds."
            if info.workers
            else "Start a worker: it takes them back.",
        )
    ]


def _left_to_newer(probe: Probe, info: QueueInfo) -> list[Finding]:
    """Jobs that older workers cannot read. One that has run since may still be counted for some seconds."""
    keys = probe.app.store.keys(info.name)
    newest: Any = probe.command("ZREVRANGE", keys.newer, 0, 0, "WITHSCORES")
    if not newest:
        return []
    number, version = probe.command("ZCARD", keys.newer), int(float(newest[1]))
    return [
        Finding(
            f"queue {info.name}",
            "warn",
            f"{counted(number, 'job')} of envelope versions up to {version} left to newer workers",
            "Upgrade the workers that `ferryman workers` names: they read none above their own.",
        )
    ]


def releases(probe: Probe) -> list[Finding]:
    """Were these keys laid out by a release with which this one can share them?"""
    keys = probe.app.store.fleet_keys
    stamp = probe.command("GET", keys.format)
    if stamp is None:
        return [Finding("layout", "ok", "nothing has been kept under this prefix yet")]
    try:
        found = layout.verify(layout.read(stamp, keys.format), keys.prefix)
    except StoreError as error:
        return [Finding("layout", "error", str(error), "See docs/upgrades.md.")]
    same = "as this release writes it" if found == layout.OURS else f"this release writes {layout.FORMAT}"
    return [Finding("layout", "ok", f"keys in format {found.format}, {same}")]


def _size(probe: Probe, info: QueueInfo) -> list[Finding]:
    keys = probe.app.store.keys(info.name)
    number = probe.command("HLEN", keys.jobs)
    try:
        size = probe.command("MEMORY", "USAGE", keys.jobs, "SAMPLES", 20) or 0
    except StoreUnavailable:
        raise
    except StoreError:
        size = 0
    found = []
    if number > _MANY or size > _LARGE:
        what = f"{number:,} jobs" + (f", {bytes_text(size)}" if size else "")
        found.append(Finding(f"queue {info.name}", "warn", f"{what} in one queue",
                             "Add workers, or spread the work over several queues."))  # fmt: skip
    causes = probe.command("HLEN", keys.failures)
    if causes > 100_000:
        found.append(Finding(f"queue {info.name}", "warn", f"{causes:,} causes of failure are counted",
                             f"DEL {keys.failures} forgets the counts."))  # fmt: skip
    return found


CHECKS = (releases, queues)
