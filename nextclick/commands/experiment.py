"""`nextclick experiment list | show | put | stop | promote | rollback | versions`: experiments of a running gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from nextclick.show.kept_report import kept_tables
from nextclick.stack.client import Client
from nextclick.stack.options import url_option
from nextclick.stack.settings import gateway_url

console = Console()
Url = Annotated[str | None, url_option("A running gateway.")]
Name = Annotated[str, typer.Argument(help="Name of the experiment.")]
Why = Annotated[str | None, typer.Option(help="Why: kept with the experiment.")]


def list_experiments(url: Url = None) -> None:
    """List what is published: what runs, what is planned, what is over."""
    with Client(gateway_url(url)) as client:
        _show(client.experiments())


def show(name: Name, url: Url = None) -> None:
    """Print an experiment's document and, where it has a report, its figures and the decision that they support."""
    with Client(gateway_url(url)) as client:
        found = client.experiment(name)
    console.print(f"{name}, version {found['version']}: {_state(found)}", highlight=False)
    console.print_json(orjson.dumps(found["experiment"]).decode())
    report = found.get("report")
    if not report:
        return
    for table in kept_tables(report):
        console.print(table)
    console.print(report["decision"], highlight=False, markup=False, soft_wrap=True)


def put(
    name: Name,
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document (JSON).")],
    url: Url = None,
) -> None:
    """Publish a document as the newest version. One that was stopped begins anew."""
    from nextclick.stack.experiment_files import read_experiment

    document = read_experiment(path)
    with Client(gateway_url(url)) as client:
        _said(client.put_experiment(name, document))


def stop(name: Name, why: Why = None, url: Url = None) -> None:
    """Assign nobody any more: everybody gets the scenario as it is."""
    with Client(gateway_url(url)) as client:
        _said(client.change_experiment(name, "stop", **_why(why)))


def promote(
    name: Name,
    variant: Annotated[str, typer.Argument(help="What the scenario is from now on.")],
    why: Why = None,
    url: Url = None,
) -> None:
    """Publish a variant as the scenario's next version, and stop the experiment."""
    with Client(gateway_url(url)) as client:
        _said(client.change_experiment(name, "promote", variant=variant, **_why(why)))


def rollback(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version whose document is published again.")],
    url: Url = None,
) -> None:
    """Publish an older version again, as the newest."""
    with Client(gateway_url(url)) as client:
        _said(client.change_experiment(name, "rollback", version=version))


def versions(name: Name, url: Url = None) -> None:
    """List the versions of an experiment that are kept, the newest first."""
    with Client(gateway_url(url)) as client:
        _show(client.experiment_versions(name))


def _why(why: str | None) -> dict[str, str]:
    return {} if why is None else {"why": why}


def _said(done: dict[str, Any]) -> None:
    seen = "every process assigns by it" if done["visible"] else "not every process assigns by it yet"
    console.print(f"{done['name']}: version {done['version']} is published; {seen}", highlight=False)


def _state(one: dict[str, Any]) -> str:
    said = f"{one['state']}, {one['promoted']} promoted" if one.get("promoted") else str(one["state"])
    return f"{said} ({one['why']})" if one.get("why") else said


def _show(experiments: list[dict[str, Any]]) -> None:
    rest = ("version", "state", "scenario", "variants", "metric", "published")
    table = Table(Column("experiment", no_wrap=True), *(Column(name, overflow="fold") for name in rest))
    for one in experiments:
        document = one["experiment"]
        variants = ", ".join(f"{variant['name']} {variant['share']:.1%}" for variant in document["variants"])
        at = datetime.fromtimestamp(one["published_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        metric = document.get("metric", "clicks/pages")
        table.add_row(one["name"], str(one["version"]), _state(one), document["scenario"], variants, metric, at)
    console.print(table)
