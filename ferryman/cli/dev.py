"""``ferryman dev``: everything on one machine, started again whenever the code changes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ferryman import Ferryman, settings
from ferryman.cli.display import stderr_line
from ferryman.cli.parameters import NeededModule
from ferryman.cli.worker import Concurrency, LogLevel, Processes, Queues, Threads

FOLDER = ".ferryman"
GRACE_S = 5
PATIENCE_S = GRACE_S + 10


def command(
    module: NeededModule,
    queues: Queues = None,
    processes: Processes = "1",
    threads: Threads = 8,
    concurrency: Concurrency = 100,
    log_level: LogLevel = "info",
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Start again when code changes.")
    ] = True,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch", metavar="DIR", help="Watch this; repeatable. Default: the current directory."
        ),
    ] = None,
) -> None:
    """Run everything on one machine: a Redis in ./.ferryman, workers, and a restart on each change.

    An app that says where its jobs are kept, or FERRYMAN_URL, goes before ./.ferryman.

    Example: [bold]ferryman dev shop.jobs[/bold]
    """
    store = bring_a_store()
    words = ["-p", processes, "-t", str(threads), "--concurrency", str(concurrency), "--log-level", log_level]
    for queue in queues or []:
        words += ["-q", queue]
    worker = [
        sys.executable,
        "-m",
        "ferryman",
        "worker",
        module,
        "--grace",
        str(GRACE_S),
        "--with-parent",
        *words,
    ]
    # The scheduler and the dashboard are started here, next to the worker.
    if reload and importlib.util.find_spec("watchfiles") is None:
        stderr_line("no restart on changes: that needs watchfiles (pip install 'ferryman[reload]')")
        reload = False
    try:
        raise typer.Exit(Restarting(worker, watch or ["."], reload).run())
    finally:
        if store is not None:
            store.close()


def bring_a_store() -> Ferryman | None:
    """Where nobody has said where jobs are kept: in ./.ferryman, for this process and those it starts."""
    if settings.load({}).sources["url"] == "default":
        folder = Path.cwd() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        os.environ["FERRYMAN_URL"] = f"embedded://{folder}"
        stderr_line(f"jobs are kept in {folder} (FERRYMAN_URL is not set)")
    app = Ferryman()
    if app.store.address.kind != "embedded":
        return None
    app.store.address.running_server()  # stays up while the workers are started again
    return app


class Restarting:
    """A command that is started again when a Python file changes."""

    def __init__(self, command: Sequence[str], folders: Sequence[str], reload: bool) -> None:
        self._command = list(command)
        self._folders = [folder for folder in folders if Path(folder).is_dir()]
        self._reload = reload
        self._over = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until INT or TERM, or without reload until the command ends. Gives the command's exit code."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start()
            if self._reload:
                self._watch()
            return self._end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        # Its own process group: a Ctrl-C reaches it through us, once, and not twice.
        self._child = subprocess.Popen(self._command, process_group=0)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._over.set()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    def _watch(self) -> None:
        from watchfiles import PythonFilter
        from watchfiles import watch as changes_in

        told = restarted = False
        for changes in changes_in(
            *self._folders, watch_filter=PythonFilter(), stop_event=self._over, yield_on_timeout=True,
            rust_timeout=300, raise_interrupt=False,
        ):  # fmt: skip
            if self._over.is_set():
                return
            if changes:
                names = sorted({os.path.relpath(path) for _, path in changes})
                stderr_line(
                    f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} changed: starting again"
                )
                self._tell(signal.SIGTERM)
                self._end(PATIENCE_S)
                self._start()
                told, restarted = False, True
            elif not told and self._child is not None and self._child.poll() is not None:
                if not restarted:
                    return  # it has never run: the mistake is in the command, not in a change
                stderr_line(
                    f"the worker ended with {self._child.returncode}; it starts again on the next change"
                )
                told = True

    def _end(self, patience_s: float | None = None) -> int:
        """Wait for the command's end, for ever or until it is killed for being too slow."""
        assert self._child is not None  # noqa: S101 (it was started)
        left_s = patience_s
        while True:
            try:
                return self._child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if self._over.is_set() and left_s is None:
                    left_s = PATIENCE_S
                if left_s is not None:
                    left_s -= 0.2
                    if left_s < 0:
                        self._child.kill()
