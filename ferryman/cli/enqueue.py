"""``ferryman enqueue``: hand over one job by hand."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ferryman.app import Ferryman
from ferryman.cli import typed
from ferryman.cli.display import block, print_json, show
from ferryman.cli.parameters import AsJson, Prefix, Url
from ferryman.errors import InvalidArguments, UnknownTask
from ferryman.job import Job
from ferryman.location import find_app, load_module, moved
from ferryman.task import Task

_RESULT_KEPT_S = 60.0


class WaitIsOptional(TyperCommand):
    """Lets ``--wait`` stand without a number."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        found: list[str] = []
        end = args.index("--") if "--" in args else len(args)
        for place, word in enumerate(args):
            follower = args[place + 1] if place + 1 < end else ""
            bare = word == "--wait" and place < end and not follower.replace(".", "", 1).isdigit()
            found += [word, "inf"] if bare else [word]
        return super().parse_args(ctx, found)


def command(
    task: Annotated[
        str, typer.Argument(metavar="MODULE:TASK", show_default=False, help="The task, by module and name.")
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARG",
            help="Its arguments: JSON where they parse, else text. Put -- before a negative number.",
            show_default=False,
        ),
    ] = None,
    keywords: Annotated[
        list[str] | None, typer.Option("--kw", metavar="NAME=VALUE", help="A keyword argument; repeatable.")
    ] = None,
    json_args: Annotated[
        str | None,
        typer.Option(
            "--json-args", metavar="JSON", help="All arguments: an array, or an object of keywords."
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Instead of the task's own.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Run so much later: 90, 5m, 2h.")] = None,
    at: Annotated[str | None, typer.Option(metavar="ISO8601", help="Run no sooner than this.")] = None,
    priority: Annotated[int | None, typer.Option(help="-1000 to 1000; higher runs first.")] = None,
    job_id: Annotated[str | None, typer.Option("--id", help="Your own id: the same one counts once.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Longest run of an attempt.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="Not run if not begun by then.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A word to find it by; repeatable.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="NAME=VALUE", help="Data for people; repeatable.")
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="[SECONDS]", help="Wait for the job's end and print its result."),
    ] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="Import nothing: MODULE:TASK is a name that workers know.")
    ] = False,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Hand over a job for a task, and print its id.

    Example: [bold]ferryman enqueue shop.mail:send_welcome 42 --delay 5m --tag vip[/bold]
    """
    app, found = _by_name(task, url, prefix) if by_name else _find(task, url, prefix)
    texts = typed.pairs(keywords or [], "--kw")
    if json_args is not None and (words or texts):
        raise InvalidArguments("give the arguments one by one or as --json-args, not both")
    args, kwargs = (
        typed.from_json(json_args) if json_args is not None else typed.arguments(found.fn, words or [], texts)
    )
    options: dict[str, Any] = {"queue": queue, "priority": priority, "id": job_id, "tags": tags or None}
    options["at"] = typed.moment(at) if at is not None else None
    for name, word in (("delay", delay), ("timeout", timeout), ("expires", expires)):
        options[name] = None if word is None else typed.seconds(word)
    if meta:
        options["meta"] = {name: typed.plain(value) for name, value in typed.pairs(meta, "--meta").items()}
    if wait is not None and found.defaults.result_ttl_s == 0:
        options["result_ttl"] = _RESULT_KEPT_S
    given: Any = {name: value for name, value in options.items() if value is not None}
    job = found.options(**given).enqueue(*args, **kwargs)
    if wait is None:
        print_json({"id": job.id, "queue": job.queue, "task": found.name}) if as_json else show(job.id)
    else:
        _wait(job, found.name, wait, as_json)
    app.close()


def _wait(job: Job[Any], task: str, wait: float, as_json: bool) -> None:
    value = job.result(None if math.isinf(wait) else wait)
    if as_json:
        print_json({"id": job.id, "queue": job.queue, "task": task, "state": "succeeded", "result": value})
    else:
        show(block(value) if isinstance(value, str) else block(repr(value)))


def _by_name(name: str, url: str | None, prefix: str | None) -> tuple[Ferryman, Task[..., Any]]:
    app = find_app(None, url=url, prefix=prefix)
    return app, app.task_for(name)


def _find(name: str, url: str | None, prefix: str | None) -> tuple[Ferryman, Task[..., Any]]:
    module_name, _, attribute = name.partition(":")
    module = load_module(module_name)
    here = {key: value for key, value in vars(module).items() if isinstance(value, Task)}
    apps = [value for value in vars(module).values() if isinstance(value, Ferryman)]
    apps += [task.app for task in here.values() if task.app not in apps]
    registered = {key: task for app in apps for key, task in app.tasks.items()}
    names = (f"{module.__name__}:{attribute}", attribute)
    found = here.get(attribute) or next((registered[key] for key in names if key in registered), None)
    if found is None:
        known = {f"{module_name}:{key}" for key in here} | set(registered)
        near = difflib.get_close_matches(name, sorted(known), n=1) or sorted(known)[:1]
        hint = f"did you mean {near[0]!r}?" if near else "is it decorated with @app.task?"
        if not attribute:
            raise UnknownTask(f"which task of {module_name!r}? Write {module_name}:TASK; {hint}")
        raise UnknownTask(f"{module_name!r} has no task {attribute!r}; {hint}")
    moved(found.app, url, prefix)
    return found.app, found
