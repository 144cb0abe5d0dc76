"""What the checks of `ferryman.doctor` are made of: a `Finding`, and the `Probe` they ask."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ferryman.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.store import Link

Status = Literal["ok", "warn", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    status: Status
    """``ok``; ``warn``: it works, and something is weaker than one may think; ``error``: not fit to hold
    jobs; ``unknown``: the server does not say.
    """
    what: str
    do: str = ""
    """What to do about it; empty where there is nothing to do."""


class Probe:
    """One look at an app's Redis. Server facts are read once, when first asked for."""

    def __init__(self, app: Ferryman, link: Link | None = None) -> None:
        self.app = app
        self._link = link
        self._config_forbidden = False

    def command(self, *words: Any) -> Any:
        """One command, to the one server that is looked at if there are several. Raises a `StoreError`."""
        return self._link.command(*words) if self._link else self.app.store.pool.command(*words)

    @functools.cached_property
    def info(self) -> dict[str, str]:
        """The server's INFO; empty where that is forbidden."""
        try:
            raw: bytes = self.command("INFO", "everything")
        except StoreUnavailable:
            raise
        except StoreError:
            return {}
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").splitlines())
        return {name: value for name, colon, value in lines if colon}

    def number(self, name: str) -> int | None:
        """A whole number of INFO, or None."""
        value = self.info.get(name, "")
        return int(value) if value.lstrip("-").isdigit() else None

    def config(self, name: str) -> str | None:
        """A setting of the server, or None where CONFIG GET is forbidden, as on most managed servers."""
        if self._config_forbidden:
            return None
        try:
            reply: list[bytes] = self.command("CONFIG", "GET", name)
        except StoreUnavailable:
            raise
        except StoreError:
            self._config_forbidden = True
            return None
        return reply[1].decode("utf-8", "replace") if len(reply) > 1 else None

    @property
    def config_is_known(self) -> bool:
        """Whether the server lets its settings be read."""
        return self.config("maxmemory-policy") is not None


def counted(number: int, noun: str) -> str:
    """``1 job``, ``2,000 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bytes_text(count: float) -> str:
    """``1.5 GB``: a size in bytes for people, in powers of 1024."""
    size, unit = float(count), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size >= 100 or unit == "bytes" else f"{size:.1f} {unit}"
