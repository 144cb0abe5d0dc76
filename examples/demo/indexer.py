"""The demo's tasks: an index of a tree of Python files. Any number of workers run it:

    ferryman worker indexer -q clock,index -p 2

A worker may die at any moment and its jobs then run again, so every task here may run twice: what it writes
is one file whose name comes from its input, put in place by a rename. Twice is the same as once.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import itertools
import json
import os
import time
import warnings
from pathlib import Path
from typing import TypedDict

from ferryman import Ferryman, Retry, current_job

app = Ferryman()  # FERRYMAN_URL says where the jobs are kept
OUT = Path(os.environ.get("FERRYMAN_DEMO_OUT", "demo-index"))
warnings.simplefilter("ignore", SyntaxWarning)  # old escapes in other people's files


class Summary(TypedDict):
    """The whole index in a few numbers."""

    files: int
    lines: int
    names: int
    top: list[tuple[str, int]]


@app.task(queue="index", retry=Retry(delay=[0.3, 1.0]), timeout=30)
def index_file(path: str) -> None:
    """Count the lines and names of one file. A file that does not parse fails, is tried twice more, and is
    then a dead letter.
    """
    _note_run(path)
    source = Path(path).read_bytes()
    names = collections.Counter(
        node.id for node in ast.walk(ast.parse(source, path)) if isinstance(node, ast.Name)
    )
    _write(shard_of(path), {"path": path, "lines": source.count(b"\n"), "names": names})


@app.task(queue="index", priority=10, retry=Retry(delay=[0.2]), timeout=1)
def closest_names() -> list[str]:
    """The two most alike of the names. The first attempt compares each with each, which takes minutes and
    meets its limit of one second; the second knows that it is the second, and compares neighbours only.
    """
    names = sorted({name for shard in shards() for name in json.loads(shard.read_text())["names"]})
    pairs = itertools.combinations(names, 2) if current_job().attempt == 1 else itertools.pairwise(names)
    return list(max(pairs, key=_alike, default=("", "")))


@app.task(queue="clock")
def look_at_the_clock(due: float) -> float:
    """How late this delayed job began, in seconds."""
    return time.time() - due


@app.task(queue="index", timeout=60)
def merge() -> Summary:
    """Add up the files' counts."""
    total: collections.Counter[str] = collections.Counter()
    found = [json.loads(shard.read_text()) for shard in shards()]
    for one in found:
        total.update(one["names"])
    return Summary(
        files=len(found),
        lines=sum(one["lines"] for one in found),
        names=total.total(),
        top=total.most_common(10),
    )


def shards() -> list[Path]:
    """What has been indexed, one file each."""
    return sorted((OUT / "shards").glob("*.json"))


def shard_of(path: str) -> Path:
    """Where the counts of `path` go: always the same place."""
    return OUT / "shards" / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}.json"


def runs() -> list[str]:
    """Every run of `index_file` that began, by path: more than one for a file that was run again."""
    return [line for log in (OUT / "runs").glob("*") for line in log.read_text().splitlines()]


def _alike(pair: tuple[str, str]) -> float:
    first, second = pair
    shared = sum(
        1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(first, second, strict=False))
    )
    return shared / max(len(first), len(second)) + shared / 1000


def _note_run(path: str) -> None:
    with (OUT / "runs" / str(os.getpid())).open("a") as log:  # a line this short is written whole
        log.write(f"{path}\n")


def _write(target: Path, value: object) -> None:
    unfinished = target.with_suffix(f".{current_job().worker}.{current_job().local}")
    unfinished.write_text(json.dumps(value))
    unfinished.replace(target)
