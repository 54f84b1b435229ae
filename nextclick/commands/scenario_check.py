"""`nextclick scenario check`: a document's types, expressions, dates and items, before anybody publishes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nextclick.stack.options import url_option

console = Console()


def check(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document (JSON).")],
    name: Annotated[str, typer.Option(help="The name that it will have.")] = "draft",
    url: Annotated[str | None, url_option("A running gateway, for bases and items.")] = None,
    offline: Annotated[
        bool, typer.Option(help="Ask no gateway: bases must be placements, items are looked up in --items alone.")
    ] = False,
    items: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Look items up in this file (as `items load` takes it), not in the gateway.",
        ),
    ] = None,
) -> None:
    """Say what is wrong with a scenario, or what will not do what it looks like. Exits with 1 where it is wrong."""
    from nextclick.stack.scenario_files import attributes_read, check_scenario, items_named, published_scenarios

    compiled = check_scenario(path, name, {} if offline else published_scenarios(url))
    scenario = compiled.scenario
    named, read = items_named(scenario), attributes_read(compiled)
    missing, unheld = list[str](), list[str]()
    if items is not None:
        missing, unheld = _not_in(items, named, read)
    elif not offline:
        missing, unheld = _not_in_gateway(url, named, read)
    where = f"in {items}" if items is not None else "in the catalogue"
    for item_id in missing:
        console.print(f"[red]error[/] {escape(repr(item_id))} is not {where}", highlight=False)
    for attribute in unheld:
        console.print(f"[yellow]warning[/] no item {where} has {escape(attribute)}", highlight=False)
    for what in over(scenario, datetime.now(UTC)):
        console.print(f"[yellow]warning[/] {escape(what)}", highlight=False)
    if missing:
        raise typer.Exit(1)
    console.print(f"{path} can be published", highlight=False)


def _not_in(items: Path, named: Sequence[str], read: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the items that a file does not have, and the attributes that none of its items has."""
    from eventlog.item_tables import read_any_items
    from retrieval.item_columns import inner

    missing, unheld = dict.fromkeys(named), dict.fromkeys(read)
    for item_id, item in read_any_items(items, {}, on_error=None):
        missing.pop(item_id, None)
        for name in list(unheld):
            if inner(item.attributes, name.split(".")[1:]) is not None:
                del unheld[name]
    return list(missing), list(unheld)


def _not_in_gateway(url: str | None, named: Sequence[str], read: Sequence[str]) -> tuple[list[str], list[str]]:
    from nextclick.stack.client import Client
    from nextclick.stack.scenario_files import has_attribute
    from nextclick.stack.settings import gateway_url

    with Client(gateway_url(url)) as client:
        return client.missing_items(named), [one for one in read if client.finds_item(has_attribute(one)) is False]


def over(scenario: object, now: datetime) -> list[str]:
    """Return what of a scenario's dated decisions is over."""
    from contracts.scenarios import Scenario

    assert isinstance(scenario, Scenario)
    dated = [
        *((f"boost {at + 1}", one) for at, one in enumerate(scenario.boosts or ())),
        *((f"the pin of {one.item_id!r}", one) for one in scenario.pins or ()),
    ]
    return [f"{what} ended at {one.until.isoformat()}" for what, one in dated if one.until and one.until <= now]
