"""A second region that begins late: the log keeps its newest records alone, a backup brings what was before them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from contracts.codec import decode_trend
from contracts.keys import TRENDS
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from nextclick.stack.client import Client, GatewayRefused
from state.tables import TableReader
from tests.gateway.conftest import event
from tests.test_second_region import region, until

pytestmark = pytest.mark.slow

PARTITIONS = 2
PATIENT_S = 240
SMALL_LOG = {"NEXTCLICK_LOG__KEPT_RECORDS": "60", "NEXTCLICK_LOG__PARTITIONS": str(PARTITIONS)}
WORDS = (
    ("red", "blue", "green", "black", "white", "yellow", "brown", "grey"),
    ("warm", "light", "soft", "dry", "strong", "thin", "heavy", "quiet"),
    ("wool", "steel", "cotton", "paper", "leather", "glass", "wooden", "rubber"),
)
THINGS = ("boot", "tent", "lamp", "coat", "sock", "mug")
SESSIONS = [f"s-{n}" for n in range(30)]
ITEMS = 400
WINDOW = 50
"""Clicks of a session that are kept."""
LONG = "x" * 600
"""Redis trims whole nodes of a stream, of 64 kB: records that are longer fill some."""


def item(number: int, *, price: int = 10) -> bytes:
    words = " ".join(some[number // 8**at % 8] for at, some in enumerate(WORDS))  # no two items are the same
    kind = f"shop/{THINGS[number % 6]}"
    return orjson.dumps(
        {
            "item_id": f"i-{number}",
            "title": f"{words} {THINGS[number % 6]}",
            "category": kind,
            "price": price + number / 100,
            "attributes": {"text": LONG},
        }
    )


def click(client: Client, first: int, count: int) -> None:
    """Let visitors click, each the items of one kind more than others."""
    for at in range(first, first + count, 100):
        clicks = [
            event(f"e-{n}", SESSIONS[n % 30], f"i-{(n % 30 * 6 + n // 30 * 12) % ITEMS}", context={"text": LONG})
            for n in range(at, min(at + 100, first + count))
        ]
        assert client.send_events(clicks)["accepted"] == len(clicks)


def called(folder: Path, *arguments: str, **environment: str) -> None:
    """Run a command of the page."""
    command = [sys.executable, "-m", "nextclick", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **SMALL_LOG, **environment}, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def trimmed_clicks(client: Client, redis_url: str) -> int:
    """Click until the log keeps its first clicks no more: trends keep what they counted. Return how many."""
    made = 300
    click(client, 0, made)
    while not oldest(redis_url, Topic.CLICKS):
        click(client, made, 30)
        made += 30
        until(lambda: len(session(client, "s-29")) == min(made // 30, WINDOW))  # noqa: B023
    return made


def put_until_trimmed(client: Client, redis_url: str) -> None:
    """Put all items, and again until the log keeps their first records no more: what the flow has not read stays."""
    puts = 0
    while puts < ITEMS or not oldest(redis_url, Topic.ITEMS):
        client.put_items([item(n % ITEMS) for n in range(puts, puts + 50)])
        puts += 50
        assert puts < 100 * ITEMS


@contextmanager
def mirroring(folder: Path, original: str) -> Iterator[subprocess.Popen[str]]:
    """Run the mirror; it is told to stop at the end, and must end well."""
    command = [sys.executable, "-m", "nextclick", "mirror", "region-b.toml", "--documents-every", "1"]
    environment = {**os.environ, **SMALL_LOG, "NEXTCLICK_REDIS__URL": original}
    with (folder / "mirror.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stderr=log, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, (folder / "mirror.log").read_text()
    finally:
        process.kill()
        process.wait()


def oldest(redis_url: str, topic: Topic) -> int:
    """Return how many records of a topic the log keeps no more."""
    log, redis = LogSettings(partitions=PARTITIONS), RedisSettings(url=redis_url, timeout_ms=60_000)
    with closing(open_reader(log, redis, topic, range(PARTITIONS), "look")) as reader:
        return sum(reader.earliest().values())


def catalogue(client: Client) -> dict[str, Any]:
    """Return all items as they are shown."""
    found, cursor = dict[str, Any](), ""
    while True:
        page = client._call("GET", f"/api/items?filter=has(item_id)&limit=200{cursor}")
        found |= {one["item_id"]: one for one in page["items"]}
        if "cursor" not in page:
            return found
        cursor = f"&cursor={quote(page['cursor'], safe='')}"


def session(client: Client, name: str) -> list[str]:
    """Return the clicks of a session's window, newest first; none until its flow has applied one. It writes nothing, as
    a recommendation would.
    """
    try:
        shown = client._call("GET", f"/api/sessions/{name}")
    except GatewayRefused as refused:
        if refused.status != 404:
            raise
        return []
    return [one["event"] for one in shown["clicks"]]


def sessions(client: Client) -> dict[str, list[str]]:
    return {name: session(client, name) for name in SESSIONS}


def documents(client: Client) -> list[Any]:
    scenarios = [[one["name"], one["version"]] for one in client.scenarios()]
    return [scenarios, client.scenario("homepage"), client._call("GET", "/api/users/anna")]


def trends(redis_url: str) -> dict[bytes, tuple[int, tuple[float, ...]]]:
    """Return how often items were clicked, by origin, and until when that was counted."""
    with closing(TableReader(RedisSettings(url=redis_url, timeout_ms=60_000), TRENDS)) as reader:
        rows = {key: decode_trend(raw) for page in reader.rows() for key, raw in page}
    return {key: (row.as_of_ms, row.origin_counts) for key, row in rows.items()}


def recommended(client: Client) -> dict[str, list[tuple[str, str]]]:
    """Return what some visitors are recommended, and why. Of items that are popular many were clicked equally often: of
    these any may stand there. They are previews: what is shown counts, in one region before the other.
    """
    document, found = client.scenario("homepage")["scenario"], {}
    for name in (*SESSIONS[:5], "somebody new"):
        asked = orjson.dumps({"scenario": document, "request": {"session_id": name, "limit": 12}})
        items = client._call("POST", "/api/scenarios/homepage/preview", asked)["recommendations"]
        reasons = [(one["item_id"], one["reason"]) for one in items]
        found[name] = [("", why) if why == "popular now" else (item_id, why) for item_id, why in reasons]
    return found


def expect_same(read: Callable[[Client], Any], here: Client, there: Client) -> None:
    """Expect both regions to say the same, soon."""
    end = time.monotonic() + PATIENT_S
    while (ours := read(here)) != (theirs := read(there)):
        assert time.monotonic() < end, f"{read.__name__}: {differences(ours, theirs)}"
        time.sleep(1)


def differences(ours: Any, theirs: Any) -> str:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        apart = {
            one: (ours.get(one), theirs.get(one)) for one in {**ours, **theirs} if ours.get(one) != theirs.get(one)
        }
        return f"{len(apart)} of {len(ours)} and {len(theirs)}, {apart!r:.2000}"
    return f"{ours!r:.1000} and {theirs!r:.1000}"


def test_a_region_that_is_seeded_by_a_backup_and_mirrored_late_has_what_the_log_had_trimmed(tmp_path: Path) -> None:
    with region(tmp_path / "a", **SMALL_LOG) as first, Client(first.url) as there:
        redis_a = (tmp_path / "a" / "redis" / "url").read_text().strip()
        put_until_trimmed(there, redis_a)
        there.put_scenario("homepage", {"filter": "price < 16"})
        there._call("PUT", "/api/users/anna", b'{"sizes":{"shoes":"43"}}')
        clicks = trimmed_clicks(there, redis_a)
        called(tmp_path, "backup", "seed.tar.zst", "--folder", "a")
        click(there, clicks, 30)
        there.put_items([item(n, price=9) for n in range(5)])
        there.put_scenario("homepage", {"filter": "price < 15"})
        called(tmp_path, "restore", "seed.tar.zst", "--folder", "b")
        with region(tmp_path / "b", **SMALL_LOG) as second, Client(second.url) as here:
            redis_b = (tmp_path / "b" / "redis" / "url").read_text().strip()
            (tmp_path / "region-b.toml").write_text(
                f'[redis]\nurl = "{redis_b}"\n[log]\npartitions = 2\nkept_records = 60\n'
            )
            with mirroring(tmp_path, redis_a):
                click(there, clicks + 30, 30)
                there.delete_item("i-399")
                for read in (sessions, catalogue, documents):
                    expect_same(read, here, there)
            told = (tmp_path / "mirror.log").read_text()
            assert re.findall(r"keeps its first|trimmed", told) == []
            assert "copied 66 records" in told  # 60 clicks, 5 items, 1 that went
            assert len(catalogue(here)) == ITEMS - 1
            assert {len(events) for events in sessions(here).values()} == {min(clicks // 30 + 2, WINDOW)}
            assert oldest(redis_b, Topic.ITEMS) > 0
            until(lambda: trends(redis_b) == trends(redis_a), 240)
            expect_same(recommended, here, there)
            ours = recommended(here)
            assert [len(items) for items in ours.values()] == [12] * 6
            assert sum(item_id != "" for items in ours.values() for item_id, _ in items) > 20
