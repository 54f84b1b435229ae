"""`nextclick models push | pull`: whole versions to and from an object store, checksums compared."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from contracts.errors import SettingsError
from nextclick.commands.models_options import FolderOption, registry_at
from registry.store import Store

console = Console(highlight=False, soft_wrap=True)
Address = Annotated[
    str, typer.Argument(help="Where versions are kept: s3://bucket/models, gs://, az://, file:///folder.")
]


def push(
    url: Address,
    name: Annotated[str, typer.Argument(help="The version; left out, the one that serves.")] = "",
    folder: FolderOption = None,
) -> None:
    """Copy a version to an object store, once every file was read and compared."""
    registry = registry_at(folder)
    chosen = name or registry.serving()
    if chosen is None:
        raise SettingsError("expected a version, as none serves: see `nextclick models list`")
    store = Store(url)
    done = store.push(registry, chosen)
    console.print(f"{chosen}: {'pushed to' if done else 'was already at'} {store.url}", markup=False)


def pull(
    url: Address,
    name: Annotated[str, typer.Argument(help="The version; left out, those that are there are listed.")] = "",
    folder: FolderOption = None,
) -> None:
    """Copy a version from an object store. It does not serve until it is published."""
    store = Store(url)
    if not name:
        for one in store.names():
            console.print(one, markup=False)
        return
    registry = registry_at(folder)
    done = store.pull(registry, name)
    console.print(f"{name}: {'pulled, whole' if done else 'is here already, whole'}", markup=False)
