"""`nextclick items load`: a catalogue file into a running stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.commands.item_options import KINDS, Columns, Lists
from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.options import url_option

console = Console()
Url = Annotated[str | None, url_option("A running gateway.")]


def load_items(
    path: Annotated[
        Path,
        typer.Argument(help=f"Items: {KINDS}."),
    ],
    columns: Columns = None,
    lists: Lists = None,
    url: Url = None,
    key_file: KeyFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a row was left out.")] = False,
) -> None:
    """Load items and wait until recommendations see them. Broken rows are named, and left out."""
    from nextclick.stack.load_items import load_items_file
    from nextclick.stack.settings import gateway_url

    left_out = load_items_file(
        console, path, gateway_url(url), columns=columns or (), lists=lists or (), key=api_key(key_file)
    )
    if strict and left_out:
        raise typer.Exit(1)
