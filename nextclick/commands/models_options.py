"""Where the folder of models is, for the commands about it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from registry.folder import SERVING, Registry

DEFAULT = Path("models")

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="The folder of models; none: that of NEXTCLICK_ARTIFACTS, or models.")
]
Why = Annotated[str, typer.Option(help="Kept in the history.")]


def registry_at(folder: Path | None) -> Registry:
    """Return the registry that is named, or the one whose version the settings say serves."""
    from contracts.settings import ServiceSettings

    if folder is not None:
        return Registry(folder)
    artifacts = Path(ServiceSettings().artifacts or DEFAULT / SERVING)
    return Registry(artifacts.parent if artifacts.name == SERVING else DEFAULT)


def caller() -> str:
    """Return who runs the command, as the machine knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
