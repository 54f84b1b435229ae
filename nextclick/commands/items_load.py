"""`nextclick items load`: a catalogue file into a running stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.options import url_option

console = Console()
Url = Annotated[str | None, url_option("A running gateway.")]


def load_items(
    path: Annotated[Path, typer.Argument(help="Items, one JSON document a line (.jsonl or .jsonl.zst).")],
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Load items and wait until recommendations see them."""
    from nextclick.stack.load_items import load_items_file
    from nextclick.stack.settings import gateway_url

    load_items_file(console, path, gateway_url(url), key=api_key(key_file))
