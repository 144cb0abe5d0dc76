"""A web application hands slow work over and answers at once: ``202 Accepted``, and where to ask.

    ferryman worker examples/web_producer.py
    python examples/web_producer.py
    curl -X POST 'http://127.0.0.1:8000/reports?year=2025'     # {"job": "01K9...@reports"}
    curl 'http://127.0.0.1:8000/reports/01K9...@reports'       # {"state": "succeeded", "result": ...}

WSGI from the standard library, so that nothing needs to be installed; in your framework it is the same
three calls.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from ferryman import Ferryman, InvalidOption, JobNotFound, StoreError

app = Ferryman()


@app.task(queue="reports", timeout=300, result_ttl=3600)
def yearly_report(year: int) -> dict[str, int]:
    """Pretends to add up a year."""
    return {"year": year, "orders": year * 7 % 1000}


def start(query: dict[str, list[str]]) -> tuple[str, dict[str, Any]]:
    """Enqueue a report. The same year twice is one job, for as long as its result is kept."""
    try:
        year = int(query["year"][0])
    except (KeyError, ValueError):
        return "400 Bad Request", {"error": "say which year: ?year=2025"}
    job = yearly_report.options(id=f"year-{year}").enqueue(year)
    return "202 Accepted", {"job": job.id}


def look(job_id: str) -> tuple[str, dict[str, Any]]:
    """How a report stands. Job ids come from outside here, so what is none is refused."""
    try:
        job = app.job(job_id)
        state = job.state
    except (InvalidOption, JobNotFound):
        return "404 Not Found", {"error": "there is no such report (any more)"}
    return "200 OK", {"state": state} | ({"result": job.result()} if state == "succeeded" else {})


def application(environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application."""
    method, (_, *path) = environ["REQUEST_METHOD"], environ["PATH_INFO"].split("/")
    try:
        match method, path:
            case "POST", ["reports"]:
                status, body = start(parse_qs(environ.get("QUERY_STRING", "")))
            case "GET", ["reports", job_id]:
                status, body = look(job_id)
            case _:
                status, body = "404 Not Found", {"error": "POST /reports?year=..., GET /reports/<job>"}
    except StoreError as error:  # Redis is away or full: say so, and let the client come again
        status, body = "503 Service Unavailable", {"error": str(error)}
    respond(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, application) as server:
        server.serve_forever()
