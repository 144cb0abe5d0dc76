"""How hard hypothesis tries: quick by default, thorough under ``FERRYMAN_HYPOTHESIS=thorough``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("FERRYMAN_HYPOTHESIS") == "thorough"


def effort(quick: int, thorough: int, *, steps: int = 50) -> settings:
    """Settings for a property that costs a server or a subprocess: so many examples, no deadline for one."""
    return settings(
        max_examples=thorough if THOROUGH else quick,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
