"""How a scheduler is to run."""

from __future__ import annotations

from dataclasses import dataclass

from ferryman.errors import ConfigurationError


@dataclass(frozen=True)
class SchedulerSettings:
    """What ``ferryman scheduler`` was asked for, checked."""

    app: str
    """``module`` or ``module:attribute`` of the app."""
    files: tuple[str, ...] = ()
    """TOML files with schedules."""
    lease_s: float = 5.0
    """A leader that is silent for so long is replaced by another."""

    def __post_init__(self) -> None:
        if not 1 <= self.lease_s <= 60:
            raise ConfigurationError(f"scheduler setting lease_s={self.lease_s!r} must be from 1 to 60")
