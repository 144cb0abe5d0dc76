"""Calls that cannot travel are refused at enqueue, with words that help and without the values."""

from __future__ import annotations

import re
import subprocess
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Never
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.arguments import ArgumentCodec
from ferryman.errors import ConfigurationError, InvalidArguments, PayloadCorrupt

SECRET = "hunter2-hunter2"


class Session:
    """Stands for a database session: no plain data."""


@dataclass
class Order:
    id: int
    lines: list[int]


@dataclass
class Rush(Order):
    fee: int = 0


@dataclass
class Invoice:
    id: int
    lines: list[int]


class Color(Enum):
    RED = "red"


class Mixed(Enum):
    A = "a"
    B = (1, 2)


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr


class Count(pydantic.BaseModel):
    n: int


@dataclass
class Named:
    first: str
    other: Named | None


def _ring() -> Named:
    found = Named("a", None)
    found.other = found
    return found


Plain = namedtuple("Plain", "a b")


def send(user_id: int, name: str = "x", *, order: Order | None = None) -> str:
    return name


def untyped(value, *rest, **more): ...  # type: ignore[no-untyped-def]


def refused(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    codec = ArgumentCodec(fn, name="shop.mail:send")
    with pytest.raises(InvalidArguments) as caught:
        codec.encode(args, kwargs)
    if not kwargs:
        with pytest.raises(InvalidArguments):
            codec.encode_many([args])
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith(codec.signature_text)
    return str(caught.value).removeprefix(codec.signature_text + ": ")


def one(hint: Any, value: Any) -> str:
    def task(value: Any) -> None: ...

    task.__annotations__["value"] = hint
    return refused(task, value)


@pytest.mark.parametrize(
    "args, kwargs, expected",
    [
        ((), {}, "missing 'user_id'"),
        ((), {"name": "x"}, "missing 'user_id'"),
        ((1, "x", 3), {}, "takes at most 2 positional arguments, 3 were given"),
        ((1,), {"nome": "x"}, "there is no parameter 'nome'; did you mean 'name'?"),
        ((1,), {"zzzzz": "x"}, "there is no parameter 'zzzzz'"),
        ((1,), {"user_id": 1}, "parameter 'user_id' was given twice, by position and by name"),
        (("7",), {}, "parameter 'user_id': expected int, got str; given: str of length 1"),
        ((1, 2), {}, "parameter 'name': expected str, got int; given: int"),
        ((1,), {"name": b"xx"}, "parameter 'name': expected str, got bytes; given: bytes of length 2"),
        ((True,), {}, "parameter 'user_id': expected int, got bool; given: bool"),
        ((1,), {"order": Order(1, ["x"])}, "parameter 'order'.lines[0]: expected int, got str; given: Order"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_a_call_that_does_not_fit_the_signature_is_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], expected: str
) -> None:
    assert refused(send, *args, **kwargs) == expected


def test_a_required_keyword_is_missed_by_name() -> None:
    def task(a: int, *, key: str) -> None: ...

    assert refused(task, 1) == "missing 'key'"


def test_starred_parameters_are_checked_and_named() -> None:
    def task(*ids: int, **names: str) -> None: ...

    assert refused(task, 1, "x").startswith("parameter 'ids[1]': expected int, got str")
    assert refused(task, user=1).startswith("parameter 'user': expected str, got int")


def _name(item: Any) -> str:
    """A test's name must be the same in every process, so it holds no address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(item))[:40]


@pytest.mark.parametrize(
    "value, words",
    [
        (Order(1, []), ["parameter 'value'", "annotate it as Order", "given: Order"]),
        (Color.RED, ["annotate it as Color"]),
        (Plain(1, 2), ["annotate it as Plain"]),
        (Login(user="a", password=pydantic.SecretStr(SECRET)), ["annotate it as Login"]),
        (Session(), ["Session is no plain data", "an id"]),
        (OrderedDict(a=1), ["would come back as dict", "pass dict(...)"]),
        (bytearray(b"x"), ["bytearray"]),
        (1j, ["complex is no plain data"]),
        (2**64, ["beyond 64 bits", "pass it as str"]),
        (-(2**63) - 1, ["beyond 64 bits"]),
        ("\ud800", ["surrogates"]),
        ([1, {"a": [Session()]}], ["parameter 'value'[1]['a'][0]: a Session"]),
        ((1, {2**70}), ["parameter 'value'[1][...]", "64 bits"]),
        ({Session(): 1}, ["Session is no plain data"]),
        ({"k": "\udfff"}, ["parameter 'value'['k']: ", "surrogates"]),
        (iter([1]), ["list_iterator"]),
        (send, ["function is no plain data"]),
        (Session, ["type is no plain data"]),
    ],
    ids=_name,
)
@pytest.mark.parametrize("shape", ["position", "rest", "keyword", "dict[str, Any]"])
def test_what_is_no_plain_data_is_refused_without_an_annotation(
    shape: str, value: Any, words: list[str]
) -> None:
    match shape:
        case "position":
            told = refused(untyped, value)
        case "rest":
            told = refused(untyped, 1, value).replace("rest[0]", "value")
        case "keyword":
            told = refused(lambda *, value: None, value=value)
        case _:
            told = one(dict[str, Any], {"key": value})
            words = [
                word.removeprefix("parameter 'value'").split(": ", 1)[-1]
                for word in words
                if "given" not in word
            ]
    for word in words:
        assert word in told


def _endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("hint", [Any, list[Any], list], ids=str)
def test_a_list_that_contains_itself_is_refused(hint: Any) -> None:
    assert "contains itself" in one(hint, _endless())


def test_a_dict_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["me"] = loop
    assert "contains itself" in refused(untyped, loop)


def test_a_class_that_contains_itself_is_refused() -> None:
    @dataclass
    class Node:
        next: Any

    node = Node(None)
    node.next = [node]
    assert "annotate it as Node" in one(Node, node)


@pytest.mark.parametrize(
    "hint, value, words",
    [
        (Order, Rush(1, [2]), "a Rush would come back as its base Order"),
        (Order, Invoice(1, [2]), "expected Order, got Invoice"),
        (Order | None, Invoice(1, [2]), "a Invoice is none of what is expected"),
        (Order, Session(), "Session is no plain data"),
        (Order, {"id": 1}, "missing required field"),
        (Color, SECRET, "none of the allowed values"),
        (Literal["a", "b"], SECRET, "none of the allowed values"),
        (Annotated[str, msgspec.Meta(max_length=3)], SECRET, "expected str of length <= 3"),
        (UUID, SECRET, "Invalid UUID"),
        (datetime, SECRET, "Invalid RFC3339"),
        (str | Path, 1, "expected str | Path, got int"),
        (dict[str, Order], {"a": {"id": SECRET, "lines": []}}, "[...].id: expected int, got str"),
        (int, 2**70, "64 bits"),
        (str, "\ud800", "surrogates"),
        (list[int], "123", "expected array, got str"),
        (Login, Login(user="a", password=pydantic.SecretStr(SECRET)), "asterisks"),
        (Login, {"user": 1, "password": SECRET}, "user: Input should be a valid string"),
        (Path, 3, "expected Path, got int"),
        (Order, Order(2**70, []), "'value': an integer beyond 64 bits"),
        (Count, Count(n=10**20), "'value': an integer beyond 64 bits"),
        (Named, Named(first="\ud800", other=None), "'value': a str with lone surrogates"),
        (Named, _ring(), "'value': it is nested too deep, or contains itself"),
    ],
    ids=lambda item: str(item)[:40],
)
def test_a_value_that_does_not_fit_its_annotation_is_refused(hint: Any, value: Any, words: str) -> None:
    assert words in one(hint, value)


@pytest.mark.parametrize(
    "hint, words",
    [
        (Session, "Session is no plain data. What can travel instead"),
        (list[Session], "Session"),
        (Session | None, "Session"),
        (Session | int, "Session stands in a union"),
        (Order | Invoice, "Order stands in a union"),
        (Callable[[int], int], "Callable"),
        (type[Order], "type"),
        (subprocess.Popen, "Popen is no plain data"),
        (Mixed, "Enums must contain"),
        (Never, "Never"),
        (complex, "complex"),
    ],
    ids=str,
)
def test_a_parameter_that_can_never_travel_is_refused_at_registration(hint: Any, words: str) -> None:
    def task(value: Any) -> None: ...

    task.__annotations__["value"] = hint
    with pytest.raises(ConfigurationError, match="parameter 'value' can never travel") as caught:
        ArgumentCodec(task, name="shop:task")
    assert words in str(caught.value)
    ArgumentCodec(task, name="shop:task", carries_objects=True)


def test_a_parameter_that_can_never_travel_may_have_a_default_and_stay_at_home() -> None:
    def task(a: int, session: Session | None = None, *rest: Session, **more: Session) -> None: ...

    codec = ArgumentCodec(task, name="t")
    assert codec.decode(*codec.encode((1,), {})) == ((1,), {})
    assert "Session is no plain data" in refused(task, 1, session=Session())
    assert "Session is no plain data" in refused(task, 1, None, Session())


def test_an_annotation_under_type_checking_is_named_in_the_refusal() -> None:
    def task(order: OnlyForTypes) -> None: ...  # type: ignore[name-defined] # noqa: F821

    told = refused(task, Order(1, []))
    assert "'OnlyForTypes' does not exist at run time" in told


def test_one_bad_call_of_many_is_refused_with_its_parameter() -> None:
    codec = ArgumentCodec(send, name="t")
    with pytest.raises(InvalidArguments, match="parameter 'user_id': expected int, got str"):
        codec.encode_many([(1,), (2,), ("x",)])

    def fixed(a: int) -> None: ...

    with pytest.raises(InvalidArguments, match="parameter 'a': expected int"):
        ArgumentCodec(fixed, name="t").encode_many([(1,), ("x",)])
    with pytest.raises(InvalidArguments, match="takes at most 1"):
        ArgumentCodec(fixed, name="t").encode_many([(1,), (1, 2)])


# -- at the worker --------------------------------------------------------------------------------------


def old(a: int, b: str) -> None: ...


def fewer(a: int) -> None: ...


def renamed(a: int, c: str) -> None: ...


def retyped(a: int, b: datetime) -> None: ...


def bare(a): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("fn", [fewer, renamed, retyped, bare], ids=lambda fn: fn.__name__)
def test_a_job_that_no_longer_fits_its_task_is_refused_by_the_worker(fn: Callable[..., Any]) -> None:
    before, after = ArgumentCodec(old, name="t"), ArgumentCodec(fn, name="t")
    with pytest.raises(InvalidArguments, match=r"^t\("):
        after.decode(*before.encode((1,), {"b": SECRET}))
    if fn is not renamed:
        with pytest.raises(InvalidArguments, match=r"^t\("):
            after.decode(*before.encode((1, SECRET), {}))


DAMAGED = [
    b"",
    b"\xc1",
    b"\x92\x01",
    b"\x91\x01\x01",
    b"\xa1\xff",
    b"\x01",
    b"\x80",
    b"\x91\xa1\xff",
    b"\x91" * 5000,
]
DAMAGED += [
    b"\x91" + bytes([0xC7, 1, 99, 0]),
    b"\x91" + bytes([0xC7, 1, 4, 0]),
    b"\x91" + bytes([0xC7, 2, 5, 65, 65]),
]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:8]))
@pytest.mark.parametrize("fn", [send, fewer, bare, untyped], ids=lambda fn: fn.__name__)
def test_damaged_arguments_are_told_apart_from_wrong_ones(fn: Callable[..., Any], data: bytes) -> None:
    with pytest.raises((PayloadCorrupt, InvalidArguments)):
        ArgumentCodec(fn, name="t").decode(data, None)
    with pytest.raises((PayloadCorrupt, InvalidArguments)):
        ArgumentCodec(fn, name="t").decode(b"\x91\x01", b"\x81\xa1" + data)


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_the_reader_raise_anything_else(args: bytes, kwargs: bytes) -> None:
    for codec in (ArgumentCodec(send, name="t"), ArgumentCodec(untyped, name="t")):
        try:
            found, named = codec.decode(args, kwargs)
        except (PayloadCorrupt, InvalidArguments):
            continue
        assert isinstance(found, tuple)
        assert isinstance(named, dict)


# -- results --------------------------------------------------------------------------------------------


def test_a_result_that_cannot_travel_is_refused() -> None:
    def task() -> Any: ...

    codec = ArgumentCodec(task, name="shop:task")
    for value in (Session(), Order(1, []), 2**70, _endless()):
        with pytest.raises(InvalidArguments, match=r"the result of shop:task\(\) -> Any cannot travel"):
            codec.encode_result(value)


def test_a_damaged_result_is_refused() -> None:
    for codec in (ArgumentCodec(send, name="t"), ArgumentCodec(untyped, name="t")):
        for data in (b"", b"\xc1", b"\x92\x01", b"\x91" * 5000):
            with pytest.raises(PayloadCorrupt, match="a result of task 't' is damaged"):
                codec.decode_result(data)
