"""zlib for large payloads, read with a bound: a small job must not unpack to fill a worker's memory."""

from __future__ import annotations

import zlib

from ferryman.errors import PayloadCorrupt, PayloadTooLarge

LEVEL = 3
"""Beyond it zlib takes much longer and gains a few percent."""


def compress(data: bytes) -> bytes:
    """`data` in zlib's format."""
    return zlib.compress(data, LEVEL)


def decompress(data: bytes, limit: int) -> bytes:
    """What was compressed, never more than `limit` bytes. Raises `PayloadTooLarge` or `PayloadCorrupt`."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(data, limit + 1)
    except zlib.error as error:
        raise PayloadCorrupt(f"a compressed payload of {len(data)} bytes is damaged: {error}") from None
    if len(found) > limit:
        raise PayloadTooLarge(
            f"a compressed payload of {len(data):,} bytes unpacks to more than the limit of {limit:,} bytes; "
            "if it is yours, raise max_payload here to what its producer has"
        )
    if not reader.eof or reader.unused_data:
        raise PayloadCorrupt(
            f"a compressed payload of {len(data)} bytes is cut off or has bytes after its end"
        )
    return found
