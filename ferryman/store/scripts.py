"""The Lua scripts: read once from the package, their includes resolved, their digests known before a server
has seen them.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r"^-- @include (\w+)\n", re.MULTILINE)
_SHEBANG = re.compile(r"\A#!lua[^\n]*\n")


class Script:
    """One transition's Lua text. `flagged` carries the ``#!lua`` line that Redis 7 and Valkey read; older
    servers get `plain`.
    """

    __slots__ = ("flagged", "flagged_sha", "name", "plain", "plain_sha")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.flagged = source
        self.plain = _SHEBANG.sub("", source)
        self.flagged_sha = _digest(self.flagged)
        self.plain_sha = _digest(self.plain)

    def __repr__(self) -> str:
        return f"Script({self.name!r})"


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def read(path: str) -> str:
    """The text of ``lua/<path>.lua`` as it stands in the package."""
    return resources.files("ferryman.store").joinpath("lua", f"{path}.lua").read_text("utf-8")


def resolve(source: str, includes: dict[str, str] | None = None) -> str:
    """`source` with each ``-- @include name`` replaced by that file, once, in order of need. `includes`
    overrides files by name.
    """
    seen: set[str] = set()

    def expand(text: str, trail: tuple[str, ...]) -> str:
        def insert(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in trail:
                raise ValueError(f"Lua includes run in a circle: {' -> '.join((*trail, name))}")
            if name in seen:
                return ""
            seen.add(name)
            return expand((includes or {}).get(name) or read(f"include/{name}"), (*trail, name))

        return _INCLUDE.sub(insert, text)

    return expand(source, ())


@cache
def load(name: str) -> Script:
    """The script ``lua/<name>.lua``."""
    return Script(name, resolve(read(name)))
