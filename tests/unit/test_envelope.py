"""The wire record of a job: any bytes are an envelope or one of two errors."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman import envelope, results
from ferryman.envelope import NO_KWARGS, VERSION, Envelope
from ferryman.errors import PayloadCorrupt, UnsupportedVersion
from tests.support.profiles import effort

plain: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(), st.binary()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


@effort(quick=30, thorough=1000)
@given(
    st.text(),
    st.lists(plain),
    st.dictionaries(st.text(), plain),
    st.integers(0, 2**53),
    st.none() | st.just({"a": 1}),
)
def test_what_goes_in_comes_out(
    task: str, args: list[Any], kwargs: dict[str, Any], now: int, options: dict[str, Any] | None
) -> None:
    letter = Envelope(VERSION, task, msgspec.Raw(pack(args)), msgspec.Raw(pack(kwargs)), now, options)
    found = envelope.decode(envelope.encode(letter))
    assert (found.task, found.enqueued_ms, found.options) == (task, now, options)
    assert msgspec.msgpack.decode(found.args) == args
    assert msgspec.msgpack.decode(found.kwargs) == kwargs


def test_a_small_job_is_a_small_envelope() -> None:
    letter = Envelope(
        VERSION, "shop.mail:send_welcome", msgspec.Raw(pack([42])), NO_KWARGS, 1_780_000_000_000
    )
    assert len(envelope.encode(letter)) <= 45


@effort(quick=60, thorough=2000)
@given(st.one_of(st.binary(), plain.map(pack), st.lists(plain, min_size=4, max_size=8).map(pack)))
def test_other_bytes_are_refused_with_an_error_of_ours(body: bytes) -> None:
    with contextlib.suppress(PayloadCorrupt, UnsupportedVersion):
        envelope.decode(body)
    with contextlib.suppress(PayloadCorrupt):
        results.decode(body)


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x91" * 50_000, b"\x96\x01", pack([1, "t", [], None, "x", None])]
)
def test_corrupt_bytes_are_called_corrupt(body: bytes) -> None:
    with pytest.raises(PayloadCorrupt, match=f"{len(body)} bytes"):
        envelope.decode(body)


@pytest.mark.parametrize("body", [pack([2, "t", [], None, 0, None]), pack([3]), pack([7, {"new": "shape"}])])
def test_a_newer_version_is_called_newer_whatever_its_shape(body: bytes) -> None:
    with pytest.raises(UnsupportedVersion, match="upgrade the worker"):
        envelope.decode(body)


def test_a_later_version_may_add_fields_at_the_end() -> None:
    assert envelope.decode(pack([1, "t", [], None, 0, None, "more"])).task == "t"


def test_a_result_that_went_in_comes_out() -> None:
    record = results.ResultRecord(
        results.SUCCEEDED, "t", b"\x01", 1, "ada", 1, 2, 3, {"x": 1}, {"tags": ["a"]}
    )
    assert results.decode(results.encode(record)) == record
    with pytest.raises(PayloadCorrupt):
        results.decode(b"garbage")
