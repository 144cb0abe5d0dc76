"""Limits, compression and signed pickles around arguments and results."""

from __future__ import annotations

import os
import pickle
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman import settings as app_settings
from ferryman.arguments import ArgumentCodec
from ferryman.compression import compress, decompress
from ferryman.errors import ConfigurationError, InvalidArguments, PayloadCorrupt, PayloadTooLarge
from ferryman.serializers import Limits, MsgpackSerializer, Payloads, PickleSerializer, Serializer

KEY, OTHER = b"k" * 16, b"o" * 32
NIL = msgspec.Raw(b"\xc0")
ran: list[str] = []


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]


class Trap:
    """Unpickling it is noticed."""

    def __reduce__(self) -> Any:
        return ran.append, ("code of the payload",)


def store(name: str, data: bytes = b"", *, note: str = "") -> bytes:
    return data


def handle(thing: Thing) -> Thing:
    return thing


STORE = ArgumentCodec(store, name="shop:store")
HANDLE = ArgumentCodec(handle, name="shop:handle", carries_objects=True)
PLAIN = Payloads()
SMALL = Payloads(Limits(max_payload=10_000, compress_over=200))
PICKLED = Payloads(serializer=PickleSerializer(KEY))


def there(payloads: Payloads, codec: ArgumentCodec, args: Any, kwargs: Any) -> tuple[Any, Any]:
    packed, named, marks = payloads.pack(codec, args, kwargs)
    msgspec.msgpack.decode(packed)  # an envelope takes nothing else
    return payloads.unpack(codec, msgspec.Raw(packed), NIL if named is None else msgspec.Raw(named), marks)


@pytest.fixture(autouse=True)
def _nothing_ran() -> Any:
    ran.clear()
    yield
    assert not ran


def test_by_default_nothing_is_added() -> None:
    assert PLAIN.pack(STORE, ("a", b"x"), {"note": "n"}) == (*STORE.encode(("a", b"x"), {"note": "n"}), None)
    assert PLAIN.pack_many(STORE, [("a",), ("b",)]) == [(STORE.encode((one,), {})[0], None) for one in "ab"]
    assert PLAIN.pack_result(STORE, b"x") == (STORE.encode_result(b"x"), None)
    assert PLAIN.unpack(STORE, STORE.encode(("a",), {})[0], None, {"timeout": 3}) == (("a",), {})


def test_a_payload_above_the_limit_is_refused_with_advice() -> None:
    for pack in (
        lambda: SMALL.pack(STORE, ("a", bytes(10_000)), {}),
        lambda: SMALL.pack(STORE, ("a", bytes(6_000)), {"note": "n" * 6_000}),
        lambda: SMALL.pack_many(STORE, [("a",), ("a", bytes(10_000))]),
        lambda: SMALL.pack_result(STORE, bytes(10_000)),
        lambda: Payloads(Limits(100), serializer=PickleSerializer(KEY)).pack(STORE, ("a" * 100,), {}),
    ):
        with pytest.raises(PayloadTooLarge, match=r"shop:store: .* bytes, where .*max_payload.*reference"):
            pack()


def test_a_payload_at_the_limit_passes() -> None:
    packed, _ = STORE.encode(("a" * 100,), {})
    assert Payloads(Limits(len(packed))).pack(STORE, ("a" * 100,), {}) == (packed, None, None)
    both = Payloads(Limits(len(packed), compress_over=10))
    assert both.pack(STORE, ("a" * 100,), {})[2] == {"z": 1}
    assert there(both, STORE, ("a" * 100,), {}) == (("a" * 100,), {})


@given(st.text(max_size=500), st.binary(max_size=2000), st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_compression_changes_no_arguments(name: str, data: bytes, note: str) -> None:
    for kwargs in ({}, {"note": note}):
        for sent in ((name, data), (name * 2, data * 2)):
            assert there(SMALL, STORE, sent, kwargs) == (sent, kwargs)
    assert SMALL.unpack_result(STORE, *SMALL.pack_result(STORE, data * 3)) == data * 3


def test_only_what_becomes_smaller_is_compressed() -> None:
    packed, _, marks = SMALL.pack(STORE, ("a", bytes(5000)), {})
    assert (len(packed) < 100, marks) == (True, {"z": 1})
    assert SMALL.pack(STORE, ("a", bytes(50)), {})[2] is None
    noise = os.urandom(1000)
    assert SMALL.pack(STORE, ("a", noise), {}) == (*STORE.encode(("a", noise), {}), None)
    assert SMALL.pack_many(STORE, [("a", bytes(5000)), ("b",)])[0][1] == {"z": 1}


def test_compressed_payloads_are_read_by_apps_that_compress_nothing() -> None:
    packed, named, marks = SMALL.pack(STORE, ("a", bytes(5000)), {})
    assert PLAIN.unpack(STORE, packed, named, marks) == (("a", bytes(5000)), {})


def test_a_decompression_bomb_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    with pytest.raises(PayloadTooLarge, match="more than the limit"):
        PLAIN.unpack(STORE, msgspec.msgpack.encode(bomb), NIL, {"z": 1})
    with pytest.raises(PayloadTooLarge):
        PLAIN.unpack_result(STORE, bomb, {"z": 1})


@pytest.mark.parametrize(
    "data", [b"", b"x", compress(b"abc")[:-1], compress(b"abc") + b"x", compress(b"abc" * 100)[4:]]
)
def test_damaged_compression_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadCorrupt):
        decompress(data, 1000)
    with pytest.raises(PayloadCorrupt):
        PLAIN.unpack(STORE, msgspec.msgpack.encode(data), NIL, {"z": 1})


@pytest.mark.parametrize("args", [b"\x91\x01", b"", b"\xc1", msgspec.msgpack.encode(compress(b"\x01"))])
def test_a_mark_that_does_not_fit_is_refused(args: bytes) -> None:
    for options in ({"z": 1}, {"s": "pickle"}, {"s": "pickle", "z": 1}):
        with pytest.raises(PayloadCorrupt):
            PICKLED.unpack(STORE, args, NIL, options)


# -- pickle ---------------------------------------------------------------------------------------------


def test_pickles_carry_any_object_for_apps_that_opt_in() -> None:
    assert there(PICKLED, HANDLE, (Thing("a"),), {}) == ((Thing("a"),), {})
    assert there(PICKLED, HANDLE, (), {"thing": Thing("a")}) == ((), {"thing": Thing("a")})
    assert PICKLED.unpack_result(HANDLE, *PICKLED.pack_result(HANDLE, Thing("b"))) == Thing("b")
    packed, marks = PICKLED.pack_many(HANDLE, [(Thing("a"),)])[0]
    assert PICKLED.unpack(HANDLE, packed, NIL, marks) == ((Thing("a"),), {})
    assert marks == {"s": "pickle"}
    assert PICKLED.carries_objects
    assert not PLAIN.carries_objects


def test_a_pickling_app_reads_plain_jobs_too() -> None:
    packed, named, marks = PLAIN.pack(STORE, ("a",), {})
    assert PICKLED.unpack(STORE, packed, named, marks) == (("a",), {})


def test_pickles_may_be_compressed() -> None:
    payloads = Payloads(Limits(compress_over=100), serializer=PickleSerializer(KEY))
    assert payloads.pack(STORE, ("a" * 1000,), {})[2] == {"s": "pickle", "z": 1}
    assert there(payloads, STORE, ("a" * 1000,), {"note": "b"}) == (("a" * 1000,), {"note": "b"})
    assert payloads.unpack_result(STORE, *payloads.pack_result(STORE, b"a" * 1000)) == b"a" * 1000


def test_a_pickle_is_refused_by_an_app_that_has_not_opted_in() -> None:
    packed, named, marks = PICKLED.pack(STORE, (Trap(),), {})
    with pytest.raises(PayloadCorrupt, match=r"has not opted in.*pickle_key"):
        PLAIN.unpack(STORE, packed, named, marks)
    with pytest.raises(PayloadCorrupt, match="has not opted in"):
        PLAIN.unpack_result(STORE, *PICKLED.pack_result(STORE, Trap()))


def _forged(data: bytes, key: bytes = OTHER) -> list[bytes]:
    signed = PickleSerializer(key).encode_result(STORE, Trap())
    return [b"", data, bytes(32) + data, signed, signed[:32] + data, data + signed]


@pytest.mark.parametrize("data", _forged(pickle.dumps(((Trap(),), {}))), ids=range(6))
def test_what_bears_no_signature_of_ours_is_never_unpickled(data: bytes) -> None:
    with pytest.raises(PayloadCorrupt, match="no valid signature"):
        PICKLED.unpack(STORE, msgspec.msgpack.encode(data), NIL, {"s": "pickle"})
    with pytest.raises(PayloadCorrupt, match="no valid signature"):
        PICKLED.unpack_result(STORE, data, {"s": "pickle"})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_one_changed_bit_anywhere_is_noticed(data: st.DataObject) -> None:
    signed = bytearray(PickleSerializer(KEY).encode_result(STORE, Trap()))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PayloadCorrupt, match="no valid signature"):
        PICKLED.unpack_result(STORE, bytes(signed), {"s": "pickle"})


def test_a_payload_cannot_be_moved_to_another_task_or_made_a_result() -> None:
    other = ArgumentCodec(store, name="shop:other")
    packed, named, marks = PICKLED.pack(STORE, (Trap(),), {})
    with pytest.raises(PayloadCorrupt, match="no valid signature"):
        PICKLED.unpack(other, packed, named, marks)
    with pytest.raises(PayloadCorrupt, match="no valid signature"):
        PICKLED.unpack_result(STORE, msgspec.msgpack.decode(packed), marks)


def test_keys_can_be_rotated() -> None:
    before, during, after = (PickleSerializer(keys) for keys in (OTHER, [KEY, OTHER], KEY))
    assert during.decode_result(STORE, before.encode_result(STORE, 1)) == 1
    assert after.decode_result(STORE, during.encode_result(STORE, 2)) == 2
    with pytest.raises(PayloadCorrupt):
        after.decode_result(STORE, before.encode_result(STORE, 3))


@pytest.mark.parametrize("key", [b"", b"k" * 15, [], [KEY, b"short"], "k" * 32, ["k" * 32]])
def test_a_weak_key_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="16 or more") as caught:
        PickleSerializer(key)
    assert "kkk" not in str(caught.value)


def test_the_key_is_not_shown_nor_pickled() -> None:
    serializer = PickleSerializer([KEY, OTHER])
    assert repr(serializer) == "<PickleSerializer, 2 keys>"
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(serializer)


def test_a_call_is_checked_before_it_is_pickled() -> None:
    with pytest.raises(InvalidArguments, match="missing 'name'"):
        PICKLED.pack(STORE, (), {})
    with pytest.raises(InvalidArguments, match="cannot be pickled"):
        PICKLED.pack(STORE, (lambda: 1,), {})
    with pytest.raises(InvalidArguments, match="missing"):
        PICKLED.unpack(
            STORE, msgspec.msgpack.encode(PickleSerializer(KEY).encode_result(STORE, 1)), NIL, None
        )


def test_an_object_that_cannot_be_rebuilt_is_told() -> None:
    data = b"cnowhere_at_all\nThing\n."
    import hmac

    signature = hmac.digest(KEY, b"ferryman result of shop:store\0" + data, "sha256")
    with pytest.raises(PayloadCorrupt, match="cannot be rebuilt here: ModuleNotFoundError"):
        PICKLED.unpack_result(STORE, signature + data, {"s": "pickle"})


# -- the rest -------------------------------------------------------------------------------------------


def test_people_see_arguments_as_plain_data_and_pickles_not_at_all() -> None:
    for payloads in (PLAIN, SMALL):
        packed, named, marks = payloads.pack(STORE, ("a", b"x" * 500), {"note": "n"})
        assert PLAIN.peek(packed, named, marks) == (["a", b"x" * 500], {"note": "n"})
    assert PICKLED.peek(*PICKLED.pack(STORE, (Trap(),), {})) is None
    assert PLAIN.peek(b"\xc1", NIL, None) is None
    assert PLAIN.peek(b"\x90", NIL, None) == ([], {})


def test_payloads_follow_the_settings() -> None:
    chosen = app_settings.load(
        {"max_payload": 300, "compress_over": 100, "pickle_key": "k" * 16 + " " + "o" * 32}, {}
    )
    payloads = Payloads.of(chosen)
    assert payloads.limits == Limits(300, 100)
    assert (
        payloads.unpack_result(STORE, PickleSerializer(OTHER).encode_result(STORE, 1), {"s": "pickle"}) == 1
    )
    assert not Payloads.of(app_settings.load({}, {})).carries_objects
    with pytest.raises(ConfigurationError):
        Payloads.of(app_settings.load({"pickle_key": "short"}, {}))


def test_the_serializers_keep_their_protocol() -> None:
    serializers: list[Serializer] = [MsgpackSerializer(), PickleSerializer(KEY)]
    for serializer in serializers:
        packed, named = serializer.encode(STORE, ("a",), {"note": "n"})
        assert serializer.decode(STORE, packed, named) == (("a",), {"note": "n"})
        assert serializer.decode_result(STORE, serializer.encode_result(STORE, b"r")) == b"r"
    assert there(Payloads(serializer=MsgpackSerializer()), STORE, ("a",), {"note": "n"}) == (
        ("a",),
        {"note": "n"},
    )
