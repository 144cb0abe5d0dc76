"""A contract for import-linter: a package imports only what is listed, or is imported only by who is listed.

The contracts that come with import-linter name what is forbidden, and such a list goes stale with every new
module. These name what is allowed, so that a new module is refused until somebody decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """Direct imports of, or from, `modules` and everything below them.

    may_import: the modules of the root packages that they may import besides each other.
    What is outside the root packages is free.
    may_be_imported_by: who may import them.
    """

    type_name = "only"

    modules = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField(), required=False)
    may_be_imported_by = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at each direct import once; what is allowed need not exist yet."""
        modules: list[str] = self.modules  # type: ignore[assignment]
        outgoing: list[str] | None = self.may_import  # type: ignore[assignment]
        incoming: list[str] | None = self.may_be_imported_by  # type: ignore[assignment]
        broken: list[tuple[str, str]] = []
        for module in sorted(graph.modules):
            if not _within(module, modules):
                continue
            if outgoing:
                broken += [
                    (module, imported)
                    for imported in sorted(graph.find_modules_directly_imported_by(module))
                    if not graph.is_module_squashed(imported) and not _within(imported, [*modules, *outgoing])
                ]
            if incoming:
                broken += [
                    (importer, module)
                    for importer in sorted(graph.find_modules_that_directly_import(module))
                    if not _within(importer, [*modules, *incoming])
                ]
        lines = {(importer, imported): _lines(graph, importer, imported) for importer, imported in broken}
        return ContractCheck(kept=not broken, metadata={"broken": lines})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an import, with the places where it stands."""
        for (importer, imported), lines in check.metadata["broken"].items():
            output.print_error(f"{importer} may not import {imported} ({lines})")
        output.new_line()


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _lines(graph: ImportGraph, importer: str, imported: str) -> str:
    details: list[Any] = list(graph.get_import_details(importer=importer, imported=imported))
    return ", ".join(f"line {detail['line_number']}" for detail in details) or "implicitly"
