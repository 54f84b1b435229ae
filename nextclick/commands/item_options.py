"""The options that say how an items file is read, said once: tables as shops export them, beside lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from contracts.errors import SettingsError

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.items import Item
    from eventlog.item_tables import ItemTable

KINDS: Final = ".jsonl (one document a line), .csv or .tsv, each also .gz or .zst; or .parquet"
Columns = Annotated[
    list[str] | None,
    typer.Option("--map", help="A field and its column in a table, price=Preis; may be repeated.", metavar="F=C"),
]
Lists = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        help="A field whose cells are lists split by |, of one part too: attributes.tags; may be repeated.",
        metavar="F",
    ),
]


def table_of(items: Path | None, columns: Sequence[str] | None, lists: Sequence[str] | None) -> ItemTable | None:
    """Return how an items file is read; None where there is none. Raises SettingsError for a map of nothing."""
    from eventlog.item_tables import ItemTable, column_map

    if items is None:
        if columns or lists:
            raise SettingsError("expected an items file with --items, as --map and --list are of its columns")
        return None
    return ItemTable(items, tuple(column_map(columns or ()).items()), tuple(lists or ()))


def known_items(items: Path | None, columns: Sequence[str] | None, lists: Sequence[str] | None) -> dict[str, Item]:
    """Return the items of a file by id; nothing where there is none. Raises as `ItemTable.read`."""
    table = table_of(items, columns, lists)
    return {} if table is None else dict(table.read())
