"""The commands that look at queues and jobs, and change them, against a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from ferryman import Ferryman, Job
from ferryman.cli.program import app as program
from ferryman.outcome import AttemptRecord
from ferryman.store import transitions
from tests.support.hand import Hand
from tests.support.server import RedisServer

SHOP = """
from ferryman import Ferryman
app = Ferryman()

@app.task
def add(a: int, b: int) -> int:
    return a + b

@app.task(queue="mail", name="welcome")
def send(name: str, times: int = 1) -> None: ...
"""
Run = Callable[..., Result]


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Ferryman:
    """An app on the shared server, with a prefix of its own, as the commands see it."""
    return Ferryman(server.unix_url, prefix=prefix)


@pytest.fixture
def run(app: Ferryman, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in a directory with the module ``shop``."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    monkeypatch.setenv("FERRYMAN_URL", app.settings.url)
    monkeypatch.setenv("FERRYMAN_PREFIX", prefix)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(program, words)

    return invoke


def bury(app: Ferryman, job: Job[Any], error: str, fingerprint: str = "f1") -> None:
    """Let a job fail for good, as a worker would."""
    keys = app.store.keys(job.queue)
    record = AttemptRecord(
        1, "failed", "host-1-abc", 1_700_000_000_000, 1500, error, f"Trace\n  {error}\n", fingerprint
    )
    app.store.run(transitions.register(keys, "w1", 60_000))
    app.store.run(transitions.fetch(keys, "w1", 100))
    burial = transitions.Burial(job.local, 1, msgspec.msgpack.encode(record), fingerprint, "t")
    refused = app.store.run(transitions.bury(keys, "w1", [burial], minute=1, most=100, oldest_ms=86_400_000))
    assert not refused


def test_enqueue_hands_over_a_job_with_its_options(run: Run, app: Ferryman) -> None:
    result = run(
        "enqueue", "shop:send", "42", "--kw", "times=3", "--queue", "letters", "--id", "mine", "--tag", "vip",
        "--tag", "new", "--meta", "shop=7", "--priority", "5", "--expires", "1h", "--timeout", "30",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "mine@letters\n")
    info = app.job("mine@letters").info()
    assert (info.task, info.args, info.kwargs) == ("welcome", ("42",), {"times": 3})
    assert (info.priority, info.tags, info.meta) == (5, ("vip", "new"), {"shop": 7})


def test_enqueue_with_a_delay_or_a_moment_schedules(run: Run, app: Ferryman) -> None:
    later = run("enqueue", "shop:add", "1", "2", "--delay", "5m", "--json")
    info = app.job(json.loads(later.stdout)["id"]).info()
    assert info.state == "scheduled"
    assert info.due_at is not None
    assert timedelta(minutes=4) < info.due_at - datetime.now(UTC) < timedelta(minutes=6)
    at = run("enqueue", "shop:add", "1", "2", "--at", "2035-01-01T00:00:00Z", "--json")
    assert app.job(json.loads(at.stdout)["id"]).info().due_at == datetime(2035, 1, 1, tzinfo=UTC)


def test_enqueue_takes_all_arguments_as_json(run: Run, app: Ferryman) -> None:
    job_id = run("enqueue", "shop:add", "--json-args", '{"a": 1, "b": -2}').stdout.strip()
    assert app.job(job_id).info().kwargs == {"a": 1, "b": -2}
    negative = run("enqueue", "shop:add", "--", "-1", "-2").stdout.strip()
    assert app.job(negative).info().args == (-1, -2)


def test_workers_that_hold_a_lease_and_have_said_nothing_yet_are_not_denied(run: Run, app: Ferryman) -> None:
    assert run("workers").stdout.startswith("No worker runs.")
    app.queue("mail").enqueue("x:y")
    Hand(app, "mail")
    assert run("workers").stdout.startswith("Workers have just started")
    assert json.loads(run("workers", "--json").stdout) == []


def test_enqueue_by_name_imports_nothing(run: Run, app: Ferryman) -> None:
    job_id = run("enqueue", "elsewhere:work", "1", "x", "--by-name", "-q", "far").stdout.strip()
    info = app.job(job_id).info()
    assert (info.task, info.args, info.queue) == ("elsewhere:work", (1, "x"), "far")


def test_enqueue_can_wait_for_the_result_and_says_when_it_gives_up(run: Run) -> None:
    result = run("enqueue", "shop:add", "1", "2", "--wait", "0.05")
    assert result.exit_code == 1
    assert "did not end within 0.05 s" in result.stderr


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["enqueue", "shop:ad", "1"], "'shop' has no task 'ad'; did you mean 'shop:add'?"),
        (["enqueue", "shop"], "which task of 'shop'? Write shop:TASK"),
        (["enqueue", "shp:add"], "there is no module 'shp' here"),
        (["enqueue", "shop:add", "x", "2"], "parameter 'a'"),
        (["enqueue", "shop:add", "1", "2", "--delay", "soon"], "'soon' is no length of time"),
        (["enqueue", "shop:add", "1", "2", "--at", "soon"], "'soon' is no moment"),
        (["enqueue", "shop:add", "1", "--json-args", "[1]"], "not both"),
        (["enqueue", "shop:add", "1", "2", "--priority", "5000"], "priority=5000"),
        (["enqueue", "shop:add", "1", "2", "--delya", "5"], "No such option"),
        (["jobs", "--queue", "mailx"], "there is no queue 'mailx'; did you mean 'mail'?"),
        (["jobs", "--state", "odd"], "'odd' is not one of"),
        (["job", "nonsense"], "is no job id"),
        (["job", "a@b", "--cancel", "--retry"], "not both"),
        (["job", "a@b", "--running"], "goes with --cancel"),
        (["queues", "pause", "mailx"], "did you mean 'mail'?"),
        (["queues", "nomodule"], "there is no module 'nomodule'"),
        (["queues", "pasue", "mail"], "No such command 'pasue'"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["workerx"], "Did you mean 'worker', 'workers'? ('ferryman --help'"),
        (["enqueue", "shop:add", "-1", "2"], "Put -- before a negative number. ('ferryman enqueue --help'"),
        (["queues", "--url", "http://x"], "is none of memory://"),
        (["failures", "-q", "bad name"], "queue name 'bad name'"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    run: Run, app: Ferryman, words: list[str], complaint: str
) -> None:
    app.queue("mail").enqueue("x:y")
    result = run(*words)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_server_that_is_away_is_one_line_and_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_PATIENCE_S", "0")
    result = run("queues", "--url", "unix://:hidden@/nowhere/redis.sock")
    assert result.exit_code == 1
    assert "cannot be used at the moment" in result.stderr
    assert "hidden" not in result.output
    assert result.stderr.count("\n") == 1


def test_queues_shows_each_queue(run: Run, app: Ferryman) -> None:
    assert "No queue has been used yet" in run("queues").stdout
    app.queue("mail").enqueue("x:y")
    app.queue("mail").options(delay=60).enqueue("x:y")
    app.queue("other").enqueue("x:y")
    bury(app, app.queue("other").enqueue("x:y"), "E: x")
    found = {entry["name"]: entry for entry in json.loads(run("queues", "--json").stdout)}
    assert list(found) == ["mail", "other"]
    mail = found["mail"]
    assert (mail["queued"], mail["scheduled"], mail["running"], mail["dead"]) == (1, 1, 0, 0)
    assert mail["next_due_at"].endswith("Z")
    table = run("queues", "shop", "--prefix", app.store.prefix).stdout
    assert [line.split()[0] for line in table.splitlines()] == ["queue", "mail", "other"]
    assert "\x1b" not in table


def test_pause_and_resume(run: Run, app: Ferryman) -> None:
    app.queue("mail").enqueue("x:y")
    assert run("queues", "pause", "mail", "--reason", "[b]down").stdout == "mail paused\n"
    assert app.queue("mail").info().paused == "[b]down"
    assert "[b]down" in run("queues").stdout
    assert json.loads(run("queues", "resume", "mail", "--json").stdout)["changed"] is True
    assert run("queues", "resume", "mail").stdout == "mail was not paused\n"


def test_purge_wants_a_yes(run: Run, app: Ferryman) -> None:
    app.queue("mail").enqueue("x:y")
    refused = run("queues", "purge", "mail")
    assert refused.exit_code == 2
    assert "add --yes" in refused.stderr
    assert run("queues", "purge", "mail", "--yes").stdout == "1 queued job of mail deleted\n"
    assert len(app.queue("mail")) == 0


def test_jobs_lists_them_in_the_order_of_their_turn(run: Run, app: Ferryman) -> None:
    first, second = app.queue("mail").enqueue("x:y", 1), app.queue("mail").enqueue("x:y", 2)
    later = app.queue("mail").options(delay=60).enqueue("x:y", 3)
    found = json.loads(run("jobs", "--json").stdout)
    assert [entry["id"] for entry in found] == [first.id, second.id, later.id]
    assert [entry["state"] for entry in found] == ["queued", "queued", "scheduled"]
    cut = run("jobs", "--limit", "1").stdout
    assert first.id in cut
    assert second.id not in cut
    assert "More than 1" in cut
    assert run("jobs", "--state", "dead", "-q", "mail").stdout == "No dead jobs in mail.\n"


def test_job_shows_each_attempt_with_its_traceback(run: Run, app: Ferryman) -> None:
    job = app.queue("mail").options(tags=["vip"], meta={"who": "ann"}).enqueue("x:y", 7)
    bury(app, job, "shop.NoAnswer: [red]silence\x1b[2J")
    shown = run("job", job.id).stdout
    for part in (job.id, "x:y", "dead", "(7)", "vip", "meta who", "on host-1-abc",
                 r"shop.NoAnswer: [red]silence\x1b[2J", "Trace"):  # fmt: skip
        assert part in shown
    assert "\x1b" not in shown
    found = json.loads(run("job", job.id, "--json").stdout)
    assert found["attempts"][0]["outcome"] == "failed"
    assert found["attempts"][0]["started_at"] == "2023-11-14T22:13:20Z"
    assert found["error"].startswith("shop.NoAnswer")


def test_a_job_that_left_no_trace_is_exit_code_1(run: Run) -> None:
    result = run("job", "nothing@mail")
    assert result.exit_code == 1
    assert "no trace of job nothing@mail" in result.stderr


def test_job_cancel_and_retry_say_what_they_did_or_why_not(run: Run, app: Ferryman) -> None:
    job = app.queue("mail").enqueue("x:y")
    bury(app, job, "E: x")
    assert run("job", job.id, "--retry").stdout == f"{job.id} is queued again\n"
    assert job.info().state == "queued"
    again = run("job", job.id, "--retry")
    assert again.exit_code == 1
    assert "is queued, so nothing was done" in again.stderr
    assert run("job", job.id, "--cancel").stdout == f"{job.id} cancelled\n"
    assert job.info().state == "cancelled"
    assert "it has ended" in run("job", job.id, "--cancel").stderr


def test_job_cancel_running_says_whether_it_is_cancelled_or_told_to_end(run: Run, app: Ferryman) -> None:
    waiting, held = app.queue("mail").enqueue("x:y"), app.queue("other").enqueue("x:y")
    assert Hand(app, "other").take() == [held.local]
    assert run("job", waiting.id, "--cancel", "--running").stdout == f"{waiting.id} cancelled\n"
    assert "--running cancels it too" in run("job", held.id, "--cancel").stderr
    told = json.loads(run("job", held.id, "--cancel", "--running", "--json").stdout)
    assert (told["changed"], told["cancellation"]) == (True, "asked")
    assert "told to end it" in run("job", held.id, "--cancel", "--running").stdout
    again = run("job", waiting.id, "--cancel", "--running")
    assert (again.exit_code, "it has ended" in again.stderr) == (1, True)
    assert "no trace" in run("job", "nothing@mail", "--cancel", "--running").stderr


def test_failures_groups_the_dead_letters_by_cause(run: Run, app: Ferryman) -> None:
    assert run("failures").stdout == "No dead letters.\n"
    for error, fingerprint in (("A: 1", "fa"), ("A: 2", "fa"), ("B: 3", "fb")):
        bury(app, app.queue("mail").enqueue("x:y"), error, fingerprint)
    groups = json.loads(run("failures", "--json").stdout)
    assert [(group["fingerprint"], group["count"], group["error"]) for group in groups] == [
        ("fa", 2, "A: 2"),
        ("fb", 1, "B: 3"),
    ]
    assert len(groups[0]["jobs"]) == 2
    assert "A: 2" in run("failures", "-q", "mail").stdout


def test_help_of_every_command_has_an_example(run: Run) -> None:
    shown = run("--help").stdout
    for name in (
        "worker",
        "dev",
        "enqueue",
        "queues",
        "jobs",
        "job",
        "workers",
        "failures",
        "doctor",
        "bench",
    ):
        assert name in shown
        help_of = run(name, "--help")
        assert help_of.exit_code == 0
        assert "Example" in help_of.stdout
    for name in ("pause", "resume", "purge"):
        assert "Example" in run("queues", name, "--help").stdout
