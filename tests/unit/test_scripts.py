"""What the header of each script promises, its text and its description in Python keep."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from ferryman.store import scripts
from ferryman.store.keys import QueueKeys
from tests.support.samples import SAMPLES

LUA = resources.files("ferryman.store").joinpath("lua")
NAMES = sorted(entry.name.removesuffix(".lua") for entry in LUA.iterdir() if entry.name.endswith(".lua"))
INCLUDES = sorted(
    entry.name.removesuffix(".lua")
    for entry in LUA.joinpath("include").iterdir()
    if entry.name.endswith(".lua")
)
KEYS = QueueKeys("pre", "some.queue")
ANY_OF = {
    "key": {"durations"},
    "waiting": {"retries", "delayed"},
    "place": {"ready", "ranked", "delayed", "retries", "dead"},
}
SECTIONS = ("KEYS", "ARGV", "REPLY", "COST")


def header(name: str) -> dict[str, str]:
    """The header's sections by their word; the first sentence under ''."""
    found: dict[str, str] = {"": ""}
    section = ""
    for line in scripts.read(name).splitlines()[1:]:
        if not line.startswith("--") or line.startswith("-- @include"):
            break
        word = re.match(r"-- ([A-Z]{4,5})  ?(.*)", line)
        if word:
            section, text = word.groups()
        else:
            text = line[2:].strip()
        found[section] = f"{found.get(section, '')} {text}".strip()
    return found


def fixed_keys(name: str) -> list[str]:
    """The keys that every call has, as the header names them."""
    listed = re.split(r",| {2,}", header(name)["KEYS"])[0].split()
    listed = [word for word in listed if re.fullmatch(r"[a-z]+(\.\.\.)?", word)]
    return [word for word in listed if not word.endswith("...")]


def code(name: str) -> str:
    """The script without its comments."""
    return re.sub(r"--[^\n]*", "", scripts.read(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_comes_in_what_goes_out_and_what_it_costs(name: str) -> None:
    found = header(name)
    assert found[""].endswith("."), "it begins with a sentence that says what the script does"
    assert [word for word in SECTIONS if word not in found] == []


@pytest.mark.parametrize("name", NAMES)
def test_only_what_makes_more_is_refused_by_a_full_redis(name: str) -> None:
    first = scripts.read(name).split("\n", 1)[0]
    makes_more = {"enqueue", "tick", "schedule_put"}
    assert first == ("#!lua" if name in makes_more else "#!lua flags=allow-oom")


@pytest.mark.parametrize("name", NAMES)
def test_each_key_gets_its_name_in_the_first_statements(name: str) -> None:
    text = code(name)
    used = [int(number) for number in re.findall(r"KEYS\[(\d+)\]", text)]
    assert sorted(used) == list(range(1, len(fixed_keys(name)) + 1)), "each fixed key is named exactly once"
    opening = text.split("redis.call", 1)[0]
    assert len(re.findall(r"KEYS\[(\d+)\]", opening)) == len(used)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_description_passes_the_keys_that_the_header_names(sample: str) -> None:
    transition = SAMPLES[sample](KEYS)
    fixed = fixed_keys(transition.script.name)
    passed = [key.removeprefix(KEYS.stem).split(":")[0] for key in transition.keys]
    for wanted, got in zip(fixed, passed, strict=False):
        assert got in ANY_OF.get(wanted, {wanted})
    further = set(passed[len(fixed) :])
    assert len(passed) >= len(fixed)
    assert further <= set(re.findall(r"`?(attempts|result)s?`?", header(transition.script.name)["KEYS"]))


@pytest.mark.parametrize("sample", SAMPLES)
def test_all_keys_of_a_transition_are_in_one_slot(sample: str) -> None:
    for key in SAMPLES[sample](KEYS).keys:
        assert key.startswith("pre:{some.queue}:")


OF_SCHEDULERS = {
    "lead", "look", "put_off", "resign", "schedule_drop", "schedule_get", "schedule_put", "tick",
}  # fmt: skip
"""Tried as a whole, see tests/unit/test_scheduler_engine.py."""


def test_every_script_has_a_sample() -> None:
    assert {SAMPLES[name](KEYS).script.name for name in SAMPLES} == set(NAMES) - OF_SCHEDULERS


@pytest.mark.parametrize("name", NAMES)
def test_no_script_looks_at_the_whole_keyspace_or_at_a_whole_backlog(name: str) -> None:
    commands = set(re.findall(r"redis\.call\('([A-Z]+)'", scripts.load(name).flagged))
    assert not commands & {
        "KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "RANDOMKEY", "HGETALL", "HKEYS", "HVALS", "LPOS",
    }  # fmt: skip
    if name != "enqueue":  # the rare reuse of a cancelled id; see there
        assert "LREM" not in commands


@pytest.mark.parametrize("name", NAMES)
def test_no_script_reads_a_payload(name: str) -> None:
    assert not re.search(r"\b(cjson|cmsgpack|struct)\b", code(name)), "cjson rounds integers over 2^53"


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_written_as_whole_numbers(name: str) -> None:
    """A number in Lua's own notation may come out as 1.7e+12."""
    for call in re.findall(r"redis\.call\('ZADD',([^\n]*)\n", code(name)):
        assert "string.format('%.0f'" in call or re.search(r"unpack\(|until_ms", call), call


@pytest.mark.parametrize("name", NAMES)
def test_includes_are_resolved(name: str) -> None:
    text = scripts.load(name).flagged
    assert "@include" not in text
    defined = re.findall(r"local function (\w+)", text)
    assert len(defined) == len(set(defined)), "each include comes once"


@pytest.mark.parametrize("name", INCLUDES)
def test_every_include_is_needed(name: str) -> None:
    texts = [scripts.read(other) for other in NAMES] + [
        scripts.read(f"include/{other}") for other in INCLUDES
    ]
    assert any(f"-- @include {name}\n" in text for text in texts)


def test_an_include_comes_once_however_often_it_is_asked_for() -> None:
    parts = {"a": "-- @include b\nA\n", "b": "B\n"}
    assert scripts.resolve("-- @include b\n-- @include a\n-- @include b\nend\n", parts) == "B\nA\nend\n"


def test_includes_that_run_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="a -> b -> a"):
        scripts.resolve("-- @include a\n", {"a": "-- @include b\n", "b": "-- @include a\n"})


def test_the_plain_form_differs_from_the_flagged_one_by_its_first_line_alone() -> None:
    for name in NAMES:
        script = scripts.load(name)
        assert script.flagged.split("\n", 1)[1] == script.plain
        assert script.flagged_sha != script.plain_sha
