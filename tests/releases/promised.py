"""What must hold after traffic, beside what was promised: by the plain reading of the log, and by counting."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

from attribution.cells import Cells, cells_of, without_zeros
from attribution.credit import CreditRules
from attribution.facts import SCALE
from attribution.participants import participants, tabled
from attribution.rows import decode_row
from campaigns.delivery import is_signed
from contracts.codec import decode_row as decode_item
from contracts.keys import CATALOGUE, WEBHOOKS
from contracts.settings import RedisSettings, ServiceSettings
from nextclick.stack.client import Client
from quality.checks import hours_before
from replay.reference.attribution import logged_facts, plain_cells
from replay.reference.compare import Reference, compare
from state.attribution import read_ledger
from state.due_calls import DueCalls
from state.experiment_rows import ExperimentRows
from state.quality import QualityStore
from state.tables import TableReader
from tests.receiver import Receiver
from tests.releases.sides import SECRET
from tests.releases.traffic import CRAWLER, Traffic, waiter_of

SETTLED_S = 240.0


async def expect_the_log(settings: ServiceSettings, traffic: Traffic, experiment: str, *, profiles: bool) -> None:
    """Expect sessions, profiles, figures and units of the experiment to be what the log says, and the log to hold what
    was acknowledged.
    """
    reference = await asyncio.to_thread(Reference.of, settings)
    assert len(reference.event_ids) == traffic.kinds.total() + traffic.outcomes["pages"]
    end = time.monotonic() + SETTLED_S
    while found := await asyncio.to_thread(compare, reference, settings, trends=False, profiles=profiles):
        assert time.monotonic() < end, (found.lost, found.twice, found.said)
        await asyncio.sleep(0.5)
    figures = without_zeros(cells_of(read_ledger(settings.redis).cells))
    expect_counted(figures, traffic)
    expect_units(settings, experiment, figures)


def expect_counted(figures: Cells, traffic: Traffic) -> None:
    """Expect figures to count what was acknowledged, and some of it to be earned by pages."""
    totals, earned = Counter[str](), Counter[str]()
    for cell, count in figures.items():
        totals[cell.counter] += count
        earned[cell.counter] += count if cell.dims.scenario else 0
    counted = {name: totals[name] for name in ("pages", "clicks", "carts", "purchases")}
    assert counted == {
        "pages": SCALE * traffic.outcomes["pages"],
        "clicks": SCALE * traffic.kinds["view"],
        "carts": SCALE * traffic.kinds["cart"],
        "purchases": SCALE * traffic.kinds["purchase"],
    }
    assert all(earned[name] > 0 for name in ("clicks", "carts", "purchases", "viewed"))


def expect_units(settings: ServiceSettings, experiment: str, figures: Cells) -> None:
    """Expect each session's row of the experiment to be what the log says of it."""
    options, kept = settings.attribution, ExperimentRows(settings.redis)
    rules = CreditRules(options.click_ms, options.purchase_ms, options.touch)
    rows = {name: decode_row(raw) for name, raw in kept.rows(experiment, "session").items()}
    kept.close()
    facts = logged_facts(settings, None)
    assert plain_cells(facts, rules) == figures
    assert tabled(rows) == participants(facts, experiment, rules)


def expect_one_variant_each(traffic: Traffic, names: set[str]) -> None:
    """Expect each session to have had one variant all the time, and each variant to have had sessions."""
    assert {session: seen for session, seen in traffic.variants.items() if len(seen) != 1} == {}
    assert {variant for seen in traffic.variants.values() for variant in seen} == names


def expect_all_known(port: int, traffic: Traffic) -> None:
    """Expect each session to have every click that was acknowledged, from first to last."""
    with Client(f"http://127.0.0.1:{port}") as client:
        for session, count in traffic.clicks.items():
            answer = client.recommend("homepage", session, after=traffic.tokens[session])
            assert (answer["session"]["events"], answer["degraded"]) == (count, [])


async def expect_watched(settings: ServiceSettings, traffic: Traffic) -> None:
    """Expect data quality to have counted each event once, and to know the session that no human has."""
    store, since_ms = QualityStore(settings.redis), time.time_ns() // 1_000_000 - 3_600_000
    hours, end = hours_before(time.time_ns() // 60_000_000_000 + 1), time.monotonic() + SETTLED_S
    expected = {f"type.{kind}": count for kind, count in traffic.kinds.items() if kind != "impression"}
    while True:
        found = Counter[str]()
        for (_, name), count in store.cells(hours).items():
            found[name] += count
        if {name: found[name] for name in expected} == expected:
            break
        assert time.monotonic() < end, (expected, found)
        await asyncio.sleep(0.5)
    assert (found["records"], found["broken"]) == (traffic.clicks.total(), 0)
    assert store.bots(since_ms) == [CRAWLER]
    store.close()


def told(receiver: Receiver) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the calls that the shop's server took, by item and its new stock, and expect each to be signed."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for call in receiver.calls:
        assert is_signed(call["headers"]["Nextclick-Signature"], call["body"].encode(), SECRET, call["at"])
        if call["status"] == 200:
            body = json.loads(call["body"])
            found[body["item"]["item_id"], body["now"]] = body
    return found


async def expect_told(settings: ServiceSettings, traffic: Traffic, receiver: Receiver) -> None:
    """Expect each call that is owed to have been taken, and none to wait, to be lost or to be left out."""
    queue, end = DueCalls(settings.redis, WEBHOOKS, most=10_000), time.monotonic() + SETTLED_S
    while (counts := queue.counts())["waiting"] or traffic.owed - told(receiver).keys():
        assert time.monotonic() < end, (counts, traffic.owed - told(receiver).keys())
        await asyncio.sleep(0.5)
    queue.close()
    assert (counts["dead"], counts["left_out"]) == (0, 0)
    calls = told(receiver)
    said = {(item_id, calls[item_id, left]["type"], *calls[item_id, left]["users"]) for item_id, left in traffic.owed}
    assert said == {
        (item_id, "back_in_stock", f"u-{waiter_of(item_id)}") for item_id in {name for name, _ in traffic.owed}
    }


def stock_of(redis: RedisSettings, traffic: Traffic) -> dict[str, int]:
    """Return the stock of the items that the traffic put, as the catalogue has it."""
    reader = TableReader(redis, CATALOGUE)
    rows = (decode_item(raw) for page in reader.rows() for _, raw in page)
    found = {one.item_id: one.stock for one in rows if one.item_id in traffic.put}
    reader.close()
    return found
