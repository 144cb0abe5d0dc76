"""A web application as gunicorn and uWSGI load it, once, before they fork: it has enqueued by then.

``/`` enqueues a job and answers with its id and the process; ``/async`` does so by the asyncio face;
``/wait`` waits for a result, which the listening thread has to hear of in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from ferryman import Ferryman, ResultTimeout

FLAG = "FERRYMAN_TEST_WEB"

if FLAG in os.environ:
    app = Ferryman()

    @app.task(queue="web", name="web:note", result_ttl=60)
    def note(who: str) -> int:
        """What the requests ask for."""
        return len(who)

    first = note.enqueue("master")
    with contextlib.suppress(ResultTimeout):
        first.result(0.05)  # the listening thread and its connection exist before the fork

    async def _enqueue() -> str:
        try:
            return (await note.aenqueue("async")).id
        finally:
            await app.aclose()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        path = environ["PATH_INFO"]
        if path == "/async":
            found = asyncio.run(_enqueue())
        elif path == "/wait":
            found = str(first.result(30))
        else:
            found = note.enqueue("sync").id
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"found": found, "pid": os.getpid()}).encode()]
