"""The command line."""

import typer

from ferryman import __version__

app = typer.Typer(name="ferryman", no_args_is_help=True)


@app.callback(invoke_without_command=True)
def main_options(version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
    """Carries work to a fleet of workers, through Redis."""
    if version:
        typer.echo(f"ferryman {__version__}")


def main() -> None:
    """The entry point of the `ferryman` command."""
    app()
