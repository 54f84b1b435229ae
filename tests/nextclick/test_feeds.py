"""`nextclick feed`, and when feeds are pulled: by hand, by a schedule, by a whole stack."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import orjson
import pytest
from typer.testing import CliRunner

from connect.feeds.formats import FeedFormat
from contracts.feed_status import FeedPull as Pull
from contracts.feed_status import FeedsStatus
from contracts.settings import RedisSettings
from nextclick.cli import build_app
from nextclick.commands import feed as commands
from nextclick.stack.client import Client, GatewayRefused
from nextclick.stack.doctor.gather import feeds_at
from nextclick.stack.feeds.adding import feed_of
from nextclick.stack.feeds.definition import FeedError, FeedFolder
from nextclick.stack.feeds.pull import REPORT
from nextclick.stack.feeds.schedule import AGAIN_MS, Due, Schedule, next_due
from nextclick.stack.feeds.telling import Telling
from nextclick.stack.settings import StackSettings, with_given
from state.feed_status import FeedStatusStore
from tests.nextclick.feed_shop import Catalogue, Shop, body, catalogue, shop
from tests.nextclick.test_up import UP, up
from tests.processes import ROOT, wait_for

FEED = b"id,title,price\n1,a,2 EUR\n2,b,3 EUR\n3,,4 EUR\n"


@pytest.fixture
def servers() -> Iterator[tuple[Shop, Catalogue]]:
    with shop() as the_shop, catalogue() as the_catalogue:
        the_shop.pages["/feed.csv?api_token=s3cret"] = body(FEED)
        yield the_shop, the_catalogue


def feed(folder: Path, *words: str, code: int = 0) -> str:
    """Run a command of feeds; returns what it printed."""
    with patch.object(commands.console, "_width", 300):  # a console that was made before has the width of then
        ran = CliRunner().invoke(build_app("feed"), ["feed", *words, "--feeds", str(folder)])
    assert ran.exit_code == code, ran.output + repr(ran.exception)
    return ran.output


def test_a_feed_is_added_pulled_shown_and_removed_and_no_secret_of_it_is_said(
    servers: tuple[Shop, Catalogue], tmp_path: Path
) -> None:
    the_shop, the_catalogue = servers
    url = f"http://me:s3cret@127.0.0.1:{the_shop.port}/feed.csv?api_token=s3cret"
    headers = tmp_path / "headers"
    headers.write_text("X-Token: s3cret\n")
    said = feed(tmp_path, "add", "main", url, "--format", "csv", "--every", "PT15M", "--header-file", str(headers))
    assert "every 0:15:00" in said
    said += feed(tmp_path, "list")
    assert "not pulled yet" in said
    pulled = feed(tmp_path, "pull", "main", "--url", the_catalogue.url)
    assert pulled == "main: applied: 2 found, 2 put, 1 left out\n"
    assert the_shop.asked[-1][1]["x-token"] == "s3cret"
    shown = feed(tmp_path, "show", "main")
    assert "prices read as: whole (2)" in shown
    assert "line 4: item 3 left out: title" in shown
    document = orjson.loads(feed(tmp_path, "show", "main", "--json"))
    assert document["pulls"][0]["put"] == 2
    assert "s3cret" not in said + pulled + shown + str(document)
    assert stat.S_IMODE((tmp_path / "main" / "feed.json").stat().st_mode) == 0o600
    feed(tmp_path, "remove", "main", "--items", "--url", the_catalogue.url)
    assert the_catalogue.items == {}
    assert feed(tmp_path, "list").startswith("There are no feeds")


def test_what_is_held_back_is_told_by_the_exit_status_the_doctor_and_the_way_to_confirm(
    servers: tuple[Shop, Catalogue], tmp_path: Path
) -> None:
    _, the_catalogue = servers
    path = tmp_path / "feed.csv"
    path.write_bytes(FEED)
    feeds = tmp_path / "feeds"
    feed(feeds, "add", "main", str(path), "--format", "csv")
    feed(feeds, "pull", "main", "--url", the_catalogue.url)
    path.write_bytes(b"id,title\n1,a\n")
    held = feed(feeds, "pull", "main", "--url", the_catalogue.url, code=1)
    assert "1 of 2 items are gone (50%, over 30%)" in held
    [fact] = feeds_at(with_given(StackSettings(), {"stack.folder": tmp_path}))
    assert (fact.name, fact.outcome) == ("main", "held")
    assert feed(feeds, "confirm", "main", "--url", the_catalogue.url) == "main: applied: confirmed; 1 put, 1 deleted\n"
    assert list(the_catalogue.items) == ["1"]
    path.unlink()
    assert "expected a file that can be read" in feed(feeds, "pull", "main", "--url", the_catalogue.url, code=1)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "../x"}, "name of small letters"),
        ({"source": "file:///etc/passwd"}, "address of http"),
        ({"source": "ftp://shop.example/x"}, "address of http"),
        ({"source": "/no/such/file"}, "no file is there"),
        ({"every": "soon"}, "a period such as"),
        ({"every": "PT1S"}, "at least 10 s"),
        ({"headers": ["Host: other"]}, "NAME:VALUE"),
        ({"headers": ["X: a\nY: b"]}, "NAME:VALUE"),
        ({"currency": "euro"}, "currency"),
        ({"decimal": "-"}, "decimal"),
    ],
)
def test_what_is_no_feed_is_refused_when_it_is_added(given: dict[str, object], why: str) -> None:
    words = {"name": "main", "source": "https://shop.example/x", "every": "PT1H", "headers": [], **given}
    with pytest.raises(FeedError, match=why):
        feed_of(**words, format=FeedFormat.CSV, resolve=lambda *_: ["93.184.215.14"])  # type: ignore[arg-type]


def test_a_feed_is_private_where_its_address_is_when_it_is_added_or_where_that_is_said() -> None:
    def private(*addresses: str, **how: bool) -> bool:
        source = "https://shop.example/x"
        found = feed_of("main", source, FeedFormat.CSV, "PT1H", [], resolve=lambda *_: addresses, **how)
        return found.private

    assert private("10.0.0.1")
    assert not private("93.184.215.14")
    assert not private("10.0.0.1", "93.184.215.14")
    assert not private()
    assert private("93.184.215.14", private=True)


def test_a_name_is_taken_once_unless_it_is_replaced(tmp_path: Path) -> None:
    source = tmp_path / "feed.csv"
    source.write_bytes(FEED)
    folder = FeedFolder(tmp_path / "feeds")
    one = feed_of("main", str(source), FeedFormat.CSV, "PT1H", [])
    folder.add(one, replace=False)
    with pytest.raises(FeedError, match="--replace"):
        folder.add(one, replace=False)
    folder.add(one.model_copy(update={"every_s": 60.0}), replace=True)
    assert folder.read("main").every_s == 60.0
    with pytest.raises(FeedError, match="there are: main"):
        folder.read("other")


def test_the_feed_that_waited_longest_is_next_and_one_that_just_ended_is_not() -> None:
    feeds = [Due("a", 200), Due("b", 100), Due("c", 900)]
    assert next_due(feeds, {}, 50) is None
    assert next_due(feeds, {}, 500) == "b"
    assert next_due(feeds, {"b": 600}, 500) == "a"
    assert next_due([], {}, 500) is None


def test_a_schedule_pulls_each_feed_when_it_is_due_and_does_nothing_else(
    servers: tuple[Shop, Catalogue], tmp_path: Path
) -> None:
    the_shop, the_catalogue = servers
    now_ms = [int(time.time() * 1000)]
    folder = FeedFolder(tmp_path / "feeds")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    schedule = Schedule(folder, the_catalogue.url, tmp_path / "feeds.log", lambda: now_ms[0], env)

    def look() -> None:
        now_ms[0] += 1000
        schedule.look()

    look()  # there is no folder yet
    source = the_shop.url("/feed.csv?api_token=s3cret")
    folder.add(feed_of("main", source, FeedFormat.CSV, "PT1H", []), replace=False)
    try:
        wait_for(lambda: look() is None and bool(folder.state("main").pulls))
        assert sorted(the_catalogue.items) == ["1", "2"]
        look()
        look()
        asked = len(the_shop.asked)
        now_ms[0] += 1_800_000
        look()
        assert len(the_shop.asked) == asked == 1  # half an hour later it is not due
        now_ms[0] += 1_800_000 + AGAIN_MS
        wait_for(lambda: look() is None and len(folder.state("main").pulls) == 2)
    finally:
        schedule.stop()
    assert (tmp_path / "feeds.log").read_text().splitlines()[0] == "main: applied: 2 found, 2 put, 1 left out"


def test_gateways_are_told_of_feeds_when_something_changes_and_once_a_minute(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    folder, store = FeedFolder(tmp_path / "feeds"), FeedStatusStore(redis_settings)
    telling = Telling(lambda: redis_settings)
    telling.look(folder, 0, None, 1000)
    assert store.read() is None  # there are none, and there were none
    folder.add(feed_of("main", "https://u:s3cret@shop.example/f", FeedFormat.CSV, "PT1H", []), replace=False)
    telling.look(folder, 1, "main", 2000)
    told = store.read()
    assert told is not None
    [one] = told.feeds
    assert (told.at_ms, one.running, one.well_ms, one.pulls) == (2000, True, 0, ())
    assert "s3cret" not in told.model_dump_json()
    well = Pull(began_ms=1, ended_ms=2500, outcome="applied", found=3)
    folder.write_state("main", folder.state("main").after(well, 9000))
    (folder.place("main") / REPORT).write_bytes(
        b'{"line":2,"reason":"at https://u:s3cret@x/","left_out":true}\n{"line":3}\n'
    )
    telling.look(folder, 1, "main", 3000)
    assert store.read() == told  # nothing said that it changed
    telling.look(folder, 2, None, 4000)
    told = store.read()
    assert told is not None
    [one] = told.feeds
    assert (one.running, one.well_ms, one.next_ms, one.pulls) == (False, 2500, 9000, (well,))
    assert [(fault.line, fault.reason) for fault in one.faults] == [(2, "at https://***@x/")]
    telling.look(folder, 2, None, 63_999)
    assert (store.read() or told).at_ms == 4000
    telling.look(folder, 2, None, 64_000)
    assert (store.read() or told).at_ms == 64_000
    folder.remove("main")
    telling.look(folder, 3, None, 65_000)
    assert store.read() == FeedsStatus(at_ms=65_000)
    telling.close()
    store.close()


def test_a_redis_that_is_away_is_told_of_feeds_later_and_nothing_ends(tmp_path: Path) -> None:
    folder = FeedFolder(tmp_path / "feeds")
    folder.add(feed_of("main", "https://shop.example/f", FeedFormat.CSV, "PT1H", []), replace=False)
    telling = Telling(lambda: RedisSettings(url="redis://127.0.0.1:1/0", timeout_ms=100))
    telling.look(folder, 1, None, 1000)
    telling.look(folder, 2, None, 2000)
    telling.close()


def test_a_pull_that_can_say_nothing_is_not_begun_again_every_second(
    servers: tuple[Shop, Catalogue], tmp_path: Path
) -> None:
    the_shop, the_catalogue = servers
    now_ms, began = [int(time.time() * 1000)], list[int]()
    folder = FeedFolder(tmp_path / "feeds")
    folder.add(feed_of("main", the_shop.url("/feed.csv"), FeedFormat.CSV, "PT1H", []), replace=False)
    (folder.place("main") / "items.sqlite").write_bytes(b"no store at all" * 100)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    schedule = Schedule(folder, the_catalogue.url, tmp_path / "feeds.log", lambda: now_ms[0], env)
    said = tmp_path / "feeds.log"

    def look() -> None:
        running = schedule.is_pulling
        now_ms[0] += 1000
        schedule.look()
        if schedule.is_pulling and not running:
            began.append(now_ms[0])

    try:
        wait_for(lambda: look() is None and len(began) == 2)
    finally:
        schedule.stop()
    assert "if it is damaged remove it" in said.read_text()
    assert began[1] - began[0] >= AGAIN_MS


@pytest.mark.slow
def test_a_stack_pulls_a_feed_that_is_added_while_it_runs_with_a_key_of_its_own(tmp_path: Path) -> None:
    with shop() as the_shop, up(UP, tmp_path, {"NEXTCLICK_GATEWAY__KEYS": "required"}) as (running, url):
        the_shop.pages["/feed.csv"] = body(FEED)
        source = the_shop.url("/feed.csv")
        feeds = tmp_path / "stack" / "feeds"
        feed(feeds, "add", "main", source, "--format", "csv")
        folder = FeedFolder(feeds)
        wait_for(lambda: folder.state("main").last is not None)
        last = folder.state("main").last
        assert last is not None
        assert (last.outcome, last.put) == ("applied", 2)
        with Client(url, key="") as client, pytest.raises(GatewayRefused, match="401"):
            client.item("1")
        assert running.poll() is None
