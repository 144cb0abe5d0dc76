"""What commands print: values for people and for programs, and nothing that a terminal would obey."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from ferryman.cli import display

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "seconds, shown",
    [
        (None, "-"), (0, "0 s"), (0.0404, "40 ms"), (1.26, "1.3 s"), (59, "59 s"), (600, "10 min"),
        (7500, "2 h 5 min"), (7200, "2 h"), (400_000, "5 d"),
    ],
)  # fmt: skip
def test_lengths_of_time_read_well(seconds: float | None, shown: str) -> None:
    assert display.duration(seconds) == shown


def test_a_moment_of_today_is_a_time_and_any_other_has_its_day() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d", display.moment(datetime.now(UTC)))
    assert re.fullmatch(r"2001-\d\d-\d\d \d\d:\d\d:\d\d", display.moment(datetime(2001, 5, 6, tzinfo=UTC)))
    assert display.moment(None) == "-"


def test_json_holds_whatever_a_job_may_carry(capsys: pytest.CaptureFixture[str]) -> None:
    berlin = timezone(timedelta(hours=1))
    display.print_json(
        {
            "moment": datetime(2026, 1, 2, 3, tzinfo=berlin),
            "large": 2**70,
            "bytes": b"\x00\xff",
            "set": {1},
            "key": {1: "number", (2, 3): "tuple"},
            "money": Decimal("1.50"),
            "uuid": UUID(int=5),
            "escape": "\x1b[31m",
            "strange": object,
            "nothing": None,
        }
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out
    found = json.loads(out)
    assert found["moment"] == "2026-01-02T02:00:00Z"
    assert found["large"] == 2**70
    assert found["bytes"] == "AP8="
    assert found["key"] == {"1": "number", "(2, 3)": "tuple"}
    assert found["money"] == "1.50"
    assert found["strange"] == "<class 'object'>"


def test_a_table_without_a_terminal_is_plain_columns_cut_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    display.show(
        display.table(["id", "number"], [["[red]a[/red]\x1b[2J\n", 7], [long, 1000]], right=["number"])
    )
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith(r"[red]a[/red]\x1b[2J\n")
    assert long in out
    assert "\x1b" not in out


def on_screen(width: int) -> str:
    """A row as a terminal of that width shows it."""
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    row = ["01M88D2XAR8Q7Y1VFXZHPT3900@default", "shop.jobs:send_welcome", "scheduled", 12, "-", "word " * 20]
    screen.print(display.table(["id", "task", "state", "attempts", "due", "what"], [row], wraps=["what"]))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_a_terminal_that_is_wide_enough_shows_a_table() -> None:
    assert "───" in on_screen(140)
    assert on_screen(112).splitlines()[0].split() == ["id", "task", "state", "attempts", "due", "what"]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_a_narrow_terminal_shows_whole_values_under_their_names(width: int) -> None:
    shown = on_screen(width)
    assert max(map(len, shown.splitlines())) <= width
    for pair in (
        "id 01M88D2XAR8Q7Y1VFXZHPT3900@default", "task shop.jobs:send_welcome", "state scheduled",
        "attempts 12", "what word word",
    ):  # fmt: skip
        assert pair in shown
    assert shown.count("word") == 20
    assert "due" not in shown  # there is nothing to say of it


def test_a_complaint_is_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    display.stderr_line("lost redis://u:s3cr@host\nand\x1b[31m more")
    assert capsys.readouterr().err == "ferryman: lost redis://u:***@host and\\x1b[31m more\n"


def on_a_terminal(**changes: str) -> str:
    """What ``ferryman doctor --url memory://`` writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **changes}
    process = subprocess.Popen(
        [sys.executable, "-m", "ferryman", "doctor", "--url", "memory://"],
        stdout=theirs, stderr=theirs, stdin=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end has closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(30) == 0
    return written.decode()


def test_a_terminal_gets_colours_unless_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok" in on_a_terminal()
    assert "\x1b[32m" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(TERM="dumb")
