"""The immutable wire record of a job: what Redis keeps for it, and nothing else.

A msgpack array, so that an envelope of a small job is some 60 bytes. Arguments stay encoded (`msgspec.Raw`)
until the task that knows their types decodes them. Only options that differ from the task's own travel; the
worker's registry supplies the rest, so a changed default also holds for the jobs that already wait.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ferryman.errors import PayloadCorrupt, UnsupportedVersion

VERSION = 1
"""What is written. A change that an older worker would misread takes the next number (docs/upgrades.md)."""
OLDEST = 1
"""The oldest version that is still read."""


class Envelope(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    task: str
    args: msgspec.Raw
    """The positional arguments: a msgpack array as `ferryman.arguments` wrote it, or the bytes of another
    serializer.
    """
    kwargs: msgspec.Raw
    """The keyword arguments as a msgpack map, or nil."""
    enqueued_ms: int
    """Server time as the producer knew it."""
    options: dict[str, Any] | None = None
    """What differs from the task: timeout, retry, expires (absolute ms), result_ttl, meta, tags, priority,
    serializer, ...
    """


NO_KWARGS = msgspec.Raw(b"\xc0")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_version = msgspec.msgpack.Decoder(tuple[Any, ...])

encode = _encoder.encode


def decode(body: bytes) -> Envelope:
    """The envelope in `body`. Raises `UnsupportedVersion` or `PayloadCorrupt`."""
    try:
        envelope = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _complaint(body, error) from None
    if envelope.version != VERSION and not OLDEST <= envelope.version < VERSION:
        raise _unread(envelope.version)
    return envelope


def _unread(version: int) -> Exception:
    if version < OLDEST:
        return PayloadCorrupt(
            f"the job's envelope has version {version}, and this Ferryman reads no version below {OLDEST}: "
            "such jobs are for the workers of an earlier release"
        )
    return UnsupportedVersion(
        f"the job's envelope has version {version}, this Ferryman reads up to {VERSION}: upgrade the worker",
        version,
    )


def _complaint(body: bytes, error: Exception) -> Exception:
    try:
        fields = _version.decode(body)
    except (msgspec.MsgspecError, RecursionError):  # nested a thousand deep, which no job of ours is
        fields = ()
    if fields and isinstance(fields[0], int) and fields[0] > VERSION:
        return _unread(fields[0])
    return PayloadCorrupt(f"the job's envelope is not one of ours ({len(body)} bytes): {error}")
