"""Cancelling jobs that a later tick has overtaken (``overlap="cancel_running"``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ferryman.errors import FerrymanError, StoreUnavailable
from ferryman.job import Job

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.scheduler")


def cancel_overtaken(app: Ferryman, queue: str, local: str) -> None:
    """Have a job cancelled, whether it waits or runs. Raises `StoreUnavailable`; then it is tried again."""
    job = Job[Any](app, local, queue)
    try:
        job.cancel(running=True)
    except StoreUnavailable:
        raise
    except FerrymanError as error:
        logger.error("job %s was overtaken by a later tick and cannot be cancelled: %s", job.id, error)
