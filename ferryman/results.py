"""How a job ended, as it is kept under ``result:<id>`` for as long as its task wants."""

from __future__ import annotations

import msgspec

from ferryman.errors import PayloadCorrupt

SUCCEEDED, CANCELLED, EXPIRED = "succeeded", "cancelled", "expired"


class ResultRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The end of a job: `state` is ``succeeded``, ``cancelled`` or ``expired``. (A dead job is not ended: it
    is kept whole.)
    """

    state: str
    task: str
    value: bytes | None = None
    """What the task returned, as its serializer wrote it."""
    attempts: int = 0
    worker: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    enqueued_ms: int = 0
    marks: dict[str, str | int] | None = None
    """How `value` was written, where that is not plain msgpack."""
    options: dict[str, object] | None = None
    """Tags and meta of the job, for people."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ResultRecord)

encode = _encoder.encode


def decode(record: bytes) -> ResultRecord:
    """The record in `record`. Raises `PayloadCorrupt`."""
    try:
        return _decoder.decode(record)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PayloadCorrupt(f"a result in Redis is not one of ours: {error}") from None
