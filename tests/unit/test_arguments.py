"""Calls that travel: what is written at enqueue is what the worker gets."""

from __future__ import annotations

import functools
import math
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.arguments import ArgumentCodec

NIL = msgspec.Raw(b"\xc0")
ID = UUID("12345678-1234-5678-1234-567812345678")
EAST = timezone(timedelta(hours=2))
NAIVE = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - naive ones travel too


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Box:
    label: str
    data: Any = None
    when: datetime | None = None
    inner: Box | None = None
    corners: list[Point] = field(default_factory=list)


class Order(msgspec.Struct, rename="camel"):
    order_id: int
    extra_data: dict[str, Any] = {}


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    amount: Decimal
    note: Any = None


class Pair(NamedTuple):
    left: int
    right: Any = None


class Named(TypedDict):
    name: str
    more: typing.NotRequired[Any]


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    S = 1


class Mode(StrEnum):
    FAST = "fast"


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    name: str
    since: datetime
    address: Path | None = None
    tags: set[str] = set()


def anything(*args: Any, **kwargs: Any) -> None: ...


def there(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    codec = ArgumentCodec(fn, name="shop:task")
    packed, named = codec.encode(args, kwargs)
    if not kwargs:
        assert codec.encode_many([args, args]) == [packed, packed]
    return codec.decode(msgspec.Raw(packed), NIL if named is None else msgspec.Raw(named))


def one(hint: Any, value: Any) -> Any:
    """`value` after its way through a task with one parameter of this annotation."""

    def task(value: Any) -> None: ...

    task.__annotations__["value"] = hint
    (by_position,), _ = there(task, value)
    _, by_name = there(task, value=value)
    assert repr(by_name["value"]) == repr(by_position) or isinstance(value, (set, frozenset))
    return by_position


PLAIN = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    1.5,
    math.inf,
    "",
    "é\0",
    b"\xff",
    [],
    [1, [2]],
    {"a": {"b": 1}},
    {1: 2, b"k": 3, None: 4},
    ID,
    Decimal("1.50"),
    Decimal("-Infinity"),
    date(2024, 2, 29),
    time(1, 2, 3, 4),
    time(1, tzinfo=EAST),
    timedelta(-1, 2, 3),
    timedelta.max,
    NAIVE,
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=EAST),
    Path("/a/b"),
    PurePosixPath("a"),
    PureWindowsPath(r"c:\a"),
    Path("/\udcff"),
    (),
    (1, (2, "x")),
    {1, 2},
    frozenset({(1, ID)}),
    [{"deep": ({ID}, [date(2024, 1, 1)])}],
    {ID: 1, (1, 2): 2, date(2024, 1, 1): 3, frozenset({1}): 4},
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
@pytest.mark.parametrize("hint", [Any, object, list[Any], dict[str, Any], Any | None], ids=str)
def test_plain_data_comes_back_as_what_it_was(value: Any, hint: Any) -> None:
    wrapped = [value] if hint == list[Any] else {"k": value} if hint == dict[str, Any] else value
    found = one(hint, wrapped)
    assert found == wrapped
    assert repr(found) == repr(wrapped) or isinstance(value, (set, frozenset))


def test_not_a_number_travels() -> None:
    assert math.isnan(one(Any, math.nan))
    assert math.isnan(one(float, math.nan))


def test_a_zone_keeps_its_name_and_its_fold_without_an_annotation() -> None:
    zone = ZoneInfo("Europe/Zurich")
    for fold in (0, 1):
        moment = datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=fold)
        found = one(Any, moment)
        assert (found, found.tzinfo, found.fold) == (moment, zone, fold)


TYPED = [
    (int, 3),
    (float, 3.5),
    (str, "x"),
    (bytes, b"x"),
    (bool, True),
    (None, None),
    (int | None, None),
    (int | str, "x"),
    (UUID, ID),
    (Decimal, Decimal("1.10")),
    (date, date(2024, 1, 1)),
    (time, time(1, 2)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (datetime, NAIVE),
    (datetime, datetime(2024, 1, 1, tzinfo=UTC)),
    (datetime, datetime(2024, 1, 1, tzinfo=EAST)),
    (datetime | None, datetime(2024, 1, 1, tzinfo=EAST)),
    (list[datetime], [datetime(2024, 1, 1, tzinfo=EAST)]),
    (dict[datetime, int], {datetime(2024, 1, 1, tzinfo=EAST): 1}),
    (Path, Path("a/b")),
    (PurePosixPath, PurePosixPath("a")),
    (Path | None, Path("a")),
    (list[Path], [Path("a")]),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (tuple, (1, ID)),
    (tuple[int, Any], (1, ID)),
    (set, {ID}),
    (list, [ID]),
    (dict, {"a": ID}),
    (dict[UUID, Any], {ID: {ID}}),
    (dict[int, Path], {1: Path("a")}),
    (Sequence[int], [1]),
    (Iterable[int], [1]),
    (Iterable, [1]),
    (Mapping[str, Any], {"a": (1,)}),
    (list[dict[str, set[int]]], [{"a": {1}}]),
    (Color, Color.RED),
    (Size, Size.S),
    (Mode, Mode.FAST),
    (Literal["a", 1], 1),
    (Literal[Color.RED], Color.RED),
    (Point, Point(1, 2.0)),
    (Point | None, Point(1)),
    (Point | int, 3),
    (list[Point], [Point(1)]),
    (dict[str, Point], {"a": Point(1)}),
    (Box, Box("a", {"x": (1, ID)}, datetime(2024, 1, 1, tzinfo=EAST), Box("b", ID), [Point(1)])),
    (Box | None, Box("a", ID)),
    (Order, Order(1, {"x": (1, ID)})),
    (Card | Cash, Cash(Decimal("1.5"), ID)),
    (Card | Cash | None, Card("1")),
    (Pair, Pair(1, ID)),
    (Named, {"name": "a", "more": ID}),
    (Named, {"name": "a"}),
    (Color | Point, Color.BLUE),
    (Customer, Customer(name="a", since=datetime(2024, 1, 1, tzinfo=UTC), address=Path("x"), tags={"a"})),
    (Customer | None, Customer(name="a", since=NAIVE)),
    (list[Customer], [Customer(name="a", since=NAIVE)]),
    (str | UUID, ID),
    (str | Path, Path("a")),
    (str | bytes, b"x"),
    (UUID | str | None, None),
    (datetime | str, datetime(2024, 1, 1, tzinfo=EAST)),
    (list[str | Path], [Path("a"), "b"]),
    (set[int] | list[int], {1}),
    (float | str | bytes, 1),
    (Annotated[int, msgspec.Meta(ge=1)], 1),
    (typing.NewType("Cents", int), 5),
    (typing.LiteralString, "x"),
    (typing.TypeVar("T"), ID),
]


@pytest.mark.parametrize("hint, value", TYPED, ids=lambda item: str(item)[:60])
def test_annotated_values_come_back_as_annotated(hint: Any, value: Any) -> None:
    found = one(hint, value)
    assert found == value
    assert type(found) is type(value)
    if not isinstance(value, (set, frozenset, Customer, list)):
        assert repr(found) == repr(value)


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
ZONED = st.datetimes(timezones=st.sampled_from([UTC, EAST, None]))
KNOWN = st.uuids() | st.decimals(allow_nan=False) | ZONED | st.dates() | st.times() | st.timedeltas()
KEYS = st.recursive(ATOMS | KNOWN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=3)
VALUES = st.recursive(
    ATOMS | KNOWN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.frozensets(KEYS, max_size=3)
        | st.sets(KEYS, max_size=3)
    ),
    max_leaves=20,
)


@given(
    st.lists(VALUES, max_size=4),
    st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_nest_of_plain_data_comes_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert there(anything, *args, **kwargs) == (tuple(args), kwargs)


@given(st.builds(Box, st.text(), VALUES, st.none() | ZONED, st.none() | st.builds(Box, st.text(), VALUES)))
@settings(max_examples=80, deadline=None)
def test_any_dataclass_with_any_fields_comes_back(box: Box) -> None:
    assert one(Box, box) == box
    assert one(dict[str, list[Box]], {"a": [box]}) == {"a": [box]}


@given(st.builds(Cash, st.decimals(allow_nan=False), VALUES) | st.builds(Card, st.text()))
@settings(max_examples=50, deadline=None)
def test_any_tagged_struct_comes_back(struct: Card | Cash) -> None:
    assert one(Card | Cash, struct) == struct


# -- ways to call ---------------------------------------------------------------------------------------


def every_way(
    a: int, /, b: Point, c: UUID = ID, *rest: Decimal, key: date, other: Any = 1, **more: Path
) -> None: ...


def test_every_kind_of_parameter_travels() -> None:
    args = (1, Point(1), ID, Decimal(1), Decimal("2.0"))
    kwargs = {"key": date(2024, 1, 1), "other": {ID}, "extra": Path("x"), "a": Path("y")}
    assert there(every_way, *args, **kwargs) == (args, kwargs)
    assert there(every_way, 1, b=Point(2), key=date(2024, 1, 1)) == (
        (1,),
        {"b": Point(2), "key": date(2024, 1, 1)},
    )


def test_defaults_that_are_left_out_do_not_travel() -> None:
    def task(a: int, b: Point = Point(1), c: str = "x") -> None: ...  # noqa: B008

    for args in [(1,), (1, Point(2)), (1, Point(2), "y")]:
        assert there(task, *args) == (args, {})
    assert there(task, 1, c="z") == ((1,), {"c": "z"})


def test_many_positional_arguments_travel() -> None:
    def task(first: str, *rest: int) -> None: ...

    args = ("a", *range(70_000))
    assert there(task, *args) == (args, {})
    assert there(anything, *range(70_000)) == (tuple(range(70_000)), {})


def test_a_call_without_arguments_travels() -> None:
    def task() -> None: ...

    assert there(task) == ((), {})


class Service:
    def method(self, when: datetime) -> None: ...

    @classmethod
    def of_class(cls, when: datetime) -> None: ...

    @staticmethod
    def static(when: datetime) -> None: ...

    def __call__(self, when: datetime) -> None: ...


def wrapped(when: datetime) -> None: ...


@functools.wraps(wrapped)
def wrapper(*args: Any, **kwargs: Any) -> None: ...


def two(first: int, when: datetime) -> None: ...


@pytest.mark.parametrize(
    "fn",
    [Service().method, Service.of_class, Service.static, Service(), wrapper, functools.partial(two, 1)],
    ids=["method", "classmethod", "staticmethod", "callable", "wrapper", "partial"],
)
def test_any_callable_has_its_annotations_read(fn: Callable[..., Any]) -> None:
    now = NAIVE
    assert there(fn, now) == ((now,), {})
    assert there(fn, NAIVE.isoformat()) == (
        (now,),
        {},
    )  # only the annotation can have made that a datetime


def test_a_callable_without_a_signature_takes_anything() -> None:
    assert there(type, 1, ID) == ((1, ID), {})


def test_names_from_the_enclosing_function_are_found() -> None:
    @dataclass
    class Local:
        x: int

    def task(value: Local) -> Any:
        return Local

    assert there(task, Local(1)) == ((Local(1),), {})


def test_an_annotation_that_does_not_exist_at_run_time_leaves_the_others_in_force() -> None:
    def task(a: OnlyForTypes, b: Point) -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert there(task, {ID}, Point(1)) == (({ID}, Point(1)), {})


# -- leniencies that are promised -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "hint, given, arrives",
    [
        (float, 1, 1.0),
        (UUID, str(ID), ID),
        (datetime, "2024-01-01T00:00:00+02:00", datetime(2024, 1, 1, tzinfo=EAST)),
        (Path, "a", Path("a")),
        (Point, {"x": 1}, Point(1)),
        (Box, {"label": "a", "data": ID}, Box("a", ID)),
        (list[int], (1, 2), [1, 2]),
        (set[int], [1, 1], {1}),
        (str, Mode.FAST, "fast"),
    ],
)
def test_what_arrives_has_the_annotated_type(hint: Any, given: Any, arrives: Any) -> None:
    assert one(hint, given) == arrives
    assert type(one(hint, given)) is type(arrives)


def test_a_subclass_of_str_arrives_as_str() -> None:
    class Markup(str):
        __slots__ = ()

    assert type(one(str, Markup("x"))) is str


def test_a_producer_that_knows_only_the_name_reaches_a_typed_task() -> None:
    def task(a: UUID, b: set[date], c: datetime, *rest: Path, d: Decimal, e: Any = None) -> None: ...

    args = (ID, {date(2024, 1, 1)}, datetime(2024, 1, 1, tzinfo=EAST), Path("x"))
    kwargs = {"d": Decimal(1), "e": (ID,)}
    packed, named = ArgumentCodec(anything, name="t").encode(args, kwargs)
    assert ArgumentCodec(task, name="t").decode(packed, named) == (args, kwargs)


def test_nothing_is_changed_in_what_is_passed() -> None:
    box = Box("a", {"x": [(1, ID)]}, datetime(2024, 1, 1, tzinfo=EAST))
    before = repr(box)
    one(Box, box)
    assert repr(box) == before


# -- results --------------------------------------------------------------------------------------------


def returning(hint: Any) -> ArgumentCodec:
    def task() -> Any: ...

    task.__annotations__["return"] = hint
    return ArgumentCodec(task, name="shop:task")


@pytest.mark.parametrize("hint, value", TYPED, ids=lambda item: str(item)[:60])
def test_results_come_back_as_annotated(hint: Any, value: Any) -> None:
    codec = returning(hint)
    assert codec.decode_result(codec.encode_result(value)) == value


def test_a_result_of_another_type_than_annotated_comes_back_as_plain_data() -> None:
    codec = returning(int)
    assert codec.decode_result(codec.encode_result("x")) == "x"
    assert codec.decode_result(codec.encode_result(None)) is None


def test_a_producer_without_the_task_gets_plain_data() -> None:
    packed = returning(Point).encode_result(Point(1, 2.0))
    assert ArgumentCodec(anything, name="t").decode_result(packed) == {"x": 1, "y": 2.0}


def test_a_signature_says_whether_there_is_a_result() -> None:
    def silent() -> None: ...

    def unannotated(): ...  # type: ignore[no-untyped-def]

    def unable() -> Callable[[], int]:
        return int

    def able() -> Point:
        return Point(1)

    found = {
        fn.__name__: ArgumentCodec(fn, name="t").returns_value for fn in (silent, unannotated, unable, able)
    }
    assert found == {"silent": False, "unannotated": False, "unable": False, "able": True}
    assert ArgumentCodec(able, name="t").result_type is Point


# -- texts ----------------------------------------------------------------------------------------------


def test_the_signature_is_shown_as_people_write_it() -> None:
    def task(user_id: int, /, b: Point | None = None, *c: str, d: str = "x", **e: Any) -> str:
        return d

    expected = (
        "shop.mail:task(user_id: int, /, b: Point | None = None, *c: str, d: str = 'x', **e: Any) -> str"
    )
    assert ArgumentCodec(task, name="shop.mail:task").signature_text == expected


def test_arguments_have_their_names_however_they_are_passed() -> None:
    def task(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> None: ...

    codec = ArgumentCodec(task, name="t")
    assert codec.bind_names((1,), {"b": 5}) == codec.bind_names((), {"a": 1, "b": 5}) == {"a": 1, "b": 5}
    assert codec.bind_names((1, 2, 9), {"x": 7}) == {"a": 1, "b": 2, "rest": (9,), "more": {"x": 7}}
    assert codec.bind_names((1,), {}, defaults=True) == {"a": 1, "b": 2, "rest": (), "c": 3, "more": {}}


def test_pydantic_is_not_imported_for_those_who_do_not_use_it() -> None:
    import subprocess

    code = "import sys, ferryman.arguments; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
