"""What a worker says in its log about single jobs. Success is silent above DEBUG: a line a job would cost
more than the job.
"""

from __future__ import annotations

import logging

from ferryman.execution import Attempt
from ferryman.failures import type_name
from ferryman.outcome import Ended, Failed, Outcome
from ferryman.settlement import Settlement

logger = logging.getLogger("ferryman.worker")


def tell(attempt: Attempt, outcome: Outcome, settled: Settlement) -> None:
    """Log how an attempt ended, if that is worth a line."""
    if isinstance(outcome, Ended):
        logger.info("job %s (%s) was %s", attempt.job_id, attempt.task.name, outcome.state)
    elif isinstance(outcome, Failed):
        error = outcome.error
        if settled.way == "bury":
            logger.error(
                "job %s (%s) is dead after attempt %d: %s: %s",
                attempt.job_id, attempt.task.name, attempt.made + 1, type_name(error), _text(error),
                exc_info=error if outcome.kind == "failed" else None,
            )  # fmt: skip
        else:
            logger.warning(
                "job %s (%s) failed in attempt %d and runs again in %.1f s: %s: %s",
                attempt.job_id, attempt.task.name, attempt.made + 1, settled.item.delay_ms / 1000,
                type_name(error), _text(error),
            )  # fmt: skip


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (a user's __str__ may raise anything)
        return "<its text cannot be made>"
