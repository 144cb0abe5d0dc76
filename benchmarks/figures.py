"""Numbers of repeated runs, brought to one line a system."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

Record = dict[str, float]
"""What one run measured: figure name -> number. A series adds the number of the round."""


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass
class Series:
    """The runs of one system in one variant of a measurement."""

    system: str
    variant: str
    records: list[Record] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def values(self, figure: str) -> list[float]:
        """That figure of every run that has it."""
        return [record[figure] for record in self.records if figure in record]

    def median(self, figure: str) -> float | None:
        """The median over the runs; None if no run has the figure."""
        values = self.values(figure)
        return statistics.median(values) if values else None

    def ratio(self, other: Series, figure: str) -> float | None:
        """Median of this series' figure over the other's, round by round, so that a slow minute hits both."""
        theirs = {record["round"]: record[figure] for record in other.records if record.get(figure)}
        ratios = [
            record[figure] / theirs[record["round"]]
            for record in self.records
            if figure in record and record["round"] in theirs
        ]
        return statistics.median(ratios) if ratios else None
