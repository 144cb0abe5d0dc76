"""``ferryman doctor``: is this Redis fit to hold jobs?"""

from __future__ import annotations

from typing import Any

import typer

from ferryman import doctor
from ferryman.cli.display import print_json, show, table, text
from ferryman.cli.parameters import AsJson, Module, Prefix, Url
from ferryman.doctor import Report
from ferryman.doctor_probe import Finding, counted
from ferryman.location import find_app

_STYLES = {"ok": "green", "warn": "yellow", "error": "bold red", "unknown": "dim"}


def command(module: Module = None, url: Url = None, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """Check whether this Redis is fit to hold jobs, and show every setting with where it came from.

    Exits with 1 if anything is an error. Example: [bold]ferryman doctor --url redis://localhost[/bold]
    """
    report = doctor.examine(find_app(module, url=url, prefix=prefix))
    if as_json:
        print_json(_shape(report))
    else:
        _render(report)
    if not report.fit:
        raise typer.Exit(1)


def _shape(report: Report) -> dict[str, Any]:
    return {
        "fit": report.fit,
        "url": report.url,
        "findings": [
            {"check": found.check, "status": found.status, "what": found.what, "do": found.do}
            for found in report.findings
        ],
        "settings": [
            {
                "name": setting.name,
                "value": setting.value,
                "source": setting.source,
                "meaning": setting.meaning,
            }
            for setting in report.settings
        ],
    }


def _render(report: Report) -> None:
    from rich.table import Table

    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for found in report.findings:
        lines.add_row(text(found.status, _STYLES[found.status]), text(found.check, "bold"), text(found.what))
        if found.do:
            lines.add_row("", "", text(f"-> {found.do}"))
    rows = [
        [setting.name, _value(setting.value), setting.source, setting.meaning] for setting in report.settings
    ]
    show(
        lines,
        text(""),
        table(["setting", "value", "from", "meaning"], rows, wraps=["value", "meaning"]),
        text(""),
    )
    show(text(_verdict(report.findings), "bold"))


def _value(value: object) -> str:
    return "(not set)" if value == "" else str(value)


def _verdict(findings: tuple[Finding, ...]) -> str:
    errors = sum(found.status == "error" for found in findings)
    warnings = sum(found.status == "warn" for found in findings)
    if errors:
        return f"Not fit to hold jobs: {counted(errors, 'error')}, {counted(warnings, 'warning')}."
    if warnings:
        return f"Fit to hold jobs, with {counted(warnings, 'warning')}."
    return "Fit to hold jobs."
