"""Buyers at a real gateway: what the command says they did is what the log says."""

from __future__ import annotations

import asyncio
import http.client
import io
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from attribution.credit import CreditRules
from attribution.figures import table
from contracts.errors import OutputRefused, SettingsError
from nextclick.cli import build_app
from nextclick.show.sales import positions_table, sales_table
from nextclick.stack.client import Client, GatewayUnreachable
from nextclick.stack.load_items import load_items
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.engine.buying import BuyOptions, send_buyers
from replay.measure.sales import Takings
from replay.reference.attribution import logged_facts, plain_cells
from replay.synthetic.shop import default_shop

EXPERIMENT = {
    "scenario": "homepage",
    "variants": [
        {"name": "control", "share": 0.5},
        {"name": "margin", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}},
    ],
    "metric": "clicks/pages",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("buyers"))
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as running:
        with Client(running.url) as client:
            load_items(Console(quiet=True), list(default_shop().items[::4]), client)
        yield running


def put_experiment(stack: Stack) -> None:
    where = urlsplit(stack.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    body = orjson.dumps(EXPERIMENT)
    connection.request("PUT", "/api/experiments/margins", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert (answer.status, b'"visible":true' in answer.read()) == (200, True)
    connection.close()


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(build_app("buyers"), ["buyers", *words])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.output


def logged(stack: Stack, pages: int) -> Counter[str]:
    """What the whole log holds, counted without the buyers, once so many pages are in it: they follow answers."""
    until = time.monotonic() + 60
    while True:
        cells = plain_cells(logged_facts(stack.running_settings, None), CreditRules(1_800_000, 604_800_000, "last"))
        found: Counter[str] = table(cells.items(), ())[()]
        if found["pages"] >= pages * 10_000 or time.monotonic() > until:
            return found
        time.sleep(0.1)


@pytest.mark.slow
def test_what_buyers_did_is_what_the_log_says(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    put_experiment(stack)
    out = tmp_path / "sales.json"
    words = ("--url", stack.url, "--visits", "150", "--rate", "100", "--think", "0.01", "--out", str(out))
    status, said = run(*words)
    assert status == 0, said
    found: dict[str, Any] = orjson.loads(out.read_bytes())
    total = found["total"]
    assert (found["rejected"], found["failed"], found["unanswered"], found["unknown_items"]) == ({}, {}, {}, 0)
    assert total["visits"] == 150
    assert 30 < found["members"] < 90
    assert {(one["experiment_id"], one["variant"]) for one in found["variants"]} == {
        ("margins", "control"),
        ("margins", "margin"),
        (None, None),  # pages of items: no experiment is on `product`
    }
    for name in ("pages", "shown", "clicks", "carts", "lines", "returns"):
        assert sum(one[name] for one in found["variants"]) == total[name]
    homepages = [one for one in found["variants"] if one["variant"]]
    assert sum(one["visits"] for one in homepages) == 150
    counted = logged(stack, total["pages"])
    expected = {"pages": "pages", "shown": "shown", "clicks": "clicks", "looked_at": "viewed", "lines": "purchases"}
    assert {name: total[name] for name in expected} == {
        name: counted[other] // 10_000 for name, other in expected.items()
    }
    assert total["clicks"] > 100
    assert total["orders"] > 0
    bought = round((total["revenue"] + total["returned"]) * 10_000)
    assert counted["revenue:EUR"] == bought
    assert "margins" in said
    assert "CTR by position" in said


def test_a_gateway_elsewhere_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(SettingsError, match="expected a gateway on this machine"):
        run("--url", "https://shop.example")


def test_what_cannot_run_says_so_first(tmp_path: Path) -> None:
    here = ("--url", "http://127.0.0.1:1")
    with pytest.raises(GatewayUnreachable, match="start one with `nextclick up`"):
        run(*here)
    with pytest.raises(SettingsError, match="--currency: expected three capital letters"):
        run(*here, "--currency", "euro")
    with pytest.raises(SettingsError, match="--first: expected up to 64 letters"):
        run(*here, "--first", "../keys")
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    with pytest.raises(OutputRefused):
        run(*here, "--out", str(mine))
    assert mine.read_text() == "{}"


def test_where_nobody_answers_every_visit_ends_and_is_counted() -> None:
    options = BuyOptions("http://127.0.0.1:1", "r1", visits=7, rate=1_000.0)
    takings = asyncio.run(send_buyers(options, default_shop()))
    assert takings.unanswered == {"ConnectionRefusedError": 7}
    assert (takings.total.visits, takings.total.pages, takings.lost) == (7, 0, 0)


def test_tables_fit_a_terminal_of_80_columns() -> None:
    group, takings = ("margin-first", "control"), Takings()
    for name in (group, ("", "")):
        for sales in takings.of(name):
            sales.visits, sales.orders, sales.bought_cents = sales.visits + 1234, 56, 12_345_678
            sales.shown_at.update(dict.fromkeys(range(1, 11), 4_000))
            sales.clicked_at.update({at: 480 // at for at in range(1, 11)})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(sales_table(takings, "EUR"), positions_table(takings))
    said = console.export_text()
    assert "…" not in said
    assert "margin-first control  1,234 40,000  1,405 3.5%     0     56        0  123,456.78" in said
    assert "margin-first control 12.0% 6.0% 4.0% 3.0%" in said


@pytest.mark.slow
def test_time_ends_a_run_in_order(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "sales.json"
    status, _ = run("--url", stack.url, "--visits", "100000", "--rate", "20", "--seconds", "1.5", "--out", str(out))
    found = orjson.loads(out.read_bytes())
    assert (status, found["rejected"], found["failed"]) == (0, {}, {})
    assert 10 <= found["total"]["visits"] <= 31


@pytest.mark.slow
def test_a_shop_without_items_is_an_error_that_says_how_to_load_them(tmp_path: Path) -> None:
    with Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path))) as empty:
        status, output = run("--url", empty.url, "--visits", "3", "--think", "0")
    assert status == 1
    assert "got none in" in output
    assert "nextclick items shop FOLDER" in output
