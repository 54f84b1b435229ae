"""`nextclick models list | show | compare | history | verify`: the versions of the models in a folder."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import ArtifactError
from nextclick.commands.models_options import FolderOption, registry_at, shadow_means
from nextclick.commands.moments import shown
from registry.version import ModelVersion

console = Console(highlight=False, markup=False)
_DIGITS = 8
"""Of a model's version, in a table; `models show` has all of them."""
Name = Annotated[str, typer.Argument(help="A version; see `nextclick models list`.")]


def list_versions(folder: FolderOption = None) -> None:
    """List the versions, the newest first."""
    registry = registry_at(folder)
    marks = {registry.pinned(): "pinned", registry.previous(): "previous", registry.serving(): "serving"}
    table = Table(box=None, pad_edge=False)
    for column in ("version", "", "model", "trees", "MB", "by", "note"):
        table.add_column(column, justify="right" if column == "MB" else "left", no_wrap=column != "note")
    for name in reversed(registry.names()):
        mark = "serving, pinned" if name == registry.serving() == registry.pinned() else marks.get(name, "")
        try:
            one = registry.read(name)
        except ArtifactError:  # the others are listed all the same; `models show` says what is wrong
            table.add_row(name, f"{mark}, damaged".removeprefix(", "), "", "", "", "", "")
            continue
        size = f"{one.bytes / 1e6:,.1f}"
        models = ((one.session_model or "none")[:_DIGITS], (one.reranker or "none")[:_DIGITS])
        table.add_row(name, mark, *models, size, _plain(one.by), _plain(one.note))
    if not table.row_count:
        console.print(
            f"No version in {registry.folder}: add one (`nextclick models add`)", markup=False, soft_wrap=True
        )
        return
    console.print(table)


def show(name: Name, folder: FolderOption = None) -> None:
    """Print all that is known of a version: its files, settings, data, figures, and what it answered in the shadow."""
    version = registry_at(folder).read(name)
    document = {**version.model_dump(mode="json"), "shadow": shadow_means(name)}
    console.print_json(orjson.dumps(document).decode())


def compare(
    one: Name, other: Annotated[str, typer.Argument(help="Another version.")], folder: FolderOption = None
) -> None:
    """Show what differs between two versions: models, figures, settings, data."""
    registry = registry_at(folder)
    table = Table()
    for column in ("", one, other):
        table.add_column(column)
    left, right = (_facts(registry.read(name)) for name in (one, other))
    for fact in sorted(left.keys() | right.keys()):
        if left.get(fact) != right.get(fact):
            table.add_row(_plain(fact), _plain(left.get(fact, "")), _plain(right.get(fact, "")))
    if not table.row_count:
        console.print("They hold the same.")
        return
    console.print(table)


def history(folder: FolderOption = None) -> None:
    """List who made which version serve, when and why, the newest first."""
    table = Table()
    for column in ("when", "", "version", "by", "why"):
        table.add_column(column, no_wrap=column in ("when", "", "version"))
    for one in reversed(registry_at(folder).history()):
        table.add_row(shown(one.at_ms), one.did, one.name, _plain(one.by), _plain(one.why))
    console.print(table)


def verify(folder: FolderOption = None) -> None:
    """Read every file of every version, and compare checksums."""
    registry = registry_at(folder)
    for name in registry.names():
        version = registry.verify(name)
        console.print(f"{name}: whole, {len(version.files)} files, {version.bytes / 1e6:,.1f} MB")


def _facts(version: ModelVersion) -> dict[str, str]:
    document = version.model_dump(mode="json", exclude={"seal", "files", "name", "format", "format_version"})
    found: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": str(said) for inner, said in value.items()}
        else:
            found[name] = "" if value is None else str(value)
    return found


def _plain(text: str) -> str:
    """Leave out what a terminal would obey: a version may come from a store, with anybody's notes."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
