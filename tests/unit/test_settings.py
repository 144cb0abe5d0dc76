"""Settings: one table, three sources, and an error that names what is wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ferryman import settings
from ferryman.errors import ConfigurationError
from ferryman.settings import Settings


def test_every_default_is_within_its_own_bounds_and_has_a_meaning() -> None:
    assert settings.load({}, {}).url == "redis://localhost:6379/0"
    for entry in fields(Settings):
        if entry.name != "sources":
            assert entry.metadata["meaning"]


def test_arguments_win_over_the_environment_which_wins_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ferryman.toml"
    file.write_text('prefix = "file"\nlease_s = 20\ntimeout_s = 1.5\n')
    environment = {
        "FERRYMAN_CONFIG": str(file), "FERRYMAN_PREFIX": "environment", "FERRYMAN_LEASE_S": "30",
        "FERRYMAN_URL": "",
    }  # fmt: skip
    found = settings.load({"prefix": "argument", "url": None}, environment)
    assert (found.prefix, found.lease_s, found.timeout_s, found.crash_limit) == ("argument", 30.0, 1.5, 3)
    assert {name: found.sources[name] for name in ("prefix", "lease_s", "timeout_s", "url")} == {
        "prefix": "argument", "lease_s": "environment", "timeout_s": str(file), "url": "default",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments,words",
    [
        ({"lease": 5}, "did you mean 'lease_s'"),
        ({"colour": 5}, "there is no setting 'colour'"),
        ({"lease_s": "soon"}, "must be a number"),
        ({"lease_s": 0}, "from 1 to 3600"),
        ({"lease_s": float("nan")}, "from 1 to 3600"),
        ({"timeout_s": float("inf")}, "from 0.1 to 300"),
        ({"crash_limit": 1.5}, "of type int"),
        ({"crash_limit": True}, "of type int"),
        ({"prefix": 5}, "of type str"),
        ({"prefix": ""}, "must be a word"),
        ({"prefix": "a b"}, "must be a word"),
        ({"prefix": "{a}"}, "must be a word"),
        ({"patience_s": 601}, "from 0 to 600"),
    ],
)
def test_a_setting_that_cannot_work_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings.load(arguments, {})


def test_an_integer_may_stand_for_a_float_and_text_for_both() -> None:
    found = settings.load({"lease_s": 20, "crash_limit": "5"}, {})
    assert (found.lease_s, type(found.lease_s), found.crash_limit) == (20.0, float, 5)


@pytest.mark.parametrize("name", ["url", "pickle_key"])
def test_a_secret_is_shown_nowhere(name: str) -> None:
    assert "hush" not in repr(settings.load({name: "redis://:hush@host"}, {}))
    with pytest.raises(ConfigurationError) as caught:
        settings.load({name: b"hush"}, {})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "content,words",
    [(None, "cannot be read"), ("prefix = ", "no valid TOML"), ("prefx = 'a'", "did you mean 'prefix'")],
)
def test_a_file_that_cannot_be_used_is_named(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ferryman.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=words) as caught:
        settings.load({}, {"FERRYMAN_CONFIG": str(file)})
    assert str(file) in str(caught.value)


def test_names_lists_what_can_be_set() -> None:
    assert "url" in settings.names()
    assert "sources" not in settings.names()
