"""What a fleet asks of Redis before it starts. The whole examination is ``ferryman doctor``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ferryman.errors import ConfigurationError, StoreDenied, StoreError, StoreUnavailable
from ferryman.store import Link, layout

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

LEAST_VERSION = (6, 2)


def check_store(app: Ferryman) -> None:
    """Raises `StoreError` where Redis says no, `ConfigurationError` where there is none.

    A Redis that is not up yet is waited for by those who need it.
    """
    if app.store.address.kind == "memory":
        raise ConfigurationError(
            "workers need a server: memory:// is for tests, which run their jobs themselves"
        )
    link = app.store.link()
    try:
        link.command("PING")
        _note_layout(layout.check(link, app.store.fleet_keys), app)
        try:
            fields = _info(link)
        except StoreDenied:  # an ACL without INFO is nothing to complain about
            return
        _check_version(link, fields)
        _warn_of_eviction(link, fields)
    except StoreUnavailable as error:
        logger.warning("%s; the workers start and wait for it", error)
    finally:
        link.close()


def check_layout(app: Ferryman) -> None:
    """Raises `StoreIncompatible` where another release has laid out the keys."""
    link = app.store.link()
    try:
        _note_layout(layout.check(link, app.store.fleet_keys), app)
    except StoreUnavailable:  # asked again when the lease begins
        pass
    finally:
        link.close()


def _note_layout(found: layout.Layout, app: Ferryman) -> None:
    if found != layout.OURS:
        logger.info(
            "the keys under %s are laid out in format %d, this release writes %d; they can share them",
            app.store.prefix, found.format, layout.FORMAT,
        )  # fmt: skip


def _info(link: Link) -> dict[str, str]:
    text = b"".join(bytes(link.command("INFO", section)) for section in ("server", "memory")).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def _check_version(link: Link, fields: dict[str, str]) -> None:
    if "valkey_version" in fields:
        return
    version = fields.get("redis_version", "7.0.0")
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST_VERSION:
        raise StoreError(
            f"Redis at {link.address} is version {version}; Ferryman needs 6.2 or later, or Valkey 7.2"
        )


def _warn_of_eviction(link: Link, fields: dict[str, str]) -> None:
    policy = fields.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and int(fields.get("maxmemory", "0")) > 0:
        logger.error(
            "Redis at %s evicts keys when its memory is full (maxmemory-policy %s): whole queues can vanish. "
            "Set maxmemory-policy noeviction, or keep jobs in a Redis of their own",
            link.address,
            policy,
        )
