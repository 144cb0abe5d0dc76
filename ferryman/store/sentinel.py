"""Connections that follow the primary of a Sentinel group: each asks the sentinels where it is whenever it is
opened, and makes sure that it has reached it.

A connection to a primary that was demoted ends (the server closes it, or answers READONLY), the caller opens
it again, and it is at the new one. Nothing is subscribed to, so there is nothing to miss.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio.sentinel as aio_sentinel
import redis.exceptions as rx
import redis.sentinel as sync_sentinel

from ferryman.store.address import Address

_PATIENCE_S = 1.0
"""A sentinel that does not answer within this time is passed over; the next may know."""


def _options(address: Address, timeout_s: float) -> dict[str, Any]:
    wait_s = min(timeout_s, _PATIENCE_S)
    return {
        "socket_timeout": wait_s,
        "socket_connect_timeout": wait_s,
        **address.sentinel_options,
        "protocol": 2,
    }


def _refused(role: Any) -> rx.ConnectionError:
    found = role[0].decode() if role else "nothing"
    return rx.ConnectionError(
        f"the sentinels named a server as primary that says it is a {found}: a failover is under way"
    )


def following(kind: Any, address: Address, timeout_s: float) -> Any:
    """A class of connections like `kind` that lead to the primary."""

    class Following(kind):  # type: ignore[misc]
        def _connect(self) -> Any:
            sentinels = sync_sentinel.Sentinel(
                list(address.nodes), sentinel_kwargs=_options(address, timeout_s)
            )
            try:
                self.host, self.port = sentinels.discover_master(address.service)
            finally:
                sentinels.close()
            return super()._connect()

        def on_connect_check_health(self, check_health: bool = True) -> None:
            super().on_connect_check_health(check_health)
            self.send_command("ROLE", check_health=False)
            role = self.read_response(disable_decoding=True)
            if role[0] != b"master":
                raise _refused(role)

    return Following


def following_aio(kind: Any, address: Address, timeout_s: float) -> Any:
    """As `following`, for asyncio."""

    class Following(kind):  # type: ignore[misc]
        async def _connect(self) -> None:
            sentinels = aio_sentinel.Sentinel(
                list(address.nodes), sentinel_kwargs=_options(address, timeout_s)
            )
            try:
                self.host, self.port = await sentinels.discover_master(address.service)
            finally:
                for client in sentinels.sentinels:
                    await client.aclose()
            await super()._connect()

        async def on_connect_check_health(self, check_health: bool = True) -> None:
            await super().on_connect_check_health(check_health)
            await self.send_command("ROLE", check_health=False)
            role = await self.read_response(disable_decoding=True)
            if role[0] != b"master":
                raise _refused(role)

    return Following
