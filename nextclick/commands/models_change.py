"""`nextclick models add | publish | rollback | pin | shadow`: what there is, and which version serves."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from nextclick.commands.models_options import FolderOption, Why, caller, registry_at, shadow_means
from registry.folder import Registry, Served
from registry.shadow import ShadowChoice

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
    why: Why = "",
) -> None:
    """Keep a version: no other is published until it is let go."""
    if bool(name) == none:
        raise SettingsError("expected a version, or --none")
    registry = registry_at(folder)
    registry.pin(name or None, now_ms=wall_clock_ms(), by=caller(), why=why)
    console.print(f"{name} is pinned" if name else "Nothing is pinned", markup=False)


def shadow(
    name: Annotated[str, typer.Argument(help="The candidate; left out, what is in the shadow is shown.")] = "",
    share: Annotated[float, typer.Option(min=0.0001, max=1.0, help="Share of the answers that it gives too.")] = 0.05,
    none: Annotated[bool, typer.Option("--none", help="Have none any more.")] = False,
    folder: FolderOption = None,
) -> None:
    """Have a candidate's re-ranker answer a share of live requests beside what serves: compared, never shown."""
    registry = registry_at(folder)
    if name and none:
        raise SettingsError("expected a version, or --none")
    if name and name == registry.serving():
        raise SettingsError(f"{name} serves: a candidate is another version (`nextclick models list`)")
    if name:
        registry.read(name)
        registry.put_in_shadow(ShadowChoice(name=name, share=share, at_ms=wall_clock_ms(), by=caller()))
    elif none:
        registry.put_in_shadow(None)
    chosen = registry.shadow()
    if chosen is None:
        console.print("No version is in the shadow", markup=False)
        return
    console.print(f"{chosen.name} is asked for {100 * chosen.share:g}% of the answers", markup=False)
    for what, value in (shadow_means(chosen.name) or {}).items():
        console.print(f"{what:18}{'none' if value is None else f'{value:,.4g}'}", markup=False)


def _publish(registry: Registry, name: str, why: str) -> None:
    _told(registry, registry.publish(name, now_ms=wall_clock_ms(), by=caller(), why=why))


def _told(registry: Registry, served: Served) -> None:
    before = f", after {served.before}" if served.before and served.before != served.name else ""
    console.print(f"{served.name} serves{before}: NEXTCLICK_ARTIFACTS={registry.folder / 'serving'}", markup=False)
