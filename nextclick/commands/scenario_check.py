"""`nextclick scenario check`: a document's types, expressions, dates and items, before anybody publishes it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.options import url_option

console = Console()


def check(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document (JSON).")],
    name: Annotated[str, typer.Option(help="The name that it will have.")] = "draft",
    url: Annotated[str | None, url_option("A running gateway, for bases and items.")] = None,
    offline: Annotated[bool, typer.Option(help="Ask no gateway: bases and items are not looked up.")] = False,
) -> None:
    """Say what is wrong with a scenario, or what will not do what it looks like. Exits with 1 where it is wrong."""
    from contracts.scenarios import Scenario
    from nextclick.stack.client import Client
    from nextclick.stack.scenario_files import check_scenario
    from nextclick.stack.settings import gateway_url

    bases: dict[str, Scenario] = {}
    missing: list[str] = []
    if offline:
        scenario = check_scenario(path, name, bases)
    else:
        with Client(gateway_url(url)) as client:
            found = client.scenarios()
            bases = {one["name"]: Scenario.model_validate(one["scenario"]) for one in found if one["version"]}
            scenario = check_scenario(path, name, bases)
            named = [*(pin.item_id for pin in scenario.pins or ()), *(scenario.bury or ())]
            missing = client.missing_items(list(dict.fromkeys(named)))
    for item_id in missing:
        console.print(f"[yellow]warning[/] {item_id!r} is not in the catalogue", highlight=False)
    for what in over(scenario, datetime.now(UTC)):
        console.print(f"[yellow]warning[/] {what}", highlight=False)
    if missing:
        raise typer.Exit(1)
    console.print(f"{path} can be published", highlight=False)


def over(scenario: object, now: datetime) -> list[str]:
    """Return what of a scenario's dated decisions is over."""
    from contracts.scenarios import Scenario

    assert isinstance(scenario, Scenario)
    dated = [
        *((f"boost {at + 1}", one) for at, one in enumerate(scenario.boosts or ())),
        *((f"the pin of {one.item_id!r}", one) for one in scenario.pins or ()),
    ]
    return [f"{what} ended at {one.until.isoformat()}" for what, one in dated if one.until and one.until <= now]
