"""`python -m benchmarks`: what to measure, of which systems, how often."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.errors import BenchmarkError
from benchmarks.machine import facts
from benchmarks.plan import MEASUREMENTS, Measurement
from benchmarks.report import Result, lineup, save, show, write_page
from benchmarks.rounds import measure
from benchmarks.session import Scale, Session, session
from benchmarks.systems import SYSTEMS, chosen
from benchmarks.systems.base import System

QUICK_SYSTEMS = ("floor", "ferryman", "huey", "dramatiq", "taskiq")
QUICK_MEASUREMENTS = ("enqueue", "drain")
QUICK = Scale(runs=3, processes=(1,), share=0.4, samples=60, pending=10_000)


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Returns the exit status: 1 if any run failed."""
    # A harness that is asked to end unwinds as on Ctrl-C, and so stops everything that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = _parser().parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    try:
        return _run(asked, console)
    except BenchmarkError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted: everything that was started is stopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=[*MEASUREMENTS, "all"], default="all", help="default: all")
    parser.add_argument("--systems", metavar="A,B", help=f"of {', '.join(SYSTEMS)}, or 'all'")
    parser.add_argument("--runs", type=int, help="runs of each system, interleaved (default 3)")
    parser.add_argument("--jobs", type=int, help="jobs of a drain run (default: each system's own figure)")
    parser.add_argument(
        "--processes", metavar="1,2", help="numbers of worker processes to drain with (default 1,2)"
    )
    parser.add_argument(
        "--threads", type=int, help="threads of a worker process, where it has threads (default 8)"
    )
    parser.add_argument("--samples", type=int, help="latency samples of a run (default 200)")
    parser.add_argument(
        "--pending", type=int, help="delayed jobs pending while lateness is measured (100,000)"
    )
    parser.add_argument("--share", type=float, help="part of every number of jobs to use (default 1.0)")
    parser.add_argument(
        "--quick", action="store_true", help="about two minutes: the fastest systems, small runs"
    )
    parser.add_argument(
        "--append-only", action="store_true", help="let Redis keep an append-only file (everysec)"
    )
    parser.add_argument(
        "--report", type=Path, metavar="PAGE", help="replace the measured sections of a Markdown page"
    )
    return parser


def _scale(asked: argparse.Namespace) -> Scale:
    base = QUICK if asked.quick else Scale()
    return Scale(
        runs=asked.runs or base.runs,
        processes=tuple(int(n) for n in asked.processes.split(",")) if asked.processes else base.processes,
        threads=asked.threads or base.threads,
        jobs=asked.jobs,
        share=asked.share or base.share,
        samples=asked.samples or base.samples,
        pending=asked.pending or base.pending,
    )


def _wanted(asked: argparse.Namespace) -> list[tuple[Measurement, list[System]]]:
    if asked.what != "all":
        names: tuple[str, ...] = (asked.what,)
    else:
        names = QUICK_MEASUREMENTS if asked.quick else tuple(MEASUREMENTS)
    wanted = []
    for name in names:
        default = MEASUREMENTS[name].default or (QUICK_SYSTEMS if asked.quick else tuple(SYSTEMS))
        wanted.append((MEASUREMENTS[name], chosen(asked.systems, default)))
    return wanted


def _run(asked: argparse.Namespace, console: Console) -> int:
    wanted = _wanted(asked)
    everyone = [system for system in SYSTEMS.values() if any(system in systems for _, systems in wanted)]
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    results: list[Result] = []
    with session(_scale(asked), append_only=asked.append_only) as opened:
        _prepare(opened, everyone, console)
        known = facts(opened.server, command)
        for name, value in known.items():
            console.print(f"[dim]{name}:[/dim] {value}", highlight=False)
        console.print(f"[dim]logs:[/dim] {opened.folder}\n", highlight=False)
        systems = lineup(opened, everyone)
        for measurement, contenders in wanted:
            series = measure(opened, measurement, contenders, lambda line: console.print(line, markup=False))
            results.append(Result(measurement, series))
            console.print()
            show(results[-1], console)
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{asked.what}{'-quick' if asked.quick else ''}"
    console.print(f"raw runs: {save(stem, known, systems, results)}", highlight=False)
    if asked.report:
        write_page(asked.report, known, systems, results)
        console.print(f"report: {asked.report}", highlight=False)
    return 1 if any(series.failures for result in results for series in result.series) else 0


def _prepare(opened: Session, systems: list[System], console: Console) -> None:
    for system in systems:
        with console.status(f"environment of {system.name}"):
            opened.home(system)
