"""`nextclick scenario list | show | put | delete | versions | rollback`: what a shop decides, in a running gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import NextclickError
from nextclick.stack.client import Client
from nextclick.stack.options import url_option
from nextclick.stack.settings import gateway_url

console = Console()
Url = Annotated[str | None, url_option("A running gateway.")]
Name = Annotated[str, typer.Argument(help="Name of the scenario.")]


def list_scenarios(url: Url = None) -> None:
    """List what is published, and the placements."""
    with Client(gateway_url(url)) as client:
        _show(client.scenarios())


def show(name: Name, url: Url = None) -> None:
    """Print a scenario's document."""
    with Client(gateway_url(url)) as client:
        found = client.scenario(name)
    console.print(f"{name}, version {found['version']}", highlight=False)
    console.print_json(orjson.dumps(found["scenario"]).decode())


def put(
    name: Name,
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document (JSON).")],
    url: Url = None,
) -> None:
    """Publish a document as the newest version."""
    from nextclick.stack.scenario_files import read_scenario

    document = read_scenario(path)
    with Client(gateway_url(url)) as client:
        _said(client.put_scenario(name, document))


def delete(name: Name, url: Url = None) -> None:
    """Take a scenario away; its versions stay."""
    with Client(gateway_url(url)) as client:
        if name not in {one["name"] for one in client.scenarios() if one["version"]}:
            raise NextclickError(f"nothing is published as {name!r}: nothing was taken away")
        _said(client.delete_scenario(name))


def versions(name: Name, url: Url = None) -> None:
    """List the versions of a scenario that are kept, the newest first."""
    with Client(gateway_url(url)) as client:
        _show(client.scenario_versions(name))


def rollback(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version whose document is published again.")],
    url: Url = None,
) -> None:
    """Publish an older version again, as the newest."""
    with Client(gateway_url(url)) as client:
        _said(client.roll_scenario_back(name, version))


def _said(done: dict[str, Any]) -> None:
    what = f"version {done['version']} is published" if done["version"] else "it is taken away"
    seen = "every process answers by it" if done["visible"] else "not every process answers by it yet"
    console.print(f"{done['name']}: {what}; {seen}", highlight=False)


def _show(scenarios: list[dict[str, Any]]) -> None:
    table = Table("scenario", "version", "published", "decides")
    for one in scenarios:
        at_ms = one["published_ms"]
        at = "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(one["name"], str(one["version"]), at, ", ".join(one["scenario"]) or "nothing: a plain placement")
    console.print(table)
