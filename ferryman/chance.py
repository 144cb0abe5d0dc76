"""Chance, for pauses and beats that must not fall together across a fleet.

The generator is this process's own. Python's shared one belongs to the application: a task that calls
``random.seed(42)`` would otherwise set all its workers to the same beat, and their pauses would disturb what
it draws.
"""

from __future__ import annotations

import os
import random

_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def between(low: float, high: float) -> float:
    """A number from `low` to `high`, each as likely as any other. Safe for threads."""
    return _random.uniform(low, high)
