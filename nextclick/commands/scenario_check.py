"""`nextclick scenario check`: a document's types, expressions, dates and items, before anybody publishes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.stack.options import url_option

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.scenarios import Scenario
    from eventlog.item_tables import ItemTable
    from rerank.scenarios.compiled import Compiled

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
    columns: Columns = None,
    lists: Lists = None,
) -> None:
    """Say what is wrong with a scenario, or what will not do what it looks like. Exits with 1 where it is wrong."""
    from nextclick.stack.scenario_files import check_scenario, published_scenarios

    table = table_of(items, columns, lists)
    scenario, compiled = check_scenario(path, name, {} if offline else published_scenarios(url))
    where = f"in {items}" if items is not None else "in the catalogue"
    if table is not None:
        found = _of_file(table, scenario, compiled)
    else:
        found = _offline(scenario, compiled) if offline else _of_gateway(url, name, scenario, compiled)
    for item_id in found.missing:
        console.print(f"[red]error[/] {escape(repr(item_id))} is not {where}", highlight=False)
    for attribute in found.unheld:
        console.print(f"[yellow]warning[/] no item {where} has {escape(attribute)}", highlight=False)
    for pointer, detail in found.doubts:
        told = detail.replace("in the catalogue", where)
        console.print(f"[yellow]warning[/] {escape(pointer)}: {escape(told)}", highlight=False, soft_wrap=True)
    if found.missing:
        raise typer.Exit(1)
    console.print(f"{path} can be published", highlight=False)


class _Found(NamedTuple):
    """What a catalogue says of a document: named items that it lacks, attributes that no item has, doubts."""

    missing: Sequence[str]
    unheld: Sequence[str]
    doubts: Sequence[tuple[str, str]]


def _of_file(table: ItemTable, scenario: Scenario, compiled: Compiled) -> _Found:
    from nextclick.stack.scenario_files import attributes_read
    from rerank.scenarios.doubts import doubts_of, items_named, known_in
    from retrieval.item_columns import inner

    items, named, unheld = dict(table.read()), items_named(compiled.scenario), dict.fromkeys(attributes_read(compiled))
    for item in items.values():
        for name in list(unheld):
            if inner(item.attributes, name.split(".")[1:]) is not None:
                del unheld[name]
    known = replace(known_in(items, named), missing=())  # missing ones are errors here
    missing = [item_id for item_id in named if item_id not in items]
    return _Found(missing, list(unheld), doubts_of(scenario, compiled.scenario, known, now_ms=_now_ms()))


def _offline(scenario: Scenario, compiled: Compiled) -> _Found:
    from rerank.scenarios.doubts import Known, doubts_of

    return _Found((), (), doubts_of(scenario, compiled.scenario, Known(), now_ms=_now_ms()))


def _of_gateway(url: str | None, name: str, scenario: Scenario, compiled: Compiled) -> _Found:
    from contracts.scenarios import document_of
    from nextclick.stack.client import Client
    from nextclick.stack.scenario_files import attributes_read, has_attribute
    from nextclick.stack.settings import gateway_url
    from rerank.scenarios.doubts import items_named

    with Client(gateway_url(url)) as client:
        missing = client.missing_items(items_named(compiled.scenario))
        unheld = [one for one in attributes_read(compiled) if client.finds_item(has_attribute(one)) is False]
        warned = client.warnings(name, document_of(scenario))
    errors = {f"{item_id!r} is not in the catalogue" for item_id in missing}
    return _Found(missing, unheld, [one for one in warned if not any(said in one[1] for said in errors)])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
