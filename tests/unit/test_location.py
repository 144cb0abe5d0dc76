"""From MODULE[:app] to the app, and what is said when there is none."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferryman.location import AppNotFound, find_app

ONE = "from ferryman import Ferryman\napp = Ferryman('memory://')\nalias = app\n"
TWO = "from ferryman import Ferryman\none = Ferryman('memory://a')\ntwo = Ferryman('memory://b')\n"

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of a new name into the current directory, which is a temporary one; gives the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    made: list[str] = []

    def module(stem: str, text: str) -> str:
        name = f"{stem}_{secrets.token_hex(3)}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield module
    for name in made:
        sys.modules.pop(name, None)


def test_the_only_app_of_a_module_needs_no_name(write: Write) -> None:
    name = write("shop", ONE)
    assert (
        find_app(name) is find_app(f"{name}:app") is find_app(f"{name}.py") is find_app(f"./{name}.py:alias")
    )


def test_a_module_in_a_package_is_found_by_its_path(write: Write, tmp_path: Path) -> None:
    package = tmp_path / f"pack_{secrets.token_hex(3)}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "jobs.py").write_text(ONE)
    assert find_app(str(package / "jobs.py")) is find_app(f"{package.name}.jobs")


def test_of_several_apps_one_must_be_named(write: Write) -> None:
    name = write("shop", TWO)
    with pytest.raises(AppNotFound, match=f"several apps, name one: {name}:one, {name}:two"):
        find_app(name)
    assert str(find_app(f"{name}:two").store.address) == "memory://b"


@pytest.mark.parametrize(
    "text, location, complaint",
    [
        ("x = 1", "{}", "has no Ferryman app"),
        (ONE, "{}:ap", "has no 'ap'; did you mean {}:app"),
        ("app = 3", "{}:app", "is a int, not a Ferryman app"),
        ("import no_such_thing", "{}", "it imports 'no_such_thing', which is not installed"),
        ("1/0", "{}", "cannot be imported: .*py:1: ZeroDivisionError: division by zero"),
        ("def broken(:", "{}", "cannot be imported: .*py:1: SyntaxError"),
        ("import sys; sys.exit('usage: x')", "{}", "cannot be imported: .*SystemExit: usage: x"),
    ],
)
def test_what_is_wrong_with_a_module_is_said(write: Write, text: str, location: str, complaint: str) -> None:
    name = write("shop", text)
    with pytest.raises(AppNotFound, match=complaint.format(name)):
        find_app(location.format(name))


def test_a_module_that_is_missing_suggests_the_nearest(write: Write) -> None:
    name = write("workshop", ONE)
    with pytest.raises(AppNotFound, match=f"did you mean {name}"):
        find_app(name.replace("workshop", "workshp"))
    with pytest.raises(AppNotFound, match=f"did you mean '{name}.py'"):
        find_app(f"./{name}x.py")
    with pytest.raises(AppNotFound, match=r"did you mean ferryman\.queue"):
        find_app("ferryman.queu")


def test_without_a_module_the_url_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_URL", "memory://env")
    assert str(find_app(None).store.address) == "memory://env"
    assert str(find_app(None, url="memory://typed").store.address) == "memory://typed"


def test_a_url_that_is_typed_goes_before_the_app_s_own(write: Write) -> None:
    name = write("shop", ONE)
    app = find_app(name, url="memory://typed", prefix="other")
    assert str(app.store.address) == "memory://typed"
    assert app.store.prefix == "other"
    assert app.settings.sources["url"] == "command line"
