"""The examples run, and say what they promise."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from ferryman.schedules.sync import sync
from ferryman.testing import attach, inline

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(
    name: str, monkeypatch: pytest.MonkeyPatch, url: str = "redis://127.0.0.1:1/0", prefix: str = "examples"
) -> ModuleType:
    """An example as a fresh module, its app at `url`."""
    monkeypatch.setenv("FERRYMAN_URL", url)
    monkeypatch.setenv("FERRYMAN_PREFIX", prefix)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_among_these_tests() -> None:
    told = Path(__file__).read_text()
    missing = [path.name for path in EXAMPLES.glob("*.py") if f'"{path.stem}"' not in told]
    assert not missing


def test_quickstart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    quickstart = example("quickstart", monkeypatch)
    with inline(quickstart.app) as kit:
        quickstart.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Willkommen, user 42!"
    assert lines[3] == "1000 jobs more; the last says 'Welcome, user 999!'"
    assert {run.became for run in kit.runs} == {"succeeded"}


def test_asyncio_app(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("asyncio_app", monkeypatch)
    with inline(module.app, raise_on_failure=False):
        asyncio.run(module.main())
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "example.org: 1.1 ms",
        "example.net: 1.1 ms",
        "nowhere: ValueError: 'nowhere' is no host name",
    ]


def ask(module: ModuleType, method: str, path: str, query: str = "") -> tuple[str, Any]:
    """What the WSGI application answers."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(),
    }  # fmt: skip
    setup_testing_defaults(environ)
    statuses: list[str] = []
    body = b"".join(module.application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], json.loads(body)


def test_web_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("web_producer", monkeypatch)
    with attach(module.app) as kit:
        for _ in range(2):
            assert ask(module, "POST", "/reports", "year=2025") == (
                "202 Accepted",
                {"job": "year-2025@reports"},
            )
        assert ask(module, "GET", "/reports/year-2025@reports") == ("200 OK", {"state": "queued"})
        assert kit.drain().succeeded == 1
        found = {"state": "succeeded", "result": {"year": 2025, "orders": 175}}
        assert ask(module, "GET", "/reports/year-2025@reports") == ("200 OK", found)
        for path in ("/reports/year-1@reports", "/reports/nonsense", "/"):
            assert ask(module, "GET", path)[0] == "404 Not Found"
        assert ask(module, "POST", "/reports")[0] == "400 Bad Request"
        kit.clock.advance(3600)
        assert ask(module, "GET", "/reports/year-2025@reports")[0] == "404 Not Found"
    assert ask(module, "POST", "/reports", "year=2025")[0] == "503 Service Unavailable"


def test_retry_and_dead_letters(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("retry_and_dead_letters", monkeypatch)
    with attach(module.app) as kit:
        module.enqueue()
        done = kit.drain(ahead=math.inf)
        assert (done.succeeded, done.retried, done.dead) == (3, 3, 2)
        capsys.readouterr()
        module.dead()
        pay, reject, error = "retry_and_dead_letters:pay", "ferryman.retry.Reject", "ValueError"
        assert capsys.readouterr().out.splitlines() == [
            f"payment-3-5000@payments {pay}(3, 5000): {reject}: account 3 does not exist (attempt 1)",
            f"payment-1-2000000@payments {pay}(1, 2000000): {error}: too much for one transfer (attempt 1)",
        ]
        module.revive()
        assert kit.drain().dead == 2
        module.close_day.enqueue(12)
        assert kit.drain().snoozed == 1


def test_the_example_of_tests_passes_as_a_reader_would_run_it() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:ferryman",
        "-c",
        os.devnull,
    ]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, "--rootdir", str(EXAMPLES), str(EXAMPLES / "test_quickstart.py")],
        cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert "test_quickstart" not in sys.modules


def test_schedules(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("schedules", monkeypatch)
    with attach(module.app) as kit:
        module.app.store.drive(sync(module.app, "code:schedules", module.app.declared))
        module.main()
        enqueued = capsys.readouterr().out.splitlines()
        assert len(enqueued) == 5
        runs = kit.drain("billing").runs
        assert all(str(run.value).startswith("billed ") for run in runs)
        module.main()
        assert capsys.readouterr().out == ""
