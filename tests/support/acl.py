"""The rules of ``deploy/redis/users.acl``, as a server takes them and rule by rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import redis

FILE = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
ROLES = ("producer", "scheduler", "worker", "operator", "dashboard")


def text(prefix: str = "ferryman") -> str:
    """The file, for another prefix as its header says."""
    return FILE.read_text().replace("ferryman:", f"{prefix}:")


def lines(prefix: str = "ferryman") -> list[str]:
    """The file without its comments, as an ``aclfile`` needs it."""
    return [line for line in text(prefix).splitlines() if line and not line.startswith("#")]


def password(role: str) -> str:
    """What stands in the file."""
    return f"CHANGEME-{role}"


def rules(role: str, prefix: str) -> list[str]:
    """What ``ACL SETUSER`` takes after the user's name: a selector is one rule."""
    (line,) = [line for line in lines(prefix) if line.startswith(f"user {role} ")]
    return re.findall(r"\([^)]*\)|\S+", line.split(" ", 2)[2])


def without_one(found: list[str]) -> list[tuple[str, list[str]]]:
    """Each rule that grants something, and the rules without it; those within a selector one by one."""
    grants: list[tuple[str, list[str]]] = []
    for index, rule in enumerate(found):
        if rule.startswith("("):
            inner = rule[1:-1].split(" ")
            for place, one in enumerate(inner):
                rest = inner[:place] + inner[place + 1 :]
                grants.append(
                    (f"{one} of {rule[:50]}", [*found[:index], f"({' '.join(rest)})", *found[index + 1 :]])
                )
        elif rule[0] in "~%&+":
            grants.append((rule, found[:index] + found[index + 1 :]))
    return grants


def set_user(admin: redis.Redis, name: str, found: list[str]) -> None:
    """Make the user exactly that."""
    raw: Any = admin
    raw.execute_command("ACL", "SETUSER", name, "reset", *found)


def commands(role: str) -> set[str]:
    """The commands that the file gives to a role, anywhere."""
    return {
        word[1:].upper().replace("|", " ")
        for rule in rules(role, "p")
        for word in rule.strip("()").split(" ")
        if word.startswith("+")
    }
