"""Code in the documentation: all of it is Python, and what is marked to run does.

A block after the comment ``<!-- run -->`` runs: the blocks of a page one after the other, as one program,
with jobs run at the call that enqueues them.
"""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from ferryman import Ferryman
from ferryman.testing import inline

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
_BLOCK = re.compile(
    r"(<!-- run -->\s*\n)?^( *)```(?:python|py)\b[^\n]*\n(.*?)^\2```", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    line: int
    runs: bool
    code: str


def blocks(page: Path) -> Iterator[Block]:
    """The Python blocks of a page, without their indentation."""
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        indent = len(found[2])
        code = "\n".join(line[indent:] for line in found[3].split("\n"))
        yield Block(text.count("\n", 0, found.start(3)) + 1, bool(found[1]), code)


def compiled(page: Path, block: Block) -> Any:
    """The block as code whose errors name the page and the line."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if not block.runs else 0
    code = "\n" * (block.line - 1) + block.code
    return compile(code, str(page), "exec", flags=flags, dont_inherit=True)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=name_of)
def test_every_python_block_is_python(page: Path) -> None:
    for block in blocks(page):
        compiled(page, block)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.exists() and any(block.runs for block in blocks(page))],
    ids=name_of,
)
def test_a_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    make = Ferryman.__init__
    with contextlib.ExitStack() as inlined:

        def make_inline(app: Ferryman, *args: Any, **kwargs: Any) -> None:
            make(app, *args, **kwargs)
            inlined.enter_context(inline(app))

        monkeypatch.setattr(Ferryman, "__init__", make_inline)
        for block in blocks(page):
            if block.runs:
                exec(compiled(page, block), vars(module))


def test_the_page_on_testing_runs() -> None:
    assert sum(block.runs for block in blocks(ROOT / "docs/testing.md")) >= 5
