"""What is shipped is what is in the tree: all of it, and nothing beside it."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from tests.packaging.checkout import IMPORT_EVERYTHING, ROOMS, ROOT, python
from tests.packaging.conftest import Distributions

BYTECODE = ("__pycache__", ".pyc")


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(distributions: Distributions) -> None:
    assert _shipped(distributions.wheel) == _files_of_the_package()


def test_the_wheel_installs_no_top_level_name_but_ferryman(distributions: Distributions) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(distributions.wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"ferryman"}


def test_the_sdist_holds_each_room_and_the_license(distributions: Distributions) -> None:
    with tarfile.open(distributions.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"{room}/__init__.py" for room in ROOMS} <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_an_installed_wheel_imports_everything_from_where_it_was_installed(
    distributions: Distributions, tmp_path: Path
) -> None:
    _install(distributions.wheel, tmp_path / "site")
    _assert_all_importable(tmp_path / "site", tmp_path)


def test_a_zip_of_the_repository_installs_although_unpacking_it_turns_the_links_into_files(
    checkout: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "ferryman.zip"
    _zip(checkout, archive)
    _install(archive, tmp_path / "site")
    _assert_all_importable(tmp_path / "site", tmp_path)


def _install(distribution: Path, target: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--no-compile"]
    python("-m", "pip", "install", *options, "--target", target, distribution, cwd=target.parent)


def _assert_all_importable(site: Path, elsewhere: Path) -> None:
    program = IMPORT_EVERYTHING + "print(ferryman.__version__, ferryman.__file__)"
    *modules, last = python("-c", program, cwd=elsewhere, path=site).splitlines()
    assert last == f"{version('ferryman')} {site / 'ferryman' / '__init__.py'}"
    shipped = {str(path.with_suffix("")).replace(os.sep, ".") for path in _modules_under(site)}
    assert shipped <= set(modules)


def _modules_under(site: Path) -> list[Path]:
    found = (path.relative_to(site) for path in (site / "ferryman").rglob("*.py"))
    return [
        path.parent if path.name == "__init__.py" else path for path in found if path.name != "__main__.py"
    ]


def _shipped(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def _files_of_the_package() -> set[str]:
    return {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, names in os.walk(ROOT / "ferryman", followlinks=True)
        for name in names
        if not any(mark in f"{folder}/{name}" for mark in BYTECODE)
    }


def _zip(checkout: Path, target: Path) -> None:
    """As a hosting site makes it: one folder above everything, a link as an entry that holds its text."""
    with zipfile.ZipFile(target, "w") as archive:
        for folder, folders, names in os.walk(checkout):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in [*names, *links]):
                name = str(Path("ferryman-main") / path.relative_to(checkout))
                if path.is_symlink():
                    entry = zipfile.ZipInfo(name)
                    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                    archive.writestr(entry, os.readlink(path))
                else:
                    archive.write(path, name)
