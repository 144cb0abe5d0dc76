"""What a type checker, and so an editor, shows to a user of Ferryman."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = """
from tests.typing.accepted import app, fetch, plain, send

reveal_type(plain)  # shows: Task[[user_id: int], str]
reveal_type(fetch)  # shows: AsyncTask[[url: str], bytes]
reveal_type(send.enqueue)  # shows: def (user_id: int, *, subject: str =) -> Job[list[str]]
reveal_type(send.options(delay=1).enqueue)  # shows: def (user_id: int, *, subject: str =) -> Job[list[str]]
reveal_type(fetch.enqueue)  # shows: def (url: str) -> Job[bytes]
reveal_type(fetch.aenqueue)  # shows: def (url: str) -> Coroutine[Any, Any, Job[bytes]]
reveal_type(plain.enqueue(1).result)  # shows: def (timeout: float | None =) -> str
reveal_type(app.job("a@b").result())  # shows: Any
"""


pytestmark = pytest.mark.timeout(300)  # a first run reads the types of every library


def test_mypy_accepts_what_it_should_and_refuses_what_it_should() -> None:
    told = _mypy("tests/typing/accepted.py", "tests/typing/refused.py")
    wrong = [line for line in told if line.startswith("tests/typing/")]
    assert not wrong, "\n".join(wrong)


def test_an_editor_shows_signatures_with_the_names_of_the_functions_parameters(tmp_path: Path) -> None:
    shown = tmp_path / "shown_in_an_editor.py"
    shown.write_text(SHOWN)
    # By the file's name: mypy may repeat what it found in an equal file elsewhere.
    told = [re.search(r"shown_in_an_editor\.py:(\d+): (.*)", line) for line in _mypy(str(shown))]
    revealed = {
        int(line[1]): _without_modules(line[2].removeprefix('note: Revealed type is "').removesuffix('"'))
        for line in told
        if line
    }
    expected = {
        number: line.partition("# shows: ")[2]
        for number, line in enumerate(SHOWN.splitlines(), 1)
        if "# shows: " in line
    }
    assert revealed == expected


def _mypy(*what: str) -> list[str]:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", *what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    return (done.stdout + done.stderr).splitlines()


def _without_modules(shown: str) -> str:
    return re.sub(r"\b[a-z_]+(\.[a-z_]+)*\.(?=\w)", "", shown)
