"""Series as a table of text, for the terminal and for the report alike."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Series
from benchmarks.plan import Column, Measurement

OURS = "ferryman"
WORTH_A_NOTE_PERCENT = 2.0
SHORT_S = 1.0


@dataclass(frozen=True)
class Table:
    """Headers and rows of text; `notes` go below."""

    title: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def table(measurement: Measurement, series: list[Series]) -> Table:
    """Medians of all runs, and how Ferryman compares on the headline figure where it was run."""
    with_variant = any(one.variant for one in series)
    ours = {one.variant: one for one in series if one.system == OURS}
    columns = [
        column
        for column in measurement.columns
        if column.figure == measurement.headline or any(one.values(column.figure) for one in series)
    ]
    headers = ["system", *(["variant"] if with_variant else []), *(column.title for column in columns)]
    compared = bool(ours) and any(one.system != OURS for one in series)
    if compared:
        headline = next(
            column.title for column in measurement.columns if column.figure == measurement.headline
        )
        headers.append(f"Ferryman, by {headline}")
    rows = []
    for one in series:
        row = [one.system, *([one.variant] if with_variant else [])]
        row += [_cell(one, column, measurement.headline) for column in columns]
        if compared:
            row.append(_ratio(measurement, one, ours.get(one.variant)))
        rows.append(tuple(row))
    return Table(measurement.title, tuple(headers), rows, _notes(measurement, series))


def _cell(series: Series, column: Column, headline: str) -> str:
    middle = series.median(column.figure)
    if middle is None:
        return "failed" if column.figure == headline and series.failures and not series.records else "-"
    text = f"{middle:,.{column.digits}f}"
    values = series.values(column.figure)
    if column.spread and len(values) > 1:
        text += f" ({min(values):,.{column.digits}f} to {max(values):,.{column.digits}f})"
    return text


def _ratio(measurement: Measurement, series: Series, ours: Series | None) -> str:
    if ours is None or ours is series:
        return "-"
    ratio = (
        ours.ratio(series, measurement.headline)
        if measurement.more_is_better
        else series.ratio(ours, measurement.headline)
    )
    return "-" if ratio is None else f"{ratio:,.2f}x"


def _notes(measurement: Measurement, series: list[Series]) -> list[str]:
    notes = [measurement.note]
    stolen = max((one.median("steal_percent") or 0.0 for one in series), default=0.0)
    if stolen > WORTH_A_NOTE_PERCENT:
        notes.append(
            f"The hypervisor kept up to {stolen:.0f} % of the machine's CPU time (median over runs)."
        )
    short = sorted({one.system for one in series if (one.median("seconds") or 9.0) < SHORT_S})
    if short:
        notes.append(f"Timed for under a second, so less certain: {', '.join(short)}.")
    notes += [
        f"{one.system} {one.variant}".rstrip() + f" failed in {_told(failure)}"
        for one in series
        for failure in one.failures
    ]
    return notes


def _told(failure: str) -> str:
    """The first line of a failure, without the file that has more: it is of the machine that measured."""
    return failure.splitlines()[0].partition(": see /")[0]
