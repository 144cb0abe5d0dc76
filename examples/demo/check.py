"""Was every file counted exactly once? Each check is a sentence and whether it is true."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import indexer
import sources

from ferryman import Ferryman

Check = tuple[bool, str]


def checks(app: Ferryman, files: list[Path], summary: indexer.Summary) -> list[Check]:
    """What must be true at the end, computed from the files themselves and not from what the workers say."""
    counted = [json.loads(shard.read_text())["path"] for shard in indexer.shards()]
    dead = dead_paths(app)
    once, wanted = Counter(counted) + Counter(dead), {str(path) for path in files}
    lines = sources.lines_of([path for path in files if str(path) not in dead])
    unparsable = {path for path in dead if not sources.parses(Path(path))}
    return [
        (
            set(once) == wanted and set(once.values()) == {1},
            f"{len(wanted):,} files: {len(counted):,} counted, {len(dead)} dead letters, each exactly once",
        ),
        (
            summary["lines"] == lines and summary["files"] == len(counted),
            f"the fleet counted {summary['lines']:,} lines; counted here, in one go: {lines:,}",
        ),
        (
            unparsable == set(dead),
            f"the dead letters are the {len(unparsable)} files that do not parse here either",
        ),
        (not len(app.queue("index")), "nothing is left in the queue"),
    ]


def dead_paths(app: Ferryman) -> list[str]:
    """The files whose jobs are dead letters."""
    infos = [job.info() for job in app.queue("index").jobs("dead")]
    return [str(info.args[0]) if info.args else info.task for info in infos]


def repeated() -> tuple[int, int]:
    """Runs that began, and how many of them were not the first of their file."""
    began = indexer.runs()
    return len(began), len(began) - len(set(began))
