"""Where results go: the terminal, raw JSON, and sections of a Markdown page."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.plan import Measurement
from benchmarks.session import Session
from benchmarks.systems.base import System
from benchmarks.tables import Table, table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Result:
    """One finished measurement."""

    measurement: Measurement
    series: list[Series]

    def table(self) -> Table:
        """The figures as text."""
        return table(self.measurement, self.series)


@dataclass(frozen=True)
class Lineup:
    """One system as it was run: installed versions and settings."""

    system: System
    versions: dict[str, str]


def lineup(session: Session, systems: list[System]) -> list[Lineup]:
    """The systems with the versions in their environments."""
    return [Lineup(system, session.home(system).versions(system.distribution)) for system in systems]


def show(result: Result, console: Console) -> None:
    """Print a result."""
    text = result.table()
    grid = RichTable(title=text.title, title_justify="left")
    for at, header in enumerate(text.headers):
        grid.add_column(header, justify="left" if at == 0 else "right")
    for row in text.rows:
        grid.add_row(*row)
    console.print(grid)
    for note in text.notes:
        console.print(note, style="dim", highlight=False)
    console.print()


def save(stem: str, facts: dict[str, str], systems: list[Lineup], results: list[Result]) -> Path:
    """Write every run as JSON under `benchmarks/results`, and Markdown beside it. Returns the JSON's path."""
    RESULTS.mkdir(exist_ok=True)
    raw = {
        "facts": facts,
        "systems": {
            one.system.name: {"versions": one.versions, "settings": one.system.settings} for one in systems
        },
        "measurements": {one.measurement.name: [asdict(series) for series in one.series] for one in results},
    }
    path = RESULTS / f"{stem}.json"
    path.write_text(json.dumps(raw, indent=1))
    sections = [_section(result, facts) for result in results] + [_systems(systems)]
    path.with_suffix(".md").write_text("\n\n".join(sections) + "\n")
    return path


def write_page(page: Path, facts: dict[str, str], systems: list[Lineup], results: list[Result]) -> None:
    """Replace the measured sections of the page; what was not measured stays as it was.

    A section lies between `<!-- begin NAME -->` and `<!-- end NAME -->`. Raises BenchmarkError if one is
    missing.
    """
    text = page.read_text()
    for result in results:
        text = _replace(text, result.measurement.name, _section(result, facts), page)
    text = _replace(text, "systems", _systems(systems), page)
    page.write_text(text)


def _replace(text: str, name: str, body: str, page: Path) -> str:
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise BenchmarkError(
            f"{page} has no section {name!r}: add the lines <!-- begin {name} --> and its end"
        )
    return pattern.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def _section(result: Result, facts: dict[str, str]) -> str:
    text = result.table()
    lines = [
        f"## {text.title}",
        "",
        _row(text.headers),
        _row(tuple("---" if at == 0 else "--:" for at in range(len(text.headers)))),
        *(_row(row) for row in text.rows),
        "",
        *(f"{note}  " for note in text.notes),
        "",
        f"{_runs(result)} {'; '.join(_fact(*fact) for fact in facts.items())}.",
    ]
    return "\n".join(lines)


def _runs(result: Result) -> str:
    runs = max((len(one.records) for one in result.series), default=0)
    return "One run." if runs == 1 else f"Medians of {runs} interleaved runs."


def _fact(name: str, value: str) -> str:
    return f"{name}: `{value}`" if name == "command" else f"{name}: {value}"


def _systems(systems: list[Lineup]) -> str:
    lines = ["| system | versions | settings | survives a kill |", "| --- | --- | --- | --- |"]
    for one in systems:
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        kept = "yes" if one.system.survives_a_kill else "no"
        lines.append(f"| {one.system.name} | {versions} | {one.system.settings} | {kept} |")
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
