"""``ferryman schedules`` and ``ferryman scheduler`` as a user types them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ferryman import Ferryman
from ferryman.cli.program import run
from tests.support.fleet import Fleet
from tests.support.scheduler_process import SchedulerProcess, leader_of
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def cli(server: RedisServer, prefix: str, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, code: int = 0) -> Any:
        found = run(["schedules", *words, "--url", server.url, "--prefix", prefix])
        said = capsys.readouterr()
        assert found == code, said.err
        text = said.out
        return json.loads(text) if text.lstrip()[:1] in "[{" and text.strip() else text or said.err

    return call


def test_a_schedule_is_added_shown_changed_and_removed(cli: Any) -> None:
    added = cli(
        "add", "report", "shop:report", "42", "--cron", "0 7 * * mon", "--tz", "Europe/Berlin", "--json"
    )
    assert added["words"] == "at 07:00, Monday, Europe/Berlin"
    assert added["definition"]["args"] == [42]
    assert "report" in cli()
    shown = cli("show", "report", "--next", "3", "--json")
    assert len(shown["upcoming"]) == 3
    assert shown["upcoming"][0]["local"][11:16] == "07:00"
    assert "Europe/Berlin" in cli("show", "report")
    assert cli("edit", "report", "--cron", "0 8 * * mon", "--json")["words"].startswith("at 08:00")
    assert cli("pause", "report", "--reason", "audit", "--json")["changed"] is True
    assert cli("pause", "report", "--reason", "audit", "--json")["changed"] is False
    assert cli("--json")[0]["paused"] == "audit"
    assert cli("resume", "report", "--json")["changed"] is True
    job = cli("run", "report", "--json")["job"]
    assert job.startswith("report:run-")
    history = cli("history", "report", "--json")
    assert [(entry["kind"], entry["outcome"]) for entry in history] == [("manual", "queued")]
    assert cli("remove", "report") == "report removed\n"
    assert cli("--json") == []


def test_mistakes_are_one_line_that_names_what_is_wrong(cli: Any) -> None:
    assert "the hour field '25' is wrong" in cli("add", "x", "shop:x", "--cron", "0 25 * * *", code=2)
    assert "never fires" in cli("add", "x", "shop:x", "--cron", "0 0 30 2 *", code=2)
    assert "did you mean 'Europe/Rome'" in cli(
        "add", "x", "shop:x", "--cron", "0 2 * * *", "--tz", "Europe/Romee", code=2
    )
    assert "there is no schedule 'nobody'" in cli("pause", "nobody", code=1)
    assert "what shall be changed" in cli("edit", "nobody", code=2)


def test_a_backfill_tells_what_it_has_enqueued(cli: Any) -> None:
    cli("add", "daily", "shop:daily", "--cron", "0 2 * * *")
    words = ("backfill", "daily", "--from", "2026-03-01", "--to", "2026-03-11", "--json")
    assert cli(*words)["enqueued"] == 10
    assert cli(*words)["enqueued"] == 0


def test_schedules_are_exported_and_imported(cli: Any, tmp_path: Path) -> None:
    cli("add", "one", "shop:one", "--every", "90m", "--kw", "x=1", "--overlap", "queue_one")
    cli("add", "two", "shop:two", "--at", "2030-01-01T08:00Z")
    exported = cli("export")
    path = tmp_path / "schedules.json"
    path.write_text(json.dumps(exported))
    assert "2 schedules added" not in cli("import", str(path), code=1), "the names are taken"
    assert "2 schedules added, 0 not" in cli("import", str(path), "--replace")
    assert cli("export") == exported
    exported["schedules"]["bad"] = {"task": "shop:x", "cron": "99 * * * *"}
    path.write_text(json.dumps(exported))
    found = cli("import", str(path), "--replace", "--json", code=1)
    assert found["added"] == ["one", "two"]
    assert "the minute field '99' is wrong" in found["problems"][0]


def test_an_expression_is_explained_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedules", "explain", "30 2 * * mon-fri", "--tz", "Europe/Berlin"]) == 0
    said = capsys.readouterr().out
    assert "at 02:30, Monday to Friday, Europe/Berlin" in said
    assert said.count("02:30:00 +0") == 5


def test_code_and_what_is_kept_are_compared(cli: Any, server: RedisServer, prefix: str) -> None:
    module = "tests.chaos.schedules"
    assert {item["what"] for item in cli("diff", module, "--json", code=1)} == {"missing"}
    with SchedulerProcess(server.url, prefix, f"{module}:app").wait_up() as process:
        wait_until(lambda: cli("--json"), 20)
        assert cli("diff", module) == "Nothing differs\n"
        cli("edit", "second-1", "--every", "1h")
        cli("remove", "second-2")
        found = {item["name"]: item["what"] for item in cli("diff", module, "--json", code=1)}
        assert found == {"second-1": "edited", "second-2": "removed"}
        assert process.end() == 0


def test_a_file_with_an_error_is_told_of_and_its_other_schedules_run(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "schedules.toml"
    path.write_text(
        '[schedules.good]\ntask = "note"\nevery = "1s"\noptions = { queue = "files" }\n'
        '[schedules.bad]\ntask = "note"\ncron = "0 26 * * *"\n'
    )
    app = Ferryman(server.url, prefix=prefix)
    with SchedulerProcess(
        server.url, prefix, "tests.chaos.schedules:app", "--file", str(path)
    ).wait_up() as process:
        wait_until(lambda: len(app.queue("files")) > 0, 20, process.output)
        assert "schedule 'bad'" in process.output()
        assert "the hour field '26' is wrong" in process.output()
        assert app.schedules.info("good").source == f"file:{path}"
    app.close()


def test_a_worker_with_a_scheduler_fires_ticks_and_starts_the_scheduler_again_when_it_is_killed(
    server: RedisServer, prefix: str
) -> None:
    app = Ferryman(server.url, prefix=prefix)
    app.task(name="note")(lambda: None)
    with Fleet(
        server.url, prefix, "tests.chaos.schedules:app", queues="clock", words=["--with-scheduler"]
    ) as fleet:
        fleet.wait_ready(lambda: _succeeded(app))
        first = leader_of(app.store)
        os.kill(int(first.rsplit("-", 2)[1]), signal.SIGKILL)
        wait_until(lambda: leader_of(app.store) not in ("", first), 40, fleet.output)
        assert fleet.terminate() == 0
        assert not leader_of(app.store)
    app.close()


def test_a_tick_that_cancels_what_runs_ends_it_in_its_worker(server: RedisServer, prefix: str) -> None:
    app = Ferryman(server.url, prefix=prefix)
    app.task(name="linger")(lambda: None)
    app.schedules.add(
        "linger", name="newest", every="2s", overlap="cancel_running", options={"queue": "long"}
    )
    with Fleet(
        server.url, prefix, "tests.chaos.schedules:app", queues="long", words=["--with-scheduler"]
    ) as fleet:

        def outcomes() -> list[str]:
            return [run.outcome for run in app.schedules.history("newest")]

        wait_until(lambda: outcomes().count("cancelled") >= 2, 60, lambda: f"{outcomes()}\n{fleet.output()}")
        assert set(outcomes()) <= {"cancelled", "running", "queued"}
        app.schedules.remove("newest")
        fleet.send(signal.SIGTERM)
        fleet.send(signal.SIGTERM)
    app.close()


def _succeeded(app: Ferryman) -> bool:
    try:
        return any(run.outcome == "succeeded" for run in app.schedules.history("second-0"))
    except LookupError:
        return False


def test_a_scheduler_without_an_app_or_with_a_wrong_lease_says_so() -> None:
    assert run(["scheduler", "no.such.module"]) == 3
    assert run(["scheduler", "tests.chaos.schedules:app", "--lease", "0s"]) == 2
