"""`nextclick models add | publish | rollback | pin`: what there is, and which version serves."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from nextclick.commands.models_options import FolderOption, Why, caller, registry_at
from registry.folder import Registry, Served

console = Console(highlight=False, soft_wrap=True)


def add(
    artifacts: Annotated[Path, typer.Argument(help="A folder that `nextclick train models` made.")],
    folder: FolderOption = None,
    note: Annotated[str, typer.Option(help="What is new about it.")] = "",
    publish: Annotated[bool, typer.Option("--publish", help="Let it serve at once.")] = False,
) -> None:
    """Copy trained models as a new version. It does not serve until it is published."""
    registry = registry_at(folder)
    version = registry.add(
        artifacts,
        now_ms=wall_clock_ms(),
        by=caller(),
        note=note,
        parent=registry.serving(),
        code_version=metadata.version("nextclick"),
    )
    console.print(f"{version.name}: {version.bytes / 1e6:,.1f} MB", markup=False)
    if publish:
        _publish(registry, version.name, note)


def publish(
    name: Annotated[str, typer.Argument(help="A version; see `nextclick models list`.")],
    folder: FolderOption = None,
    why: Why = "",
) -> None:
    """Let a version serve: gateways take a re-ranker up at once, a session model with the next index snapshot."""
    _publish(registry_at(folder), name, why)


def rollback(folder: FolderOption = None, why: Why = "") -> None:
    """Let the version serve that served before."""
    registry = registry_at(folder)
    _told(registry, registry.rollback(now_ms=wall_clock_ms(), by=caller(), why=why))


def pin(
    name: Annotated[str, typer.Argument(help="The version that stays; none with --none.")] = "",
    none: Annotated[bool, typer.Option("--none", help="Let versions be published again.")] = False,
    folder: FolderOption = None,
) -> None:
    """Keep a version: no other is published until it is let go."""
    if bool(name) == none:
        raise SettingsError("expected a version, or --none")
    registry = registry_at(folder)
    registry.pin(name or None)
    console.print(f"{name} is pinned" if name else "Nothing is pinned", markup=False)


def _publish(registry: Registry, name: str, why: str) -> None:
    _told(registry, registry.publish(name, now_ms=wall_clock_ms(), by=caller(), why=why))


def _told(registry: Registry, served: Served) -> None:
    before = f", after {served.before}" if served.before and served.before != served.name else ""
    console.print(f"{served.name} serves{before}: NEXTCLICK_ARTIFACTS={registry.folder / 'serving'}", markup=False)
