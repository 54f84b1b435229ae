"""Columns that scenarios read of every item are made ahead of requests, in slices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from contracts.api import Placement
from contracts.ids import item_key
from contracts.items import CatalogueRow, item_of
from contracts.scenarios import Scenario, ScenarioVersion
from gateway.ahead import FIRST_SLICE, ColumnsAhead, keep_made
from gateway.scenarios import Scenarios, encode
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import Compiled, compile_filter, compile_scenario, plain
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import Ahead, ItemFields

NOW_MS = 1_790_000_000_000
DOCUMENT: dict[str, Any] = {
    "filter": "attributes.a < 10 and price < 5",
    "boosts": [{"if": "attributes.b == 3", "multiply": 2}],
    "value": {"match": 1, "season": 1},
    "limits": [{"field": "supplier", "most": 2}, {"field": "price_band", "share": 0.5}],
}


def shop(items: int) -> CatalogueColumns:
    columns = CatalogueColumns()
    rows = []
    for at in range(items):
        item = item_of(
            {"title": "t", "price": 1.0, "supplier": f"s{at % 9}", "attributes": {"a": at % 20, "b": at % 7}}
        )
        rows.append((item_key(f"i{at}"), CatalogueRow(f"i{at}", item, 5, NOW_MS, 0, b"")))
    columns.apply(rows)
    return columns


def compiled(document: dict[str, Any]) -> Compiled:
    return compile_scenario("deals", 1, Scenario.model_validate(document), lambda base: None)


def left(columns: CatalogueColumns, scenario: Compiled) -> int:
    return columns.fields.catch_up(columns, read_of_items(scenario, NOW_MS), 0)


def test_what_is_read_of_every_item_is_known_beforehand() -> None:
    columns = shop(50)
    wanted = read_of_items(compiled(DOCUMENT), NOW_MS)
    assert len(wanted) == 5
    assert columns.fields.catch_up(columns, wanted, 1000) == 0
    assert read_of_items(plain(Placement.HOMEPAGE), NOW_MS) == ()
    asked = compile_filter("price < 5 and attributes.a < 3", passing=True)
    assert len(read_of_items(plain(Placement.HOMEPAGE), NOW_MS, asked)) == 1  # of the price alone
    later = compiled({"boosts": [{"if": "price < 1", "multiply": 2, "from": "2030-01-01T00:00:00Z"}]})
    assert (read_of_items(later, NOW_MS), len(read_of_items(later, 2_000_000_000_000))) == ((), 1)


async def test_others_run_between_two_slices() -> None:
    columns, turns = shop(5000), 0
    ahead = ColumnsAhead(columns, asyncio.Lock())

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await ahead.catch_up(read_of_items(compiled(DOCUMENT), NOW_MS))
    beside.cancel()
    assert left(columns, compiled(DOCUMENT)) == 0
    assert turns >= 10
    assert columns.fields.column(columns, *_supplier(), keeps_columns=True).codes.tolist() == [0, 1, 2]  # type: ignore[union-attr]


def _supplier() -> Any:
    [wanted] = [one for one in read_of_items(compiled(DOCUMENT), NOW_MS) if getattr(one, "name", "") == "supplier"]
    return wanted, np.array([0, 1, 2], np.int32), 0.0


async def test_what_has_no_room_together_ends_all_the_same() -> None:
    columns = shop(2000)
    columns.fields = ItemFields(room=100)
    ahead = ColumnsAhead(columns, asyncio.Lock())
    wanted = [read_of_items(compiled({**DOCUMENT, "filter": f"price < {n}"}), NOW_MS) for n in range(5)]
    async with asyncio.timeout(20):
        await asyncio.gather(*map(ahead.catch_up, wanted))


async def test_columns_of_what_is_published_are_made_without_a_request_and_after_an_exchange() -> None:
    columns, scenarios = shop(200), Scenarios()
    version = ScenarioVersion(
        name="deals", version=1, published_ms=1, by=None, scenario=Scenario.model_validate(DOCUMENT)
    )
    scenarios.apply([(item_key("deals"), encode(version))])
    ahead = ColumnsAhead(columns, asyncio.Lock())
    task = asyncio.create_task(keep_made(ahead, columns, scenarios, lambda: NOW_MS, lambda: True))
    try:
        for _ in range(2):
            await asyncio.sleep(0.6)
            assert left(columns, compiled(DOCUMENT)) == 0
            columns.fields = ItemFields()
    finally:
        task.cancel()


async def test_what_costs_more_a_row_begins_with_few_rows_whatever_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, slices = shop(5000), list[tuple[str, int]]()
    looked = columns.fields.catch_up

    def seen(catalogue: CatalogueColumns, wanted: Sequence[Ahead], most_rows: int) -> int:
        slices.append((str(wanted[0]) if len(wanted) == 1 else "all", most_rows))
        return looked(catalogue, wanted, most_rows)

    monkeypatch.setattr(columns.fields, "catch_up", seen)
    ahead = ColumnsAhead(columns, asyncio.Lock())
    for document in ({"filter": "price < 5"}, DOCUMENT, {"filter": "attributes.c == 1"}):
        await ahead.catch_up(read_of_items(compiled(document), NOW_MS))
    first = dict(reversed([one for one in slices if one[0] != "all"]))
    assert len(first) > 5
    assert set(first.values()) == {FIRST_SLICE}
    assert all(left(columns, compiled(one)) == 0 for one in ({"filter": "price < 5"}, DOCUMENT))
