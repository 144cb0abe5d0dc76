"""Definitions: what may be said, how it is checked, and what becomes of it when code and people change it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ferryman import ConfigurationError, Ferryman, InvalidArguments, InvalidOption, UnknownTask
from ferryman.schedules.defining import define
from ferryman.schedules.definition import Definition
from ferryman.schedules.files import read_document, read_file, table_of
from ferryman.schedules.merge import edited, merged
from ferryman.schedules.record import Hands, Record
from ferryman.schedules.spans import span_ms, span_text
from ferryman.schedules.timetable import upcoming
from ferryman.schedules.words import describe
from ferryman.task import AsyncTask, Task


@pytest.fixture
def app() -> Iterator[Ferryman]:
    made = Ferryman("memory://")

    @made.task(name="bill", queue="money", expires=3600)
    def bill(month: int, dry: bool = False) -> None: ...

    yield made
    made.close()


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ticks(definition: Definition, after: str, count: int = 3) -> list[str]:
    found = upcoming(definition.table(), ms(after), count)
    return [f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d %H:%M}" for at in found]


# -- in code -------------------------------------------------------------------------------------------------


def test_a_decorated_function_becomes_a_task_with_a_schedule(app: Ferryman) -> None:
    @app.cron("30 2 * * mon-fri", tz="Europe/Berlin")
    def nightly() -> None: ...

    @app.every("15m", name="often")
    @app.every("1h", name="seldom")
    @app.task(name="poll")
    async def poll() -> None: ...

    assert isinstance(nightly, Task)
    assert isinstance(poll, AsyncTask)
    assert {"often", "seldom"} < set(app.declared)
    assert len(app.declared) == 3
    assert app.declared["often"].task == app.declared["seldom"].task == "poll"


def test_arguments_are_checked_where_the_schedule_is_defined(app: Ferryman) -> None:
    with pytest.raises(InvalidArguments):
        app.schedule("bill", every="1d", args=["not a month"])
    with pytest.raises(InvalidArguments):
        app.schedule("bill", every="1d", kwargs={"year": 1})
    assert app.schedule("bill", every="1d", args=[3], kwargs={"dry": True}).queue == "money"


def test_two_schedules_of_one_name_are_refused_and_the_same_twice_is_one(app: Ferryman) -> None:
    app.schedule("bill", every="1d", args=[1])
    app.schedule("bill", every="1d", args=[1])
    with pytest.raises(ConfigurationError, match="defined twice"):
        app.schedule("bill", every="2d", args=[1])


@pytest.mark.parametrize(
    "when, says",
    [
        ({}, "says no time: give cron=, every= or at="),
        ({"cron": "* * * * *", "every": "1m"}, "give one of cron=, every= and at="),
        ({"every": "soon"}, "is no length of time"),
        ({"every": 0.5}, "shorter than a second"),
        ({"cron": "* * * * *", "misfire": "never"}, "misfire='never' must be one of skip, run_once, run_all"),
        ({"cron": "* * * * *", "overlap": "no"}, "must be one of allow, skip_if_running"),
        ({"cron": "* * * * *", "catch_up": 0}, "must be a whole number from 1"),
        ({"every": "1h", "jitter": "2h"}, "jitter must be shorter"),
        ({"every": "1h", "start": "2027-01-01", "end": "2026-01-01"}, "ends before it starts"),
        ({"cron": "0 0 25 12 *", "exclude": ["12-25"]}, "has no tick between its bounds and exclusions"),
        ({"every": "1h", "exclude": ["Christmas"]}, "is no day: write 2026-12-25"),
        ({"at": "tomorrow"}, "is no moment in ISO 8601"),
        ({"every": "1h", "jiter": "2s"}, "has no option 'jiter'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(app: Ferryman, when: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        define(app, "bill", args=[1], **when)
    assert says in str(caught.value)


def test_an_unknown_zone_and_a_task_that_is_not_there_are_refused(app: Ferryman) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'Europe/Paris'"):
        define(app, "bill", args=[1], cron="* * * * *", tz="Europe/Pariss")
    with pytest.raises(UnknownTask):
        app.schedule(lambda: None, every="1d")
    with pytest.raises(InvalidOption, match="1 to 90 characters"):
        define(app, "bill", name="no spaces", args=[1], every="1d")


# -- when ----------------------------------------------------------------------------------------------------


def test_intervals_count_from_their_anchor(app: Ferryman) -> None:
    plain = define(app, "bill", args=[1], every="8h")
    assert ticks(plain, "2026-01-01T01:00Z") == ["01-01 08:00", "01-01 16:00", "01-02 00:00"]
    anchored = define(app, "bill", args=[1], every="8h", anchor="2026-06-01T01:30Z")
    assert ticks(anchored, "2026-01-01T01:30Z") == ["01-01 09:30", "01-01 17:30", "01-02 01:30"]


def test_moments_bounds_and_days_off(app: Ferryman) -> None:
    once = define(app, "bill", args=[1], at=["2026-05-01T08:00", "2026-04-01T08:00"], tz="Europe/Berlin")
    assert ticks(once, "2026-01-01T00:00Z") == ["04-01 06:00", "05-01 06:00"]
    bounded = define(app, "bill", args=[1], cron="0 0 * * *", start="2026-03-05", end="2026-03-06")
    assert ticks(bounded, "2026-01-01T00:00Z") == ["03-05 00:00", "03-06 00:00"]
    closed = define(
        app, "bill", args=[1], cron="0 12 * * *", tz="Europe/Berlin",
        exclude=["sat", "sun", "12-25", "2026-12-28/2027-01-03"],
    )  # fmt: skip
    assert ticks(closed, "2026-12-23T12:00Z") == ["12-24 11:00", "01-04 11:00", "01-05 11:00"]


def test_a_year_of_excluded_minutes_is_skipped_by_days_not_by_minutes(app: Ferryman) -> None:
    definition = define(app, "bill", args=[1], cron="* * * * *", exclude=["2026-01-01/2026-12-31"])
    assert ticks(definition, "2026-01-01T00:00Z", 1) == ["01-01 00:00"]


def test_jitter_is_bounded_and_the_same_wherever_it_is_asked(app: Ferryman) -> None:
    table = define(app, "bill", args=[1], every="1h", jitter="10m").table()
    moments = upcoming(table, 0, 200)
    late = [table.due(at) - at for at in moments]
    assert late == [table.due(at) - at for at in moments]
    assert all(0 <= by <= 600_000 for by in late)
    assert len(set(late)) > 150


@pytest.mark.parametrize(
    "text, length",
    [("90", 90_000), ("1.5s", 1500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("1w", 604_800_000)],
)
def test_lengths_of_time_go_to_text_and_back(text: str, length: int) -> None:
    assert span_ms(text, "x") == length
    assert span_ms(span_text(length), "x") == length
    assert span_ms(timedelta(milliseconds=length), "x") == length


def test_a_definition_reads_in_words(app: Ferryman) -> None:
    assert describe(define(app, "bill", args=[1], every="1h30m")) == "every 1 hour 30 minutes"
    assert describe(define(app, "bill", args=[1], at="2026-05-01T08:00", tz="Europe/Berlin")) == (
        "once, at 2026-05-01T08:00:00+02:00"
    )
    shown = describe(
        define(app, "bill", args=[1], cron="0 8 * * *", tz="Europe/Berlin", jitter="5m", exclude=["sat"])
    )
    assert shown == "at 08:00, Europe/Berlin, up to 5 minutes later, not on sat"


# -- from files ----------------------------------------------------------------------------------------------


def test_a_file_with_errors_gives_the_schedules_that_are_right(app: Ferryman, tmp_path: Path) -> None:
    path = tmp_path / "schedules.toml"
    path.write_text("""
        [schedules.good]
        task = "bill"
        args = [1]
        cron = "0 3 * * *"
        tz = "Europe/Berlin"
        options = { priority = 5 }
        [schedules.late]
        task = "bil"
        every = "1d"
        [schedules.wrong]
        task = "bill"
        args = [1]
        cron = "0 26 * * *"
        [schedules.odd]
        task = "bill"
        crom = "0 2 * * *"
    """)
    found = read_file(app, str(path))
    assert set(found.definitions) == {"good"}
    assert found.unreadable == {"late", "wrong", "odd"}
    text = "\n".join(found.problems)
    assert "schedule 'late': no task 'bil' is registered with this app; did you mean 'bill'?" in text
    assert "the hour field '26' is wrong" in text
    assert "has no option 'crom'" in text


@pytest.mark.parametrize("text, says", [("[schedules", "is no valid TOML"), ("x = 1", "has no schedules")])
def test_a_file_that_is_none_says_so(app: Ferryman, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "schedules.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_file(app, str(path))


def test_what_is_exported_can_be_read_again(app: Ferryman) -> None:
    full = define(
        app, "bill", name="all", args=[3], kwargs={"dry": True}, cron="H 3 * * mon", tz="Asia/Tokyo",
        start="2026-01-01", end="2027-01-01", jitter="30s", exclude=["12-25"], misfire="run_all", grace="5m",
        catch_up=7, overlap="queue_one", unless_fresh="2h",
        options={"queue": "other", "priority": 3, "tags": ["x"], "timeout": 9, "retry": 5},
    )  # fmt: skip
    others = [
        define(app, "bill", name="every", args=[1], every="90m", anchor="2026-01-01T00:30Z"),
        define(app, "bill", name="at", args=[1], at=["2026-05-01T08:00Z", "2026-06-01T08:00Z"]),
    ]
    for definition in (full, *others):
        document = {"schedules": {definition.name: table_of(definition)}}
        read = read_document(app, msgspec.json.decode(msgspec.json.encode(document)), "here")
        assert read.problems == []
        assert read.definitions[definition.name] == definition


# -- whoever changed a field last has it ---------------------------------------------------------------------


def definition(**changes: Any) -> Definition:
    plain: dict[str, Any] = {"name": "n", "task": "t", "queue": "q", "cron": "0 2 * * *"}
    return Definition(**{**plain, **changes})


def test_a_deployment_that_says_the_same_changes_nothing() -> None:
    kept = edited(Record(base=definition(), source="code:a"), {"cron": "0 4 * * *"})
    assert merged(kept, definition(), "code:a") == kept
    assert kept.definition().cron == "0 4 * * *"


def test_new_words_of_the_code_on_other_fields_leave_an_edit_alone() -> None:
    kept = edited(Record(base=definition(), source="code:a"), {"cron": "0 4 * * *"})
    found = merged(kept, definition(misfire="skip"), "code:a").definition()
    assert (found.cron, found.misfire) == ("0 4 * * *", "skip")


def test_new_words_of_the_code_on_the_same_field_end_an_edit() -> None:
    kept = edited(Record(base=definition(), source="code:a"), {"cron": "0 4 * * *", "tz": "Asia/Tokyo"})
    found = merged(kept, definition(cron="0 5 * * *"), "code:a")
    assert (found.definition().cron, found.definition().tz) == ("0 5 * * *", "Asia/Tokyo")


def test_from_cron_to_an_interval_is_one_change() -> None:
    kept = edited(Record(base=definition(), source="code:a"), {"cron": "", "every_ms": 60_000})
    assert kept.definition().every_ms == 60_000
    found = merged(kept, definition(cron="0 5 * * *"), "code:a").definition()
    assert (found.cron, found.every_ms) == ("0 5 * * *", 0)


def test_a_pause_and_a_removal_outlive_every_deployment() -> None:
    kept = Record(base=definition(), source="code:a", paused="audit", removed=True)
    found = merged(kept, definition(cron="0 5 * * *"), "code:a")
    assert found.paused == "audit"
    assert found.removed


def test_an_edit_back_to_what_the_code_says_is_no_edit() -> None:
    kept = edited(Record(base=definition(), source="code:a"), {"cron": "0 4 * * *"})
    assert edited(kept, {"cron": "0 2 * * *"}).edits == {}


def test_hands_go_to_text_and_back() -> None:
    for hands in (Hands(3, 5, None), Hands(1, None, 7), Hands()):
        assert Hands.read(hands.text()) == hands
        assert Hands.read(hands.text().encode()) == hands
