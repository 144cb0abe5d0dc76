"""How durability is said."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from ferryman import ConfigurationError, Durability, Ferryman, InvalidOption


@pytest.mark.parametrize(
    "text, meant",
    [
        ("memory", None),
        ("replicated", Durability.replicated(1)),
        ("replicated:2", Durability.replicated(2)),
        ("replicated:2:0.5", Durability.replicated(2, timeout=0.5)),
        (" fsync ", Durability.fsync()),
        ("fsync:10", Durability.fsync(timeout=10)),
        ("fsync:10:1", Durability.fsync(timeout=10, replicas=1)),
    ],
)
def test_a_text_says_what_an_object_says(text: str, meant: Durability | None) -> None:
    assert Durability.of(text) == meant
    if meant is not None:
        assert Durability.of(str(meant)) == meant
        assert Durability.of(meant) is meant


@pytest.mark.parametrize(
    "wrong",
    ["", "disk", "replicated:0", "replicated:x", "replicated:1:0", "fsync:0", "fsync:1:2:3", "memory:1", 5],
)
def test_what_makes_no_sense_is_refused_with_what_would(wrong: object) -> None:
    with pytest.raises(InvalidOption, match="durability"):
        Durability.of(wrong)  # type: ignore[arg-type]


def test_an_app_takes_it_as_object_as_text_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for app in (
        Ferryman("memory://", durability=Durability.replicated(2)),
        Ferryman("memory://", durability="replicated:2"),
    ):
        assert app.settings.durability in {"replicated:2:1", "replicated:2"}
    monkeypatch.setenv("FERRYMAN_DURABILITY", "fsync")
    assert Ferryman("memory://").settings.durability == "fsync"
    monkeypatch.setenv("FERRYMAN_DURABILITY", "quartz")
    with pytest.raises(ConfigurationError, match=r"setting durability.*quartz"):
        Ferryman("memory://")


@pytest.mark.parametrize("durability", [Durability.replicated(1), Durability.fsync()])
def test_a_server_that_refuses_to_wait_has_confirmed_nothing(durability: Durability) -> None:
    """It became a replica in the meantime."""
    told = durability.missing(ResponseError("UNBLOCKED force unblock, instance state changed"))
    assert "would not wait" in told
    assert "UNBLOCKED" in told
