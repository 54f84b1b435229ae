"""The attribution flow as it runs, on a real Redis: killed at any moment, figures are those of the log."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from attribution.cells import Cells, cells_of, without_zeros
from attribution.credit import CreditRules
from attribution.participants import participants, tabled
from attribution.rows import decode_row
from attribution.sums import VariantHour, hours_of
from attribution.units import MOST_USERS
from contracts.experiment_rows import row_key_of
from contracts.keys import SCENARIOS, Keys
from contracts.settings import AttributionOptions, LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Batch, Message, Record, Topic
from eventlog.open_log import open_writer
from flows.attribution_steps import AttributionPath, decode_facts
from replay.reference.attribution import logged_facts, plain_cells
from state.attribution import AttributionStore, Changes, Ledger, Place
from state.client import connect
from state.experiment_rows import KNOWN_S, ExperimentRows, PublishedNames

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=4, kept_records=10_000_000)  # the reference reads all of it
NOW = time.time_ns() // 1_000_000 - 60_000
OPTIONS = AttributionOptions()
RULES = CreditRules(OPTIONS.click_ms, OPTIONS.purchase_ms, OPTIONS.touch)


@contextmanager
def running(redis: RedisSettings, batch: int = 20, log: LogSettings = LOG) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        **{f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in log.model_dump().items()},
        "NEXTCLICK_FLOW__BATCH_RECORDS": str(batch),
    }
    command = [sys.executable, "-m", "bytewax.run", "flows.attribution:flow"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def traffic(seed: int, pages: int) -> Iterator[tuple[Topic, Record]]:
    """Yield pages and what came of them: repeats, late and nameless ones, users on two devices."""
    draw = random.Random(seed)
    for n in range(pages):
        number = draw.randrange(pages // 5 + 1)
        session = f"s{number}"
        known = (3 * number + draw.randrange(MOST_USERS)) % (pages // 20 + 1)  # never more than a session may know
        user = {"user_id": f"u{known}"} if draw.random() < 0.4 else {}
        items = [f"i{draw.randrange(40)}" for _ in range(8)]
        context = {"scenario": draw.choice(["home", "cart"]), "version": 1, "margins": [0.3] * 8, "device": "phone"}
        context |= {"experiment": "x", "variant": "ab"[number % 2]} if n % 10 < 7 else {}
        page = {"event_id": f"impression-r{n}", "request_id": f"r{n}", "type": "impression", "items": items}
        own = {"v": 1, "session_id": session, "ts": NOW + n}
        yield Topic.IMPRESSIONS, Record(session, orjson.dumps({**own, **page, **user, "context": context}))
        for at in range(draw.randrange(3)):
            kind = draw.choice(["view", "view", "cart", "purchase", "purchase", "return"])
            more: dict[str, Any] = {"request_id": f"r{n}"} if draw.random() < 0.5 else {}
            if kind in ("purchase", "return"):
                more |= {"value": draw.randrange(10_000) / 100, "currency": "EUR", "order_id": f"o{n}", "quantity": 2}
            late = -9 * 86_400_000 if draw.random() < 0.02 else 5
            did = {"event_id": f"e{n}-{at}", "type": kind, "item_id": draw.choice(items), "ts": NOW + n + late}
            record = Record(session, orjson.dumps({**own, **did, **more, **user}))
            for _ in range(2 if draw.random() < 0.1 else 1):
                yield Topic.CLICKS, record


def append(redis: RedisSettings, records: list[tuple[Topic, Record]], log: LogSettings = LOG) -> None:
    writer = open_writer(log, redis)
    for start in range(0, len(records), 100):
        for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
            own = [record for one, record in records[start : start + 100] if one is topic]
            if own:
                writer.append(topic, own)
    writer.close()


def open_store(redis: RedisSettings) -> AttributionStore:
    return AttributionStore(redis, unit_ms=OPTIONS.unit_ms, max_cells=OPTIONS.max_cells)


def ledger(redis: RedisSettings) -> Ledger:
    store = open_store(redis)
    try:
        return store.ledger()
    finally:
        store.close()


def cells(found: Ledger) -> Cells:
    return without_zeros(cells_of(found.cells))


def counted(redis: RedisSettings) -> int:
    """Return how many records of both topics were counted."""
    return sum(ledger(redis).offsets.values())


def settings(redis: RedisSettings, log: LogSettings = LOG) -> ServiceSettings:
    return ServiceSettings(redis=redis, log=log)


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


def publish(redis: RedisSettings, name: str) -> None:
    """Let there be an experiment of a name."""
    client = connect(redis)
    client.hset(Keys(redis.prefix).table_rows(SCENARIOS), row_key_of(name).to_bytes(8, "little"), b"{}")  # type: ignore[arg-type]
    client.close()


def expect_the_log(
    redis: RedisSettings, *, pages: int, kills: int, batch: int, settles_s: float = 0.05, log: LogSettings = LOG
) -> None:
    """Kill the flow so often, at random moments, then let two finish it, and compare every cell with the log."""
    publish(redis, "x")
    records, draw, appended = list(traffic(7, pages)), random.Random(3), 0
    for part in range(kills):
        append(redis, records[part::kills], log)
        appended += len(records[part::kills])
        with running(redis, batch, log) as process:
            least = draw.randrange(counted(redis), appended)
            wait_for(lambda least=least: counted(redis) > least)  # type: ignore[misc]
            time.sleep(draw.random() * settles_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with running(redis, batch, log), running(redis, 7, log):
        wait_for(lambda: counted(redis) == len(records))
    found = ledger(redis)
    expected = plain_cells(logged_facts(settings(redis, log), found.offsets), RULES)
    assert cells(found) == expected
    assert sum(count for cell, count in expected.items() if cell.counter == "pages") == 10_000 * pages
    assert found.facts["late"] > 0
    assert found.facts["repeated"] > 0
    expect_the_rows(redis, expected, log)


def expect_the_rows(redis: RedisSettings, expected: Cells, log: LogSettings) -> None:
    """Compare rows and sums of the experiment with the log."""
    facts, kept = logged_facts(settings(redis, log), None), ExperimentRows(redis)
    rows = {name: decode_row(raw) for name, raw in kept.rows("x", "session").items()}
    sums = hours_of(kept.sums("x", range(NOW // 86_400_000 - 1, NOW // 86_400_000 + 2)))
    kept.close()
    assert tabled(rows) == participants(facts, "x", RULES)
    assert len(rows) > 100
    counted = Counter[str]()
    for cell, count in expected.items():
        counted[f"{cell.dims.experiment} {cell.counter}"] += count
    assert sum(one.pages for one in sums) == counted["x pages"] / 10_000
    assert sum(one.clicks for one in sums) == counted["x clicks"] / 10_000


@pytest.mark.slow
def test_figures_are_those_of_the_log_to_the_ten_thousandth_after_kills(redis_settings: RedisSettings) -> None:
    expect_the_log(redis_settings, pages=1500, kills=3, batch=20)


@pytest.mark.kafka
@pytest.mark.slow
def test_figures_are_those_of_kafka_after_kills(redis_settings: RedisSettings, kafka_log_settings: LogSettings) -> None:
    expect_the_log(redis_settings, pages=1000, kills=1, batch=100, log=kafka_log_settings)


@pytest.mark.long
@pytest.mark.slow
def test_figures_are_those_of_the_log_after_thirty_kills_in_a_hundred_thousand_pages(
    redis_settings: RedisSettings,
) -> None:
    expect_the_log(redis_settings, pages=100_000, kills=30, batch=200)


def batch(records: list[Record], start: int = 0, topic: Topic = Topic.CLICKS) -> Batch:
    messages = [Message(start + n, record.value) for n, record in enumerate(records)]
    return Batch(topic, 0, start, start + len(records), messages)


def test_a_unit_that_is_damaged_or_of_another_kind_begins_afresh(redis_settings: RedisSettings) -> None:
    store = open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    client.set(keys.attribution_unit("session", "s"), b"damaged and more")
    client.rpush(keys.attribution_unit("session", "t"), "list")
    client.set(keys.attribution_hours(), "text")
    own = {"v": 1, "event_id": "e", "type": "purchase", "item_id": "i", "ts": NOW, "value": 2.5, "currency": "EUR"}
    records = [Record(name, orjson.dumps({**own, "session_id": name})) for name in "st"]
    path.apply(decode_facts(batch(records), now_ms=NOW, max_future_ms=0))
    found = cells(store.ledger())
    assert {cell.counter: count for cell, count in found.items()}["revenue:EUR"] == 50_000
    client.close()
    store.close()


def test_a_unit_of_a_newer_release_is_left_as_it_is_and_what_is_told_of_it_is_counted(
    redis_settings: RedisSettings,
) -> None:
    store = open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    newer = bytes(8) + msgspec.msgpack.encode([2, "of another form"])
    client.set(keys.attribution_unit("session", "s"), newer)
    own = {"v": 1, "event_id": "e", "type": "purchase", "item_id": "i", "ts": NOW, "value": 2.5, "currency": "EUR"}
    records = [Record(name, orjson.dumps({**own, "session_id": name})) for name in "st"]
    path.apply(decode_facts(batch(records), now_ms=NOW, max_future_ms=0))
    assert client.get(keys.attribution_unit("session", "s")) == newer
    ledger = store.ledger()
    assert {cell.counter: count for cell, count in cells(ledger).items()}["revenue:EUR"] == 25_000
    assert (ledger.facts["newer_unit"], ledger.facts["taken"]) == (1, 2)
    client.close()
    store.close()


def test_hours_go_when_they_are_older_than_figures_are_kept(redis_settings: RedisSettings) -> None:
    store = open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    own = {"v": 1, "session_id": "s", "type": "view", "item_id": "i"}
    for n, ts in enumerate((NOW - 36 * 86_400_000, NOW - 34 * 86_400_000, NOW)):
        record = Record("s", orjson.dumps({**own, "event_id": f"e{n}", "ts": ts}))
        path.apply(decode_facts(batch([record], n), now_ms=NOW, max_future_ms=0))
    assert sorted(store.ledger().cells) == [(NOW - 34 * 86_400_000) // 3_600_000, NOW // 3_600_000]
    store.close()


def test_what_a_visitor_turned_down_is_no_outcome() -> None:
    own = {"v": 1, "event_id": "e", "item_id": "i", "ts": NOW, "session_id": "s"}
    kinds = ["hide", "dislike", "like", "rating", "own_type", "view"]
    records = [Record("s", orjson.dumps({**own, "type": kind, "value": 1})) for kind in kinds]
    found = decode_facts(batch(records), now_ms=NOW, max_future_ms=0, types={"own_type": "cart"})
    assert [getattr(fact.what, "kind", None) for fact in found.facts] == ["cart", "click"]


def test_forged_pages_cannot_make_more_counters_than_an_hour_may_have(redis_settings: RedisSettings) -> None:
    store = AttributionStore(redis_settings, unit_ms=60_000, max_cells=3)
    fields = {f"cell {number}".encode(): 10_000 for number in range(5)}
    begin, then = Place(0, 0), Place(1, 1)
    assert store.commit("clicks", 0, begin, then, {}, Changes({}, {7: fields}, {"taken": 1}))
    known = dict.fromkeys(store.ledger().cells[7], 10000)
    assert len(known) == 3
    assert store.commit("clicks", 0, then, Place(2, 2), {}, Changes({}, {7: known, 8: fields}, {}))
    found = store.ledger()
    store.close()
    assert found.cells[7] == dict.fromkeys(known, 20_000)
    assert (len(found.cells[8]), found.facts) == (3, {"taken": 1, "cells_left_out": 4})


def of_experiment(name: str, session: str, ts: int) -> Record:
    page = {"event_id": f"impression-{name}{ts}", "request_id": f"{name}{ts}", "type": "impression", "items": ["a"]}
    context = {"context": {"scenario": "home", "experiment": name, "variant": "b"}}
    return Record(session, orjson.dumps({"v": 1, "session_id": session, "ts": ts, **page, **context}))


def test_rows_of_an_experiment_go_when_no_unit_of_it_changed_for_as_long_as_figures_are_kept(
    redis_settings: RedisSettings,
) -> None:
    store, kept = open_store(redis_settings), ExperimentRows(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    old = NOW - 36 * 86_400_000
    for n, (name, ts) in enumerate((("old", old), ("long", old), ("long", NOW))):
        path.apply(
            decode_facts(batch([of_experiment(name, "s", ts)], n, Topic.IMPRESSIONS), now_ms=NOW, max_future_ms=0)
        )
    assert {name: len(kept.rows(name, "session")) for name in ("old", "long")} == {"old": 0, "long": 1}
    assert kept.sums("long", [old // 86_400_000]) == {}
    [row] = hours_of(kept.sums("long", [NOW // 86_400_000]))
    assert row == VariantHour(NOW // 3_600_000, "b", "", "", 1.0, 0.0)
    [whole] = map(decode_row, kept.rows("long", "session").values())
    assert (whole.pages, whole.first_ms) == (2, old)
    kept.close()
    store.close()


def test_an_experiment_keeps_so_many_units_and_counts_those_left_out(redis_settings: RedisSettings) -> None:
    store = AttributionStore(redis_settings, unit_ms=60_000, max_cells=100, max_units=2)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    records = [of_experiment("x", f"s{n}", NOW + n) for n in range(5)]
    for start in (0, 5):
        path.apply(decode_facts(batch(records, start, Topic.IMPRESSIONS), now_ms=NOW + 60_000, max_future_ms=60_000))
    kept = ExperimentRows(redis_settings)
    assert len(kept.rows("x", "session")) == 2
    assert store.ledger().facts["rows_left_out"] == 3
    kept.close()
    store.close()


def test_damaged_rows_of_an_experiment_are_written_anew(redis_settings: RedisSettings) -> None:
    store, client, keys = open_store(redis_settings), connect(redis_settings), Keys(redis_settings.prefix)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    client.set(keys.experiment_units("x", "session"), "text")
    client.rpush(keys.attribution_experiments(), "list")
    client.rpush(keys.experiment_sums("x", NOW // 86_400_000), "list")
    kept = ExperimentRows(redis_settings)
    assert kept.rows("x", "session") == {} == kept.sums("x", [NOW // 86_400_000])
    path.apply(decode_facts(batch([of_experiment("x", "s", NOW)], 0, Topic.IMPRESSIONS), now_ms=NOW, max_future_ms=0))
    assert list(kept.rows("x", "session")) == ["s"]
    client.close()
    kept.close()
    store.close()


def test_units_are_kept_of_experiments_that_there_are_whatever_clients_name(redis_settings: RedisSettings) -> None:
    now_s = [0.0]
    names = PublishedNames(redis_settings, lambda: now_s[0])
    store, kept = open_store(redis_settings), ExperimentRows(redis_settings)
    path = AttributionPath(
        store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS, published=names.among
    )
    forged = [of_experiment(f"made-up-{n}", f"s{n}", NOW) for n in range(600)]
    path.apply(decode_facts(batch(forged, 0, Topic.IMPRESSIONS), now_ms=NOW, max_future_ms=0))
    publish(redis_settings, "real")
    real = [of_experiment("real", f"r{n}", NOW) for n in range(5)]
    path.apply(decode_facts(batch(real, 600, Topic.IMPRESSIONS), now_ms=NOW, max_future_ms=0))
    assert len(kept.rows("real", "session")) == 5
    assert kept.rows("made-up-1", "session") == {}
    assert "rows_left_out" not in store.ledger().facts
    client = connect(redis_settings)
    client.delete(Keys(redis_settings.prefix).table_rows(SCENARIOS))
    client.close()
    assert names.among({"real"}) == {"real"}
    now_s[0] += KNOWN_S
    assert names.among({"real"}) == frozenset()
    for one in (store, kept, names):
        one.close()
