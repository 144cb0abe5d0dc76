"""Finds Markdown links inside the repository that lead nowhere: no such file, or no such heading.

    python -m tools.links            all Markdown files that git knows or would add

Links to other sites are not followed: a check must not depend on the network.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_IMAGE = re.compile(r"(?:src|href|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ANCHOR = re.compile(r"(?:id|name)=\"([^\"]+)\"")


def main() -> int:
    """Print each dead link with its file and line; 1 if there is any."""
    root = Path.cwd()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    pages = sorted(root / name for name in listed.stdout.split("\0") if name and (root / name).is_file())
    dead = [problem for page in pages for problem in _dead_links(page, root)]
    print("\n".join(dead) if dead else f"links: {len(pages)} pages, all links lead somewhere")
    return 1 if dead else 0


def _dead_links(page: Path, root: Path) -> list[str]:
    text = _without_code(page.read_text(encoding="utf-8"))
    problems = []
    for pattern in (_LINK, _IMAGE):
        for match in pattern.finditer(text):
            target = next(group for group in match.groups() if group)
            reason = _why_dead(page, target, root)
            if reason:
                line = text.count("\n", 0, match.start()) + 1
                problems.append(f"{page.relative_to(root)}:{line}: {target}: {reason}")
    return problems


def _why_dead(page: Path, target: str, root: Path) -> str:
    if re.match(r"[a-z][a-z0-9+.-]*:", target) or target.startswith("//"):
        return ""
    path, _, fragment = target.partition("#")
    file = page if not path else (page.parent / unquote(path)).resolve()
    if not file.is_relative_to(root):
        return "leads out of the repository"
    if not file.exists():
        return "no such file"
    if fragment and file.suffix == ".md" and unquote(fragment) not in _anchors(file):
        return "no such heading"
    return ""


@cache
def _anchors(page: Path) -> frozenset[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = set(_ANCHOR.findall(text))
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        repeats = seen.get(slug, 0)
        seen[slug] = repeats + 1
        found.add(f"{slug}-{repeats}" if repeats else slug)
    return frozenset(found)


def _without_code(text: str) -> str:
    # Blanked out rather than removed, so that the lines keep their numbers.
    for pattern in (_FENCE, _CODE):
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    return text


if __name__ == "__main__":
    sys.exit(main())
