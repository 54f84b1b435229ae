"""`nextclick formats`: in which forms things are kept, and whether two releases can run side by side on one state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console()
_NEEDED = {"name", "written", "read"}


def formats(
    as_json: Annotated[bool, typer.Option("--json", help="For another release's `--beside`.")] = False,
    beside: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="What `formats --json` of another release printed.")
    ] = None,
) -> None:
    """Show every form of what is kept: where its version stands, which one is written, which are read.

    With --beside: can the other release and this one run at once, up and down? Exit status 1 where not.
    """
    from contracts.formats import as_table, clashes

    if beside is not None:
        found = clashes(as_table(), _table_in(beside))
        for one in found:
            console.print(one, markup=False, soft_wrap=True, highlight=False)
        if found:
            raise typer.Exit(1)
        console.print("each reads what the other writes: they can run side by side, up and down", highlight=False)
    elif as_json:
        console.print(json.dumps(as_table(), indent=1), markup=False, soft_wrap=True, highlight=False)
    else:
        console.print(_shown(as_table()))


def _table_in(path: Path) -> list[Mapping[str, Any]]:
    """Return the forms in a file. Raises SettingsError for what is none."""
    from contracts.errors import SettingsError

    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) and one.keys() >= _NEEDED for one in found):
        raise SettingsError(f"{path}: expected what `nextclick formats --json` of a release printed: ask it again")
    return found


def _shown(forms: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("form", "encoding", "its version stands in", "written", "read")
    for one in forms:
        table.add_row(one["name"], one["encoding"], one["mark"], str(one["written"]), ", ".join(map(str, one["read"])))
    return table
