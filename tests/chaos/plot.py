"""One picture of a soak as an SVG, and as lines for a terminal: throughput, memory, faults and recoveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 960, 64, 16
HEIGHT, GAP, TOP = 130, 46, 34
BARS = " ▁▂▃▄▅▆▇█"


@dataclass
class Series:
    """Values over time, drawn as a line, or as dots."""

    title: str
    unit: str
    points: Sequence[tuple[float, float]]
    """Seconds since the begin, and a value."""
    colour: str
    dots: bool = False


def svg(title: str, series: Sequence[Series], marks: Sequence[float], seconds: float) -> str:
    """The series under one another on one axis of time; each mark is a fault."""
    height = TOP + len(series) * (HEIGHT + GAP)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14" fill="#222">{escape(title)}</text>',
    ]
    for number, one in enumerate(series):
        parts += _panel(one, TOP + 16 + number * (HEIGHT + GAP), marks, seconds)
    return "\n".join([*parts, "</svg>", ""])


def _panel(one: Series, top: float, marks: Sequence[float], seconds: float) -> list[str]:
    wide = WIDTH - LEFT - RIGHT
    most = max((value for _, value in one.points), default=0) or 1

    def x(at: float) -> float:
        return LEFT + wide * at / seconds

    def y(value: float) -> float:
        return top + HEIGHT * (1 - value / most)

    parts = [
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{top + HEIGHT}" stroke="#eee"/>'
        for at in marks
    ]
    parts += [
        f'<path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + wide}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT}" y="{top - 4}" fill="#444">{escape(one.title)}, {escape(one.unit)}</text>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end" fill="#444">{most:.4g}</text>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end" fill="#444">0</text>',
    ]
    for minute in range(0, int(seconds // 60) + 1, max(1, round(seconds / 600))):
        parts.append(
            f'<text x="{x(minute * 60):.1f}" y="{top + HEIGHT + 14}" text-anchor="middle" fill="#444">'
            f"{minute} min</text>"
        )
    if one.dots:
        parts += [
            f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="2.5" fill="{one.colour}"/>'
            for at, value in one.points
        ]
    else:
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in one.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{one.colour}" stroke-width="1.3"/>')
    return parts


def terminal(one: Series, seconds: float, columns: int = 100) -> str:
    """The series as a row of bars."""
    sums, counts = [0.0] * columns, [0] * columns
    for at, value in one.points:
        column = min(int(at / seconds * columns), columns - 1)
        sums[column] += value
        counts[column] += 1
    means = [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]
    most = max(means) or 1
    bars = "".join(BARS[round(mean / most * (len(BARS) - 1))] for mean in means)
    return f"{one.title:>24} |{bars}| up to {most:.4g} {one.unit}"
