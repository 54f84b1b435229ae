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


def shadow_means(name: str) -> dict[str, float | None] | None:
    """Return what gateways found a version in the shadow to answer; None where they found nothing, or Redis is away."""
    from contracts.errors import StateUnavailable
    from contracts.settings import ServiceSettings
    from contracts.shadow_means import means
    from state.shadow_sums import ShadowSums

    store = ShadowSums(ServiceSettings().redis)
    try:
        sums = store.read(name)
    except StateUnavailable:
        return None
    finally:
        store.close()
    return means(sums) if sums else None


def caller() -> str:
    """Return who runs the command, as the machine knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
