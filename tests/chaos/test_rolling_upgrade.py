"""A fleet is upgraded under load, whichever comes first, the workers or the producers.

The newer release is a real one: a copy of the package whose envelopes have the next version and one more
field, run by processes of its own beside those of this one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ferryman import envelope
from ferryman.cli import workers
from tests.chaos.conftest import FIGURE
from tests.chaos.scene import CALM_S, Load, Scene
from tests.support import history as judge
from tests.support.fleet import ROOT, Fleet
from tests.support.waiting import wait_until

NEWER = envelope.VERSION + 1
LAST_FIELD = "    options: dict[str, Any] | None = None"
SOON_S = 20.0
"""Within which a newer worker must have begun with what older ones have left: a few seconds, on a machine
that may be ten times slower than usual.
"""


@pytest.fixture(scope="module")
def newer_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the next release of the package."""
    home = tmp_path_factory.mktemp("newer")
    shutil.copytree(ROOT / "ferryman", home / "ferryman", ignore=shutil.ignore_patterns("__pycache__"))
    source = home / "ferryman" / "envelope.py"
    text = source.read_text()
    for old, new in (
        (f"\nVERSION = {envelope.VERSION}\n", f"\nVERSION = {NEWER}\n"),
        (f"{LAST_FIELD}\n", f"{LAST_FIELD}\n    novelty: str = 'new'\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    source.write_text(text)
    return home


@contextmanager
def newer_producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What this process enqueues is of the newer version."""
    with monkeypatch.context() as patched:
        patched.setattr(envelope, "VERSION", NEWER)
        yield


def pids_of(fleet: Fleet) -> set[int]:
    return set(fleet.worker_pids())


def reads(scene: Scene) -> list[int]:
    """What each worker says that it reads."""
    return sorted(note.reads for note in workers.fleet(scene.app))


def assert_nothing_went_wrong(scene: Scene) -> None:
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []
    assert scene.app.queue(scene.queue).info().dead == 0


def milliseconds(chance: Any) -> tuple[float]:
    return (chance.uniform(1, 15),)


def test_workers_first_nothing_is_lost_dead_or_run_twice(
    scene: Scene, newer_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene.fleet(processes=2) as old, Load(scene, scene.tasks.work, milliseconds) as load:
        scene.wait_for_runs(50)
        with scene.fleet(processes=2, home=newer_release) as new:
            wait_until(lambda: reads(scene) == [envelope.VERSION] * 2 + [NEWER] * 2, CALM_S, "both work")
            scene.wait_for_runs(100)
            assert old.terminate() == 0, old.output()
            with newer_producer(monkeypatch):
                scene.wait_for_runs(100)
                load.stop()
                scene.wait_drained(new)
            newcomers = pids_of(new)
            assert "newer workers" not in old.output()
            assert new.terminate() == 0, new.output()
    assert load.refused == []
    assert_nothing_went_wrong(scene)
    assert {run.pid for run in scene.history().runs} > newcomers


def test_producers_first_newer_jobs_wait_for_newer_workers_and_the_others_go_on(
    scene: Scene, newer_release: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    with scene.fleet(processes=2) as old:
        veterans = pids_of(old)
        with newer_producer(monkeypatch):
            early = dict(scene.enqueue_one(scene.tasks.work, 1) for _ in range(80))
        with Load(scene, scene.tasks.work, milliseconds) as load:
            scene.wait_for_runs(200)  # what is newer stands in nobody's way
            wait_until(lambda: scene.command("ZCARD", scene.keys.newer) == len(early), CALM_S, "all are left")
            assert {job.info().attempt for job in early.values()} == {0}
            with scene.fleet(processes=1, home=newer_release) as new:
                joined = time.monotonic()
                newcomers = pids_of(new)
                wait_until(lambda: early.keys() & scene.history().finished(), SOON_S, "they are summoned")
                waited_s = time.monotonic() - joined
                record_property(FIGURE, f"first newer job {waited_s:.2f} s after a newer worker had joined")
                wait_until(lambda: early.keys() <= scene.history().finished(), CALM_S, "all have run")
                with newer_producer(monkeypatch):  # both kinds of workers, and only one that can
                    late = dict(scene.enqueue_one(scene.tasks.work, 1) for _ in range(80))
                wait_until(lambda: late.keys() <= scene.history().finished(), CALM_S, "those as well")
                assert old.terminate() == 0, old.output()
                said = old.output().count("jobs of envelope version")
                assert 1 <= said <= len(veterans), "once a process and queue"
                scene.wait_for_runs(20)
                load.stop()
                scene.wait_drained(new)
                assert new.terminate() == 0, new.output()
    assert load.refused == []
    assert_nothing_went_wrong(scene)
    runs = scene.history().runs
    assert {run.pid for run in runs if run.number in early.keys() | late.keys()} <= newcomers
    assert veterans <= {run.pid for run in runs}
