"""`nextclick scenario ...` as people type it, against a real gateway."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from contracts.errors import ImportFormatError
from contracts.items import Item
from contracts.settings import LogSettings, RedisSettings
from eventlog.files import write_events, write_items
from gateway.app import create_app
from gateway.settings import GatewayOptions, GatewaySettings
from nextclick.stack.scenario_files import check_scenario
from tests.gateway.streams import Streams
from tests.nextclick.test_cli import nextclick

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]
LOG = LogSettings(partitions=4)


@pytest.fixture
async def run(redis_settings: RedisSettings, tmp_path: Path) -> AsyncIterator[Run]:
    """Run `nextclick scenario` in a folder of its own, with the address of a gateway that holds one item."""
    options = GatewayOptions(deadline_ms=10_000, visible_wait_ms=60_000)
    settings = GatewaySettings(redis=redis_settings, log=LOG, gateway=options)
    with Streams(LOG, redis_settings):
        async with TestClient(TestServer(create_app(settings))) as client, asyncio.timeout(60):
            while (await client.get("/readyz")).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (await client.put("/api/items/a", json={"title": "A"})).status == 202
            url = str(client.make_url(""))

            async def one(verb: str, *words: str) -> subprocess.CompletedProcess[str]:
                return await asyncio.to_thread(nextclick, "scenario", verb, *words, "--url", url, cwd=tmp_path)

            yield one


def written(folder: Path, document: Any) -> str:
    path = folder / "deals.json"
    path.write_bytes(document if isinstance(document, bytes) else orjson.dumps(document))
    return path.name


@pytest.mark.slow
async def test_a_document_is_checked_published_listed_and_taken_back(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, {"filter": "price < 30", "pins": [{"item_id": "a", "position": 1}]})
    assert (await run("check", path)).stdout == "deals.json can be published\n"
    assert (await run("put", "deals", path)).stdout == "deals: version 1 is published; every process answers by it\n"
    written(tmp_path, {"filter": "price < 20"})
    assert "version 2" in (await run("put", "deals", path)).stdout
    assert "version 3" in (await run("rollback", "deals", "1")).stdout
    listed = (await run("list")).stdout
    assert "filter, pins" in listed
    assert "nothing: a plain placement" in listed
    assert '"filter": "price < 30"' in (await run("show", "deals")).stdout
    versions = (await run("versions", "deals")).stdout.splitlines()
    assert sum(line.lstrip("│ ").startswith("deals") for line in versions) == 3
    assert (await run("delete", "deals")).stdout == "deals: it is taken away; every process answers by it\n"
    gone = await run("show", "deals")
    assert gone.returncode == 1
    assert gone.stderr.endswith("expected a 2xx answer, got 404: there is no scenario 'deals'\n")
    for name in ("deals", "homepage"):
        gone = await run("delete", name)
        assert (gone.returncode, gone.stderr) == (
            1,
            f"error nothing is published as {name!r}: nothing was taken away\n",
        )
    written(tmp_path, {"filter": "user.attributes.x == 1", "base": "sale"})
    refused = await run("put", "deals", path)
    assert refused.stderr.endswith("got 422: /base: there is no scenario 'sale'\n")


@pytest.mark.slow
async def test_what_is_wrong_with_a_file_is_one_line(run: Run, tmp_path: Path) -> None:
    for document, said in (
        (b"{", "deals.json: expected JSON, got"),
        ({"filter": "pric < 5"}, "deals.json: /filter: line 1, column 1: no field is called pric: did you mean price?"),
        ({"diversity": 2}, "deals.json: /diversity: Input should be less than or equal to 1"),
        ({"base": "sale"}, "deals.json: /base: there is no scenario 'sale'"),
    ):
        refused = await run("check", written(tmp_path, document))
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error {said}")
        assert refused.stderr.count("\n") == 1
    document = {"bury": ["a", "b"], "filter": 'attributes.size > 1 and has(attributes["a b"])'}
    missing = await run("check", written(tmp_path, document))
    assert (missing.returncode, missing.stdout.splitlines()) == (
        1,
        [
            "error 'b' is not in the catalogue",
            "warning no item in the catalogue has attributes.a b",
            "warning no item in the catalogue has attributes.size",
        ],
    )


@pytest.mark.slow
async def test_what_is_published_is_tried_by_its_name(run: Run, tmp_path: Path) -> None:
    clicks = [
        {"v": 1, "event_id": f"e{at}", "type": "view", "session_id": f"s{at // 4}", "item_id": "abcdefg"[at % 7]}
        for at in range(80)
    ]
    write_events(tmp_path / "log.jsonl.zst", ({**one, "ts": 1_790_000_000_000 + at} for at, one in enumerate(clicks)))
    write_items(tmp_path / "items.jsonl.zst", [(one, Item(title=one, price=float(ord(one) - 96))) for one in "abcdefg"])
    await run("put", "cheap", written(tmp_path, {"filter": "price <= 4"}))
    asked = ("log.jsonl.zst", "--items", "items.jsonl.zst", "--limit", "2", "--out", "diff.json")
    found = await run("diff", "cheap", "homepage", *asked)
    assert found.returncode == 0, found.stderr
    told = orjson.loads((tmp_path / "diff.json").read_bytes())
    assert (told["old"], told["new"]) == ("homepage", "cheap")
    assert told["figures"]["page_price"]["new"] <= 4
    assert told["figures"]["page_price"]["change"] < 0
    missing = await run("diff", "dear", "homepage", *asked)
    assert missing.stderr == "error dear: expected a file, a placement or a published scenario, and found none\n"


def test_what_is_over_and_pins_that_do_nothing_are_told(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl.zst", [("a", Item(title="A", stock=0)), ("b", Item(title="B", stock=3))])
    document = {
        "boosts": [
            {"if": "true", "multiply": 2, "until": "2026-01-01"},
            {"if": "true", "multiply": 2, "until": "2999-01-01"},
        ],
        "pins": [{"item_id": "a", "position": 1, "until": "2025-01-01"}, {"item_id": "b", "position": 2}],
        "bury": ["b"],
    }
    asked = ("scenario", "check", written(tmp_path, document), "--offline", "--items", "items.jsonl.zst")
    found = nextclick(*asked, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "warning /pins/0/item_id: 'a' is sold out: until it is in stock its position is filled as any other",
        "warning /pins/1/item_id: 'b' is buried too: it stands where it is pinned",
        "warning /boosts/0/until: it ended at 2026-01-01T00:00:00+00:00: it does nothing any more",
        "warning /pins/0/until: it ended at 2025-01-01T00:00:00+00:00: it does nothing any more",
        "deals.json can be published",
    ]


def test_items_that_a_document_names_are_looked_up_without_a_gateway(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl.zst", [("a", Item(title="A")), ("b", Item(title="B"))])
    document = {
        "filter": 'item_id != "c" and price > 0',
        "boosts": [{"if": 'item_id in ["a", "d"]', "multiply": 2}],
        "pins": [{"item_id": "b", "position": 1}, {"item_id": "e", "position": 2}],
        "bury": ["f", "a"],
    }
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    for items in ("items.jsonl.zst", "items.csv"):
        asked = ("scenario", "check", written(tmp_path, document), "--offline", "--items", items)
        found = nextclick(*asked, cwd=tmp_path)
        assert (found.returncode, found.stderr) == (1, "")
        assert found.stdout.splitlines() == [f"error {name!r} is not in {items}" for name in "efcd"]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    document = {
        "filter": "pric < 5",
        "diversity": 2,
        "boosts": [
            {"if": "true", "multiply": 2, "from": "2026-02-01", "until": "2026-01-01"},
            {"if": "stock >", "multiply": 2},
        ],
        "pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}],
        "fields": ["titel", "attributes.colour", "attributes.", "colour"],
        "base": "sale",
    }
    with pytest.raises(ImportFormatError) as caught:
        check_scenario(tmp_path / written(tmp_path, document), "draft", {})
    lines = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert [line[:60] for line in lines] == [
        "deals.json: /boosts/0: Value error, expected `until` after `",
        "deals.json: /pins: Value error, 'b' at 1 and 'a' at 1 overla",
        "deals.json: /diversity: Input should be less than or equal t",
        "deals.json: /fields/0: expected item_id, title, description,",
        "deals.json: /fields/2: expected item_id, title, description,",
        "deals.json: /fields/3: expected item_id, title, description,",
        "deals.json: /filter: line 1, column 1: no field is called pr",
        "deals.json: /boosts/1/if: line 1, column 8: expected (, -, a",
        "deals.json: /base: there is no scenario 'sale'",
    ]
    assert lines[3].endswith("or attributes.NAME, got 'titel': did you mean title?")


def test_a_name_that_a_document_gives_twice_is_refused(tmp_path: Path) -> None:
    twice = b'{"filter": "price < 5", "pins": [{"item_id": "a", "position": 1, "position": 2}], "filter": "true"}'
    with pytest.raises(ImportFormatError) as caught:
        check_scenario(tmp_path / written(tmp_path, twice), "draft", {})
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "deals.json: /filter: expected 'filter' once in its object, got it more than once",
        "deals.json: /pins/0/position: expected 'position' once in its object, got it more than once",
    ]


def test_an_attribute_that_no_item_has_is_warned_of(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl.zst", [("a", Item(title="A", attributes={"size": 4, "fit": {"leg": "slim"}}))])
    document = {
        "filter": 'attributes.size > 3 and not attributes["co lour"] == "red"',
        "boosts": [{"if": "has(attributes.fit.leg) and has(attributes.fit.arm)", "multiply": 2}],
        "fields": ["title", "attributes.size", "attributes.sise"],
    }
    asked = ("scenario", "check", written(tmp_path, document), "--offline", "--items", "items.jsonl.zst")
    found = nextclick(*asked, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "warning no item in items.jsonl.zst has attributes.co lour",
        "warning no item in items.jsonl.zst has attributes.fit.arm",
        "warning no item in items.jsonl.zst has attributes.sise",
        "deals.json can be published",
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"boosts": [{"if": "true", "multiply": 2, "from": "2026-02-01", "until": "2026-01-01"}]},
            "`until` after `from`",
        ),
        ({"pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}]}, "'b' at 1 and 'a' at 1 overlap"),
        ({"value": {"match": "much"}}, "/value"),
        ({"fitler": "price < 5"}, "/fitler: Extra inputs are not permitted: did you mean filter?"),
        ({"boosts": [{"if": "true", "multipy": 2}]}, "multipy: Extra inputs are not permitted: did you mean multiply?"),
        ({"filter": "user.nope == 3"}, "/filter: line 1, column 1: no field is called user.nope: there are user.age"),
        ({"base": "sale"}, "/base: there is no scenario 'sale'"),
    ],
)
def test_what_is_wrong_is_found_without_a_gateway(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(ImportFormatError) as caught:
        check_scenario(tmp_path / written(tmp_path, document), "draft", {})
    assert said in str(caught.value)


def test_what_can_never_be_is_warned_of_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("sku,title,category,brand\na,A,shoes/trail,Acme\nb,B,shoes/road,Acme\n")
    document = {
        "filter": 'price < 10 and price > 20 and under(category, "Shoes")',
        "boosts": [
            {"if": 'under("shoes", category)', "multiply": 2},
            {"if": 'category == "trail" or category == "shoes" or brand == "Acne"', "multiply": 2},
        ],
        "limits": [{"field": "brand", "most": 2}, {"field": "category", "share": 0.5}],
    }
    mapped = ("--items", "export.csv", "--map", "item_id=sku")
    found = nextclick("scenario", "check", written(tmp_path, document), "--offline", *mapped, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    never = "`price > 20` is never true together with `price < 10` (line 1, column 1)"
    few = "all that is in export.csv is of 1 brand: no page can be filled within it, so it gives way on every page"
    assert found.stdout.splitlines() == [
        f"warning /filter: line 1, column 16: {never}: no item can meet both. Take one away, or join them by `or`",
        'warning /filter: line 1, column 31: no item in export.csv has the category "Shoes": did you mean "shoes"?',
        'warning /boosts/0/if: line 1, column 1: under("shoes", category) asks whether "shoes" is below the category '
        'of an item: expected the field first, under(category, "shoes")',
        'warning /boosts/1/if: line 1, column 1: no item in export.csv has the category "trail": did you mean '
        '"shoes/trail"?',
        'warning /boosts/1/if: line 1, column 24: no item is of the category "shoes" itself: for what is below it '
        'write under(category, "shoes")',
        'warning /boosts/1/if: line 1, column 47: no item in export.csv has the brand "Acne": did you mean "Acme"?',
        f"warning /limits/0: at most 2 of a page of 10 may be alike in brand, and {few}. "
        "Allow 10 of 10 at least, or limit another field",
        "deals.json can be published",
    ]
    path = written(tmp_path, {"filter": "price < 1 and price > 2"})
    assert "price > 2` is never true" in nextclick("scenario", "check", path, "--offline", cwd=tmp_path).stdout
    lost = nextclick("scenario", "check", "deals.json", "--offline", "--map", "item_id=sku", cwd=tmp_path)
    assert "expected an items file with --items" in lost.stderr
