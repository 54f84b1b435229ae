"""`nextclick kpi export`: hours of what was shown, as Parquet files, whoever is killed while they are written."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyarrow import dataset
from typer.testing import CliRunner

from contracts.errors import OutputRefused
from contracts.plain_events import PlainEvent, check_event
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.files import write_events
from eventlog.open_log import open_writer
from nextclick.cli import build_app
from replay.ledger.export import Ledger, Wanted, take_recordings
from replay.ledger.hours import name_of
from replay.ledger.shelf import Shelf
from replay.reference.attribution import logged_facts, plain_cells
from tests.flows.test_attribution_flow import ROOT, RULES, append, traffic, wait_for

HOUR = 3_600_000
BEGIN = 490_000 * HOUR
ENVIRONMENT = {"NEXTCLICK_LOG__PARTITIONS": "4", "NEXTCLICK_LOG__KEPT_RECORDS": "10000000", "COLUMNS": "200"}
PAID = {"value": 20.0, "currency": "EUR"}


def page(name: str, ts: int, items: list[str], session: str = "s", **more: Any) -> dict[str, Any]:
    own = {"v": 1, "event_id": f"impression-{name}", "request_id": name, "type": "impression", "items": items}
    context = {"scenario": "home", "version": 2, "experiment": "x", "variant": "b", "propensity": 0.25, "margins": None}
    return {**own, "session_id": session, "ts": BEGIN + ts, "context": context | more.pop("context", {}), **more}


def did(name: str, kind: str, ts: int, item: str, session: str = "s", **more: Any) -> dict[str, Any]:
    return {"v": 1, "event_id": name, "type": kind, "session_id": session, "item_id": item, "ts": BEGIN + ts, **more}


def exported(folder: Path, events: list[dict[str, Any]], settle_ms: int = 2 * HOUR) -> list[dict[str, Any]]:
    """Return the rows of recorded events, in the order of hours."""
    recorded = folder / "day.jsonl.zst"
    write_events(recorded, sorted(events, key=lambda event: event["ts"]))
    ledger = Ledger(folder / "out", ServiceSettings(), Wanted(settle_ms=settle_ms), lambda line: None)
    take_recordings(ledger, [recorded])
    ledger.write(also_open=True)
    ledger.close()
    rows: list[dict[str, Any]] = dataset.dataset(folder / "out", partitioning="hive").to_table().to_pylist()
    return sorted(rows, key=lambda row: (row["ts"], row["position"]))


def test_a_row_says_what_an_item_was_shown_as_and_what_it_earned(tmp_path: Path) -> None:
    shown = page("p", 5, ["a", "b"], context={"margins": [0.25, None], "device": "phone", "returning": False})
    bought = did("e2", "purchase", HOUR, "a", order_id="o", **PAID)
    back = did("e3", "return", HOUR + 5, "a", order_id="o", value=5.0, currency="EUR")
    first, second = exported(tmp_path, [shown, did("e1", "view", 9, "a"), bought, back])
    assert {name: first[name] for name in ("request_id", "position", "item", "variant", "propensity", "version")} == {
        "request_id": "p",
        "position": 1,
        "item": "a",
        "variant": "b",
        "propensity": 0.25,
        "version": "2",
    }
    assert (first["margin"], first["device"], first["returning"], first["hour"]) == (
        0.25,
        "phone",
        False,
        name_of(490_000),
    )
    assert (first["clicked"], first["purchased"], first["value"], first["currency"]) == (1, 1, 15.0, "EUR")
    assert (second["clicked"], second["value"], second["currency"], second["margin"]) == (0, 0, None, None)


def test_what_a_user_buys_elsewhere_is_earned_by_the_page_before_the_log_in(tmp_path: Path) -> None:
    seen = did("l", "view", 5, "z", user_id="anna")
    bought = did("e", "purchase", HOUR, "a", session="phone", user_id="anna", **PAID)
    [row] = exported(tmp_path, [page("p", 0, ["a"]), seen, bought])
    assert (row["purchased"], row["value"]) == (1, 20.0)


def test_what_comes_after_an_hour_has_settled_is_not_in_it(tmp_path: Path) -> None:
    bought = did("e", "purchase", 3 * HOUR + 1, "a", **PAID)
    [row] = exported(tmp_path, [page("p", 0, ["a"]), bought])
    assert row["purchased"] == 0


def test_rows_are_the_figures_that_a_plain_reading_gives(tmp_path: Path, redis_settings: RedisSettings) -> None:
    log = LogSettings(partitions=4, kept_records=10_000_000)
    append(redis_settings, list(traffic(3, 300)), log)
    folder = tmp_path / "out"
    run(redis_settings, folder)
    expected = Counter[str]()
    for cell, count in plain_cells(logged_facts(ServiceSettings(redis=redis_settings, log=log), None), RULES).items():
        if cell.dims.recommended == "yes":
            expected[cell.counter] += count
    rows = dataset.dataset(folder, partitioning="hive").to_table().to_pylist()
    assert len(rows) == expected["shown"] / 10_000 == 2400
    for name, counter in (("clicked", "clicks"), ("carted", "carts"), ("purchased", "purchases")):
        assert sum(row[name] for row in rows) == expected[counter] / 10_000 > 10
    net = (expected["revenue:EUR"] - expected["returned:EUR"]) / 10_000
    assert sum(row["value"] for row in rows) == pytest.approx(net)
    before = digests(folder)
    run(redis_settings, folder)
    assert digests(folder) == before


def run(redis: RedisSettings, folder: Path, *words: str) -> str:
    env = ENVIRONMENT | {"NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_REDIS__PREFIX": redis.prefix}
    found = CliRunner().invoke(build_app("kpi"), ["kpi", "export", "--out", str(folder), *words], env=env)
    assert found.exit_code == 0, found
    return found.output


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("hour=*/*"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_a_follower_that_is_killed_writes_the_hours_that_another_does(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    killed, draw = tmp_path / "killed", random.Random(2)
    for part in range(2):
        append_hours(redis_settings, range(6 * part, 6 * part + 6))
        with following(redis_settings, killed) as process:
            wait_for(lambda least=part * 4: len(digests(killed)) > least)  # type: ignore[misc]
            time.sleep(draw.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with following(redis_settings, killed) as process:
        wait_for(lambda: len(digests(killed)) == 10)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    whole = tmp_path / "whole"
    assert "2,400 pages" in run(redis_settings, whole, "--settle", "1")
    expected = digests(whole)
    assert digests(killed) == {name: expected[name] for name in list(expected)[:10]}
    manifest = orjson.loads((killed / "_manifest.json").read_bytes())
    assert {one["closed"] for one in manifest["hours"].values()} == {True}
    assert sum(manifest["hours"][name_of(490_000)]["offsets"].values()) == 6 * 300


def test_the_shelf_forgets_what_no_open_hour_needs(tmp_path: Path) -> None:
    day = 24 * HOUR
    exported(tmp_path, [page(f"p{n}", n * day, ["a"]) for n in range(30)])
    shelf = Shelf(tmp_path / "out" / "_reading.sqlite")
    assert shelf.first_page_ms() == BEGIN + 22 * day  # the first open hour, less the longest window
    shelf.close()


def test_pages_of_closed_hours_are_counted_and_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", ServiceSettings(), Wanted(settle_ms=HOUR), lambda line: None)
    for at, ts in enumerate((0, 5 * HOUR, 1)):
        ledger.take("impressions:0", 0, at + 1, [(at, event(page(f"p{at}", ts, ["a"])))])
        ledger.write()
    assert list(ledger.manifest.hours) == [name_of(490_000)]
    assert ledger.shelf.counts() == {"of_closed_hours": 1}
    ledger.close()


def event(document: dict[str, Any]) -> PlainEvent:
    found = check_event(document, now_ms=BEGIN + 10 * HOUR)
    assert isinstance(found, PlainEvent)
    return found


def append_hours(redis: RedisSettings, hours: range) -> None:
    writer = open_writer(LogSettings(partitions=4, kept_records=10_000_000), redis)
    for hour in hours:
        own = [page(f"p{hour}-{n}", hour * HOUR + n, ["a", "b"], f"s{n % 50}") for n in range(200)]
        clicks = [did(f"e{hour}-{n}", "view", hour * HOUR + 500 + n, "a", f"s{n % 50}") for n in range(100)]
        for topic, events in ((Topic.IMPRESSIONS, own), (Topic.CLICKS, clicks)):
            writer.append(topic, [Record(event["session_id"], orjson.dumps(event)) for event in events])
    writer.close()


def following(redis: RedisSettings, folder: Path) -> subprocess.Popen[bytes]:
    words = ["kpi", "export", "--out", str(folder), "--settle", "1", "--follow", "--every", "0.2"]
    env = os.environ | ENVIRONMENT | {"NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_REDIS__PREFIX": redis.prefix}
    # a run in the background may have been told to let SIGINT pass, and its children inherit that
    interruptible = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "nextclick", *words]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, preexec_fn=interruptible)  # noqa: PLW1509


def test_a_folder_of_something_else_and_a_ledger_of_other_rules_are_refused(tmp_path: Path) -> None:
    exported(tmp_path, [page("p", 0, ["a"])])
    with pytest.raises(OutputRefused, match="expected a ledger with settle_ms 3600000, got 7200000"):
        Ledger(tmp_path / "out", ServiceSettings(), Wanted(settle_ms=HOUR), lambda line: None)
    with pytest.raises(OutputRefused, match=r"expected an empty folder or a ledger, found day\.jsonl\.zst, out"):
        Ledger(tmp_path, ServiceSettings(), Wanted(), lambda line: None)
