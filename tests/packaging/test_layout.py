"""The rooms at the top level and the package that users import are the same code, once."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from tests.packaging.checkout import IMPORT_EVERYTHING, ROOMS, ROOT, python


def test_the_list_of_packages_in_pyproject_is_the_list_of_folders_with_an_init() -> None:
    found = {
        ".".join(Path(folder).relative_to(ROOT).parts)
        for folder, _, files in os.walk(ROOT / "ferryman", followlinks=True)
        if "__init__.py" in files
    }
    assert _packages_in_pyproject() == found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_real_folder_with_a_relative_link_in_the_package(room: str) -> None:
    link = ROOT / "ferryman" / room
    assert link.is_symlink()
    assert os.readlink(link) == f"../{room}"
    assert not (ROOT / room).is_symlink()
    assert (ROOT / room / "__init__.py").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_code_in_a_room_ships_with_the_package(room: str) -> None:
    packages = _packages_in_pyproject()
    for module in (ROOT / room).rglob("*.py"):
        package = ".".join(("ferryman", *module.parent.relative_to(ROOT).parts))
        assert package in packages, f"{module} is in no package of the distribution"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_to_be_imported_by_its_folders_name(room: str) -> None:
    program = f"try:\n    import {room}\nexcept ImportError as error:\n    print(error)"
    assert python("-c", program, cwd=ROOT, path=ROOT) == f"import it as ferryman.{room}\n"


def test_importing_all_of_it_makes_no_second_copy_of_a_room() -> None:
    modules = python("-c", IMPORT_EVERYTHING, cwd=ROOT, path=ROOT).splitlines()
    assert {f"ferryman.{room}" for room in ROOMS} <= set(modules)
    assert not {name for name in modules if name.split(".")[0] in ROOMS}


def _packages_in_pyproject() -> set[str]:
    with open(ROOT / "pyproject.toml", "rb") as file:
        return set(tomllib.load(file)["tool"]["setuptools"]["packages"])
