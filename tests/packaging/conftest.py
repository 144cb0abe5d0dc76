"""A clean copy of the repository, and what is built from it, once for all test processes."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.checkout import copy_of_the_checkout, python


@dataclass(frozen=True)
class Distributions:
    """What a release consists of."""

    source: Path
    wheel: Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's files, links kept."""
    return copy_of_the_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """An sdist of the repository, and a wheel that was built from the unpacked sdist."""
    # Under xdist this directory's parent is common to all test processes: the first builds, the others wait.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    dist = shared / "packaging-dist"
    with open(shared / "packaging-dist.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not dist.exists():
            _build(tmp_path_factory.mktemp("packaging"), dist)
    (source,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    return Distributions(source, wheel)


def _build(workshop: Path, dist: Path) -> None:
    checkout = copy_of_the_checkout(workshop / "checkout")
    python("-m", "build", "--no-isolation", "--outdir", workshop / "dist", checkout, cwd=workshop)
    (workshop / "dist").rename(dist)
