"""Log lines: for people, for programs, and what never gets into them."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from ferryman import Ferryman, context, log
from ferryman.errors import ConfigurationError


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, restored afterwards."""
    found, ours = logging.getLogger(), logging.getLogger("ferryman")
    handlers, level, our_level = found.handlers[:], found.level, ours.level
    yield found
    found.handlers[:] = handlers
    found.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
def job() -> Iterator[context.JobContext]:
    """A job that runs here."""
    made = context.JobContext(
        app=Ferryman("memory://"),
        local="01K9ZX3V8Q2M7RTB5N6DPA4CEW",
        shard="mail",
        task="shop:send",
        attempt=2,
        worker="w",
        enqueued_ms=0,
    )
    token = context._current.set(made)
    yield made
    context._current.reset(token)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def written(root: logging.Logger, kind: log.Format, stream: io.StringIO | None = None) -> io.StringIO:
    out = stream or io.StringIO()
    root.handlers[:] = []  # as in a fresh process: pytest has added its own
    assert log.configure("debug", kind, stream=out)
    return out


def test_lines_are_json_where_there_is_no_terminal(root: logging.Logger) -> None:
    out = written(root, "auto")
    logging.getLogger("shop").warning("no answer from %s", "mail", extra={"tries": 3})
    line = json.loads(out.getvalue())
    assert line["time"].endswith("Z")
    assert {name: line[name] for name in ("level", "logger", "message", "tries")} == {
        "level": "warning",
        "logger": "shop",
        "message": "no answer from mail",
        "tries": 3,
    }
    assert "job" not in line


def test_lines_are_for_people_on_a_terminal(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = written(root, "auto", Terminal())
    logging.getLogger("shop").warning("no answer")
    assert "shop  no answer" in out.getvalue()
    assert "\x1b[33mWARNING" in out.getvalue()


def test_no_color_is_respected(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = written(root, "auto", Terminal())
    logging.getLogger("shop").warning("no answer")
    assert "\x1b" not in out.getvalue()


@pytest.mark.usefixtures("job")
def test_a_line_that_a_job_writes_says_which_job(root: logging.Logger) -> None:
    out = written(root, "json")
    logging.getLogger("shop").info("sending")
    line = json.loads(out.getvalue())
    assert line["job"] == "01K9ZX3V8Q2M7RTB5N6DPA4CEW@mail"
    assert (line["queue"], line["task"], line["attempt"]) == ("mail", "shop:send", 2)


@pytest.mark.usefixtures("job")
def test_a_line_for_people_says_which_job(root: logging.Logger) -> None:
    out = written(root, "human")
    logging.getLogger("shop").info("sending")
    assert "[shop:send, attempt 2, 01K9ZX3V8Q2M7RTB5N6DPA4CEW@mail]" in out.getvalue()


@pytest.mark.parametrize("kind", ["human", "json"])
def test_a_password_in_a_url_is_never_logged(root: logging.Logger, kind: log.Format) -> None:
    out = written(root, kind)
    logger = logging.getLogger("shop")
    logger.info(
        "lost %s", "rediss://user:s3cr:et@host:1/0?ssl_password=s3cr", extra={"url": "redis://:s3cr@h"}
    )
    try:
        raise ValueError("cannot reach redis://:s3cr@host/0")
    except ValueError:
        logger.exception("it failed")
    assert "s3cr" not in out.getvalue()
    assert "rediss://user:***@host:1/0" in out.getvalue()


def test_control_characters_cannot_forge_lines_on_a_terminal(root: logging.Logger) -> None:
    out = written(root, "human")
    logging.getLogger("shop").info("name: %s", "\x1b[2J\u202egnp")
    assert r"\x1b[2J\u202egnp" in out.getvalue()


def test_an_application_that_configured_logging_keeps_its_handlers(root: logging.Logger) -> None:
    theirs = logging.StreamHandler(io.StringIO())
    root.handlers[:] = [theirs]
    assert not log.configure("debug")
    assert root.handlers == [theirs]
    assert logging.getLogger("ferryman").level == logging.DEBUG


def test_the_filter_serves_an_application_s_own_format(root: logging.Logger) -> None:
    out = io.StringIO()
    theirs = logging.StreamHandler(out)
    theirs.addFilter(log.JobFilter())
    theirs.setFormatter(logging.Formatter("%(job_id)s %(message)s"))
    root.handlers[:] = [theirs]
    logging.getLogger("shop").warning("outside")
    assert out.getvalue() == "None outside\n"


@pytest.mark.parametrize("level, kind", [("loud", "auto"), ("info", "xml")])
def test_unknown_levels_and_formats_are_refused(level: str, kind: log.Format) -> None:
    with pytest.raises(ConfigurationError, match="must be one of"):
        log.configure(level, kind)


def test_a_value_that_json_cannot_say_is_text(root: logging.Logger) -> None:
    out = written(root, "json")
    logging.getLogger("shop").info("x", extra={"thing": sys})
    assert "module 'sys'" in json.loads(out.getvalue())["thing"]


def test_visible_leaves_other_scripts_alone() -> None:
    assert log.visible("naïve 渡し守") == "naïve 渡し守"
    assert log.visible("a\nb") == r"a\nb"
    assert log.visible("a\nb", lines=True) == "a\nb"
