"""What can be set for an app, in one table: name, type, default, meaning. Arguments win over the environment,
which wins over a file.

The environment names are ``FERRYMAN_`` and the setting's name in capitals (``FERRYMAN_URL``,
``FERRYMAN_LEASE_S``). The file is TOML, named by ``FERRYMAN_CONFIG``, with the settings at its top level.
``ferryman doctor`` prints where each value came from.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from ferryman.errors import ConfigurationError

_DAY_S = 86_400.0


def _setting(
    default: Any, meaning: str, *, low: float | None = None, high: float | None = None, secret: bool = False
) -> Any:
    return field(
        default=default,
        metadata={"meaning": meaning, "low": low, "high": high, "secret": secret},
        repr=not secret,
    )


@dataclass(frozen=True)
class Settings:
    """An app's settings, checked. Times are in seconds."""

    url: str = _setting("redis://localhost:6379/0", "where jobs are kept", secret=True)
    prefix: str = _setting("ferryman", "what every key in Redis begins with")
    default_queue: str = _setting("default", "queue of tasks that name none")
    timeout_s: float = _setting(5.0, "longest wait for one answer of Redis", low=0.1, high=300)
    patience_s: float = _setting(
        3.0, "how long a call repeats itself while Redis is away, before it raises", low=0, high=600
    )
    durability: str = _setting(
        "memory", "what must be true of a job before enqueue returns: memory, replicated[:n[:seconds]], fsync"
    )
    result_ttl_s: float = _setting(
        600.0, "how long the result of a task that declares one is kept", low=0, high=365 * _DAY_S
    )
    max_payload: int = _setting(
        1024 * 1024, "largest encoded arguments or result, in bytes", low=1, high=256 * 1024 * 1024
    )
    compress_over: int = _setting(
        0, "payloads above so many bytes are compressed; 0: none are", low=0, high=256 * 1024 * 1024
    )
    pickle_key: str = _setting(
        "", "secret that signs pickled arguments; empty: pickle is refused", secret=True
    )
    lease_s: float = _setting(
        15.0, "a worker that is silent for so long has lost its jobs to others", low=1, high=3600
    )
    crash_limit: int = _setting(
        3, "a job that was running when this many workers were lost is dead", low=1, high=1000
    )
    crash_window_s: float = _setting(
        _DAY_S, "crashes further apart than this are not added up", low=1, high=365 * _DAY_S
    )
    dead_limit: int = _setting(10_000, "how many dead letters a queue keeps", low=0, high=10_000_000)
    dead_ttl_s: float = _setting(90 * _DAY_S, "how long a dead letter is kept", low=60, high=3650 * _DAY_S)
    kill_after_s: float = _setting(
        5.0, "how long past its timeout a job may go on before its process is killed", low=0.1, high=3600
    )
    stall_after_s: float = _setting(
        90.0, "a worker process that reaches Redis no more for so long is replaced", low=5, high=86_400
    )
    unknown_task_limit: int = _setting(
        10, "how often a job of an unknown task is put off before it is dead", low=0, high=10_000
    )
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Where each value came from: ``argument``, ``environment``, a file's path, or ``default``."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            if entry.name != "sources":
                object.__setattr__(
                    self, entry.name, _checked(entry, getattr(self, entry.name), hints[entry.name])
                )
        if not self.prefix or any(character in self.prefix for character in "{}* \n\r\t"):
            raise ConfigurationError(
                f"setting prefix={self.prefix!r} must be a word without spaces, '*', '{{' or '}}'"
            )


def names() -> list[str]:
    """Every setting's name."""
    return [entry.name for entry in fields(Settings) if entry.name != "sources"]


def load(arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from arguments (None counts as not given), the environment and the file it names. Raises
    `ConfigurationError`.
    """
    environ = os.environ if environment is None else environment
    known = names()
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known, "default")

    path = environ.get("FERRYMAN_CONFIG")
    if path:
        for name, value in _file(path).items():
            _known(name, known, f"file {path}")
            values[name], sources[name] = value, path
    for name in known:
        if (text := environ.get(f"FERRYMAN_{name.upper()}")) not in (None, ""):
            values[name], sources[name] = text, "environment"
    for name, value in arguments.items():
        _known(name, known, "argument")
        if value is not None:
            values[name], sources[name] = value, "argument"
    return Settings(**values, sources=sources)


def _file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"FERRYMAN_CONFIG names {path}, which cannot be read: {error.strerror}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"FERRYMAN_CONFIG names {path}, which is no valid TOML: {error}") from None


def _known(name: str, known: list[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"{where}: there is no setting {name!r}{hint}")


def _checked(entry: Any, value: Any, kind: type) -> Any:
    shown = "***" if entry.metadata["secret"] else repr(value)
    if isinstance(value, str) and kind in (int, float):
        try:
            value = kind(value)
        except ValueError:
            raise ConfigurationError(
                f"setting {entry.name}={shown} must be a number ({entry.metadata['meaning']})"
            ) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigurationError(
            f"setting {entry.name}={shown} must be of type {kind.__name__} ({entry.metadata['meaning']})"
        )
    low, high = entry.metadata["low"], entry.metadata["high"]
    if low is not None and not low <= value <= high:
        raise ConfigurationError(
            f"setting {entry.name}={shown} must be from {low} to {high} ({entry.metadata['meaning']})"
        )
    return value
