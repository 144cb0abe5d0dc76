"""Tools that pass over a linked folder say nothing about it.

So a fault is planted in each room, to see it found, once.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.checkout import ROOMS, ROOT, attempt, python


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The repository's layout and settings with next to no code, so that a look at all of it is quick."""
    root = tmp_path / "skeleton"
    for folder in ("ferryman", "tests", "tools", *_further_folders()):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").touch()
    for room in ROOMS:
        (root / room).mkdir()
        shutil.copy(ROOT / room / "__init__.py", root / room)
        (root / "ferryman" / room).symlink_to(f"../{room}")
        (root / room / "planted.py").write_text("number: int = 1\n")
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "tools", root / "tools", dirs_exist_ok=True)
    return root


def test_mypy_reports_a_fault_in_each_room_once(skeleton: Path) -> None:
    for room in ROOMS:
        (skeleton / room / "planted.py").write_text('number: int = "no number"\n')
    output = _output_of_a_failure(
        sys.executable, "-m", "mypy", "--cache-dir", skeleton / "cache", cwd=skeleton
    )
    faults = [
        line.split(":")[0] for line in output.splitlines() if "Incompatible types in assignment" in line
    ]
    assert sorted(faults) == [f"ferryman/{room}/planted.py" for room in ROOMS]


def test_ruff_reports_a_fault_in_each_room_once(skeleton: Path) -> None:
    for room in ROOMS:
        (skeleton / room / "planted.py").write_text("from . import nothing\n\n__all__ = ['nothing']\n")
    output = _output_of_a_failure(
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format=concise",
        "--select=TID252",
        cwd=skeleton,
    )
    faults = [line.split(":")[0] for line in output.splitlines() if "TID252" in line]
    assert sorted(faults) == [f"{room}/planted.py" for room in ROOMS]


def test_import_linter_reports_a_room_that_imports_another(skeleton: Path) -> None:
    _plant_store(skeleton)
    (skeleton / "worker" / "planted.py").write_text("import ferryman.dashboard.planted\n")
    output = _output_of_a_failure(Path(sys.executable).with_name("lint-imports"), "--no-cache", cwd=skeleton)
    assert "ferryman.worker.planted -> ferryman.dashboard.planted" in output


def test_import_linter_reports_whoever_but_the_store_imports_redis(skeleton: Path) -> None:
    _plant_store(skeleton)
    (skeleton / "worker" / "planted.py").write_text("import redis.asyncio\n")
    (skeleton / "ferryman" / "store" / "sync.py").write_text("import redis\n")
    output = _output_of_a_failure(Path(sys.executable).with_name("lint-imports"), "--no-cache", cwd=skeleton)
    assert "ferryman.worker.planted may not import redis (line 1)" in output
    assert "ferryman.store.sync may not" not in output


def test_import_linter_reports_a_store_that_imports_more_than_the_leaves(skeleton: Path) -> None:
    _plant_store(skeleton)
    (skeleton / "ferryman" / "errors.py").touch()
    (skeleton / "ferryman" / "novelty.py").touch()
    (skeleton / "ferryman" / "store" / "sync.py").write_text(
        "import ferryman.errors\nimport ferryman.novelty\n"
    )
    output = _output_of_a_failure(Path(sys.executable).with_name("lint-imports"), "--no-cache", cwd=skeleton)
    assert "ferryman.store.sync may not import ferryman.novelty (line 2)" in output
    assert "ferryman.errors" not in output


def test_coverage_counts_the_files_of_each_room(skeleton: Path) -> None:
    lines = [f"import ferryman.{room}.planted" for room in ROOMS]
    (skeleton / "tests" / "test_rooms.py").write_text("\n".join([*lines, "def test_nothing(): pass", ""]))
    output = python("-m", "pytest", "--cov", "-q", "-p", "no:cacheprovider", cwd=skeleton)
    counted = {line.split()[0] for line in output.splitlines() if "planted.py" in line}
    assert counted == {f"{room}/planted.py" for room in ROOMS}


def _plant_store(skeleton: Path) -> None:
    for package in ("store", "cli"):
        (skeleton / "ferryman" / package).mkdir()
        (skeleton / "ferryman" / package / "__init__.py").touch()


def _further_folders() -> list[str]:
    return [name for name in ("benchmarks", "examples") if (ROOT / name).is_dir()]


def _output_of_a_failure(*command: str | Path, cwd: Path) -> str:
    done = attempt(*command, cwd=cwd)
    assert done.returncode != 0, f"{command} found nothing:\n{done.stdout}"
    return done.stdout + done.stderr
