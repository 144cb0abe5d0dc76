"""The commands that run jobs, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import Ferryman
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

SHOP = """
import logging, os, time
from ferryman import Ferryman, Retry
app = Ferryman()

@app.task
def add(a: int, b: int) -> int:
    logging.getLogger("shop").warning("adding")
    return a + b

@app.task(retry=None)
def fail(what: str) -> None:
    raise ValueError(what)

@app.task
def nap(seconds: float) -> None:
    time.sleep(seconds)

@app.task
def who() -> int:
    return os.getppid()
"""
Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
READY_S = 30.0


@pytest.fixture
def environment(server: RedisServer, prefix: str, tmp_path: Path) -> dict[str, str]:
    """Of a process that finds the module ``shop`` in its directory and jobs on the shared server."""
    (tmp_path / "shop.py").write_text(SHOP)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FERRYMAN_")}
    root = str(Path(__file__).parents[2])
    return {**kept, "FERRYMAN_URL": server.unix_url, "FERRYMAN_PREFIX": prefix, "PYTHONPATH": root}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command to its end."""

    def run(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ferryman", *words], cwd=tmp_path, env={**environment, **changes},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a command; ends what is left of it afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **changes: str) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ferryman", *words], cwd=tmp_path, env={**environment, **changes},
                stdout=log, stderr=log, text=True,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Ferryman:
    """An app that looks at the same jobs."""
    return Ferryman(server.unix_url, prefix=prefix)


def result_of(run: Run, *words: str) -> Any:
    found = run("enqueue", *words, "--wait", "30", "--json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)["result"]


def test_a_burst_runs_what_is_there_and_ends(run: Run, app: Ferryman) -> None:
    job_id = run("enqueue", "shop:add", "1", "2").stdout.strip()
    run("enqueue", "shop:fail", "[red]no")
    found = run("worker", "shop", "--burst", "-t", "2", "--log-level", "warning")
    assert found.returncode == 0, found.stderr
    assert app.job(job_id).result(timeout=5) == 3
    lines = [json.loads(line) for line in found.stderr.splitlines()]
    adding = next(line for line in lines if line["message"] == "adding")
    assert (adding["job"], adding["task"], adding["attempt"]) == (job_id, "shop:add", 1)
    failures = json.loads(run("failures", "--json").stdout)
    assert [(one["task"], one["count"], one["error"]) for one in failures] == [
        ("shop:fail", 1, "ValueError: [red]no")
    ]
    shown = run("job", failures[0]["jobs"][0]).stdout
    assert "raise ValueError(what)" in shown


def test_enqueue_waits_for_a_result_and_tells_of_a_failure(run: Run, start: Start) -> None:
    start("worker", "./shop.py:app", "-q", "default")
    assert result_of(run, "shop:add", "20", "22") == 42
    assert run("enqueue", "shop:add", "1", "2", "--wait").stdout == "3\n"
    failed = run("enqueue", "shop:fail", "nothing", "--wait", "30")
    assert failed.returncode == 1
    assert "is dead: ValueError: nothing" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_workers_shows_who_works_on_what(run: Run, start: Start, app: Ferryman) -> None:
    assert run("workers").stdout == "No worker runs. Start one: ferryman worker MODULE\n"
    process = start("worker", "shop", "-p", "2", "-t", "3", "--name", "web", FERRYMAN_LEASE_S="1")
    job_id = run("enqueue", "shop:nap", "4").stdout.strip()

    def busy() -> list[dict[str, Any]]:
        return [one for one in json.loads(run("workers", "--json").stdout) if one["doing"]]

    (worker,) = wait_until(busy, READY_S)
    assert worker["doing"][0]["job"] == job_id
    assert (worker["threads"], worker["queues"], worker["state"]) == (3, ["default"], "running")
    assert worker["supervisor"] == process.pid
    assert worker["id"].startswith("web-")
    assert worker["started_at"].endswith("Z")
    assert worker["id"] in run("workers").stdout
    assert [info.workers for info in [app.queue("default").info()]] == [2]
    found = run("doctor", "--json")
    assert found.returncode == 0
    assert not [one for one in json.loads(found.stdout)["findings"] if one["check"] == "queue default"]


def test_a_term_ends_the_fleet_in_good_order(run: Run, start: Start) -> None:
    process = start("worker", "shop")
    assert result_of(run, "shop:add", "1", "1") == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize(
    "words, code, complaint",
    [
        (["nomodule"], 3, "there is no module 'nomodule'"),
        (["shop:nothing"], 3, "has no 'nothing'; did you mean shop:app?"),
        (["json"], 3, "has no Ferryman app"),
        (["shop", "-q", "bad name"], 2, "queue name 'bad name'"),
        (["shop", "-q", "a:0"], 2, "weight"),
        (["shop", "-p", "many"], 2, "--processes 'many'"),
        (["shop", "-p", "0"], 2, "--processes '0'"),
        (["shop", "-t", "0", "--concurrency", "0"], 2, "needs threads or concurrency"),
        (["shop", "--grace", "long"], 2, "'long' is no length of time"),
        (["shop", "--log-format", "xml"], 2, "'xml' is not one of"),
        ([], 2, "Missing argument"),
    ],
)
def test_a_mistake_ends_a_worker_at_once_with_one_line(
    run: Run, words: list[str], code: int, complaint: str
) -> None:
    found = run("worker", *words)
    assert found.returncode == code
    assert complaint in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_worker_process_loads_neither_typer_nor_rich(run: Run, environment: dict[str, str]) -> None:
    code = (
        "import sys, ferryman.worker.process, ferryman.log\n"
        "assert not {'typer', 'rich'} & set(sys.modules), 'a worker is slow to start'"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_the_version_is_said_without_loading_the_command_line(environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.argv = ['ferryman', '--version']\n"
        "import ferryman.cli\n"
        "try: ferryman.cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'typer', 'rich'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    assert found.stdout.startswith("ferryman ")


def test_dev_brings_a_store_and_starts_again_when_code_changes(
    run: Run, start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["FERRYMAN_URL"]
    process = start("dev", "shop", "-t", "2")
    here = f"embedded://{tmp_path}/.ferryman"
    wait_until(lambda: "work on default" in (tmp_path / "log").read_text(), READY_S)
    first = result_of(run, "shop:who", "--url", here)
    (tmp_path / "shop.py").write_text(SHOP + "\n@app.task\ndef new() -> str:\n    return 'new'\n")
    assert result_of(run, "shop:new", "--url", here) == "new"
    assert result_of(run, "shop:who", "--url", here) != first
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "shop.py changed: starting again" in (tmp_path / "log").read_text()
    assert (tmp_path / ".ferryman" / ".gitignore").read_text() == "*\n"


def test_dev_brings_no_store_to_an_app_that_names_its_own(
    run: Run, start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    named = SHOP.replace("Ferryman()", f"Ferryman({environment.pop('FERRYMAN_URL')!r})")
    (tmp_path / "shop.py").write_text(named)
    start("dev", "shop", "--no-reload", "-t", "2")
    assert result_of(run, "shop:add", "1", "2") == 3
    assert not (tmp_path / ".ferryman").exists()
    assert "jobs are kept in" not in (tmp_path / "log").read_text()


def test_the_workers_of_dev_end_when_dev_is_killed(
    run: Run, start: Start, app: Ferryman, tmp_path: Path
) -> None:
    process = start("dev", "shop", "--no-reload", "-t", "2")
    supervisor = result_of(run, "shop:who")
    process.kill()
    process.wait()
    wait_until(lambda: not _alive(supervisor), READY_S)
    assert app.queue("default").info().workers == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_dev_ends_at_once_when_its_module_cannot_be_found(run: Run) -> None:
    found = run("dev", "shpo")
    assert found.returncode == 3
    assert "did you mean shop?" in found.stderr


def test_bench_measures_and_leaves_nothing_behind(run: Run, app: Ferryman) -> None:
    found = run("bench", "--jobs", "500", "--seconds", "1", "--json")
    assert found.returncode == 0, found.stderr
    figures = json.loads(found.stdout)
    assert figures["jobs"] > 0
    assert all(value > 0 for value in figures.values())
    assert list(app.queues()) == []
    left = app.store.pool.command("KEYS", f"{app.store.prefix}:*bench*")
    assert [name for name in left if b":producer:" not in name] == []
    assert "jobs/s" in run("bench", "--jobs", "500", "--seconds", "1").stdout


def test_bench_needs_a_server(run: Run) -> None:
    found = run("bench", "--url", "memory://")
    assert found.returncode == 2
    assert "memory:// has none" in found.stderr


def test_a_fault_of_ours_is_one_line_and_a_traceback_only_on_demand(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import ferryman.app\n"
        "def broken(self): raise RuntimeError('redis://:s3cr@host')\n"
        "ferryman.app.Ferryman.queues = broken\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2])))}
    found = run("queues", **environment)
    assert found.returncode == 1
    assert "unexpected RuntimeError" in found.stderr
    assert "s3cr" not in found.stderr
    assert found.stderr.count("\n") == 1
    assert "Traceback" in run("queues", FERRYMAN_DEBUG="1", **environment).stderr


def test_a_reader_that_has_seen_enough_is_no_error(
    run: Run, environment: dict[str, str], app: Ferryman
) -> None:
    app.queue("mail").enqueue("x:y")
    found = subprocess.run(
        f"{sys.executable} -m ferryman queues --json | true", shell=True, env=environment, timeout=60,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stderr == ""


def test_the_shell_completes_commands(run: Run) -> None:
    found = run(_FERRYMAN_COMPLETE="complete_bash", COMP_WORDS="ferryman que", COMP_CWORD="1")
    assert found.stdout.strip() == "queues"
