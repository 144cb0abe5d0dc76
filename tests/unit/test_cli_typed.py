"""Words of a command line become the values that a task's parameters ask for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ferryman.cli import typed
from ferryman.errors import InvalidArguments, InvalidOption

if TYPE_CHECKING:
    from decimal import Decimal


@pytest.mark.parametrize(
    "word, expected",
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
    ],
)
def test_lengths_of_time(word: str, expected: float) -> None:
    assert typed.seconds(word) == expected


@pytest.mark.parametrize("word", ["", "soon", "5x", "-3", "1m2h", "inf"])
def test_what_is_no_length_of_time_is_refused(word: str) -> None:
    with pytest.raises(InvalidOption, match="length of time"):
        typed.seconds(word)


def test_a_moment_keeps_its_zone_and_gets_the_local_one_without() -> None:
    assert typed.moment("2030-01-31T08:00:00Z") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    assert typed.moment("2030-01-31T08:00:00").utcoffset() is not None
    with pytest.raises(InvalidOption, match="ISO 8601"):
        typed.moment("tomorrow")


def task(
    name: str,
    count: int,
    day: date,
    key: UUID,
    anything: Any,
    price: Decimal,
    *rest: float,
    **more: str,
) -> None: ...


def test_each_word_becomes_what_its_parameter_declares() -> None:
    words = ["42", "42", "2030-01-31", "12345678-1234-5678-1234-567812345678", '{"a": 1}', "1", "2", "0.5"]
    args, kwargs = typed.arguments(task, words, {"note": "007"})
    assert args == [
        "42", 42, date(2030, 1, 31), UUID("12345678-1234-5678-1234-567812345678"), {"a": 1}, 1, 2.0, 0.5,
    ]  # fmt: skip
    assert kwargs == {"note": "007"}


def test_a_word_that_does_not_convert_is_left_to_the_task_s_own_check() -> None:
    assert typed.arguments(task, ["x", "many"], {}) == (["x", "many"], {})


def test_a_function_without_a_signature_takes_json_or_text() -> None:
    def anything(*args: Any, **kwargs: Any) -> None: ...

    assert typed.arguments(anything, ["1", "x", "[2]"], {"k": "null"}) == ([1, "x", [2]], {"k": None})


def test_all_arguments_as_one_json_document() -> None:
    assert typed.from_json("[1, null]") == ([1, None], {})
    assert typed.from_json('{"a": 1}') == ([], {"a": 1})
    for wrong in ("1", "{", '"x"'):
        with pytest.raises(InvalidArguments, match="--json-args"):
            typed.from_json(wrong)


def test_pairs_need_a_name_and_an_equals_sign() -> None:
    assert typed.pairs(["a=1", "b=x=y", "c="], "--meta") == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(InvalidOption, match="--meta takes name=value"):
            typed.pairs([wrong], "--meta")


def test_durations_convert_as_well() -> None:
    def nap(length: timedelta) -> None: ...

    assert typed.arguments(nap, ["PT90S"], {}) == ([timedelta(seconds=90)], {})
