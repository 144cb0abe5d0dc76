"""The commands put together, and the one place where an error becomes a line on stderr and an exit code.

Exit codes: 0 done; 1 it could not be done, or a check found something; 2 the command itself is wrong.
`ferryman worker` has codes of its own, see `ferryman.worker.exitcodes`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ferryman import __version__
from ferryman.cli import (
    bench,
    dev,
    doctor,
    enqueue,
    failures,
    job,
    jobs,
    queues,
    scheduler,
    schedules,
    worker,
    workers,
)
from ferryman.cli.display import stderr_line
from ferryman.errors import (
    ConfigurationError,
    FerrymanError,
    InvalidArguments,
    InvalidOption,
    PayloadTooLarge,
    UnknownTask,
)
from ferryman.location import AppNotFound

USAGE = 2
_NEGATIVE_NUMBER = re.compile(r"No such option: -\.?\d")
_MISTAKES = (ConfigurationError, InvalidArguments, InvalidOption, PayloadTooLarge, UnknownTask, AppNotFound)


class Program(TyperGroup):
    """The command with its errors turned into one line each."""

    def main(  # the signature is typer's
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        sys.exit(self._guarded(list(sys.argv[1:] if args is None else args), **extra))

    def _guarded(self, args: list[str], **extra: Any) -> int:
        try:
            code = super().main(args, prog_name="ferryman", standalone_mode=False, **extra)
            return code if isinstance(code, int) else 0
        except typer.TyperException as error:
            return _complain_about_usage(error)
        except typer.Abort:
            stderr_line("stopped")
            return 1
        except BrokenPipeError:  # `ferryman jobs | head`: the reader has seen enough
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (lives as long as we do)
            return 0
        except FerrymanError as error:
            if debugging():
                raise
            stderr_line(str(error))
            return USAGE if isinstance(error, _MISTAKES) else 1
        except (KeyboardInterrupt, EOFError):
            return 130
        except Exception as error:
            if debugging():
                raise
            stderr_line(
                f"unexpected {type(error).__name__}: {error}. "
                "This is a fault in Ferryman; FERRYMAN_DEBUG=1 shows where."
            )
            return 1


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("FERRYMAN_DEBUG", "") not in ("", "0")


def _complain_about_usage(error: typer.TyperException) -> int:
    where = getattr(getattr(error, "ctx", None), "command_path", "ferryman")
    message = error.format_message().strip().rstrip(".")
    if not message.endswith("?"):
        message += "."
    if _NEGATIVE_NUMBER.search(message):
        message += " Put -- before a negative number."
    stderr_line(f"{message} ('{where} --help' explains it)")
    return error.exit_code


app = typer.Typer(
    name="ferryman",
    cls=Program,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
) -> None:
    """Carries work from Python applications to a fleet of workers, through Redis, and loses none of it.

    Start with [bold]ferryman dev MODULE[/bold]: it brings a Redis of its own.
    """
    if version:
        typer.echo(f"ferryman {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


RUN, LOOK, CARE = "Run", "Look", "Take care"
app.command("worker", rich_help_panel=RUN)(worker.command)
app.command("dev", rich_help_panel=RUN)(dev.command)
app.command("scheduler", rich_help_panel=RUN)(scheduler.command)
# The dashboard joins here.
app.command("enqueue", cls=enqueue.WaitIsOptional, rich_help_panel=RUN)(enqueue.command)
app.add_typer(queues.group, name="queues", rich_help_panel=LOOK)
app.add_typer(schedules.group, name="schedules", rich_help_panel=LOOK)
app.command("jobs", rich_help_panel=LOOK)(jobs.command)
app.command("job", rich_help_panel=LOOK)(job.command)
app.add_typer(workers.group, name="workers", rich_help_panel=LOOK)
app.command("failures", rich_help_panel=LOOK)(failures.command)
app.command("doctor", rich_help_panel=CARE)(doctor.command)
app.command("bench", rich_help_panel=CARE)(bench.command)


def run(args: list[str]) -> int:
    """Run the command line `args`; gives the exit code."""
    try:
        get_command(app).main(args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
