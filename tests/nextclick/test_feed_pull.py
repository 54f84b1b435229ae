"""A pull tells the catalogue what changed in a feed, once, and nothing of a feed that cannot be trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connect.feeds.formats import FeedFormat
from contracts.feed_settings import FeedOptions
from contracts.feed_status import FeedPull as Pull
from contracts.items import UNLIMITED_STOCK
from nextclick.stack.client import GatewayUnreachable
from nextclick.stack.feeds.apply import GatewayDoor, Timing
from nextclick.stack.feeds.definition import Feed, FeedError, FeedFolder
from nextclick.stack.feeds.pull import REPORT, RETRY_MS, Puller
from nextclick.stack.feeds.report import read_report
from tests.nextclick.feed_shop import Catalogue, Shop, body, catalogue, shop
from tests.processes import ROOT

HOUR_MS = 3_600_000


def table(rows: dict[str, tuple[str, object]]) -> bytes:
    """A feed of items by id: title and quantity."""
    return "".join(["id,title,quantity\n", *(f"{name},{one[0]},{one[1]}\n" for name, one in rows.items())]).encode()


def many(count: int, title: str = "t", stock: object = 3) -> dict[str, tuple[str, object]]:
    return {f"i{n:03}": (title, stock) for n in range(count)}


@dataclass
class At:
    """One feed, `main`, of a shop, and the catalogue that it goes into."""

    shop: Shop
    catalogue: Catalogue
    folder: FeedFolder
    now_ms: int = 1_800_000_000_000
    waited_s: float = 0.0

    def publish(self, content: bytes, **headers: str) -> None:
        self.shop.pages["/feed.csv"] = body(content, **headers)

    def pull(self, name: str = "main", *, anew: bool = False, confirm: bool = False, **options: object) -> Pull:
        def sleep(pause_s: float) -> None:
            self.waited_s += pause_s

        door = GatewayDoor(self.catalogue.url, "", lambda: pytest.fail("no key is asked for"))
        given = FeedOptions.model_validate({"batch": 10, **options})
        puller = Puller(self.folder, given, door, lambda: self.now_ms, Timing(time.monotonic, sleep))
        try:
            return puller.confirm(name) if confirm else puller.pull(name, anew=anew)
        finally:
            door.close()

    def changes(self) -> Counter[str]:
        """Return what the catalogue was told since this was asked last."""
        found = Counter(kind for kind, _ in self.catalogue.changes)
        self.catalogue.changes.clear()
        return found

    def faults(self) -> list[dict[str, object]]:
        return read_report(self.folder.place("main") / REPORT, 1000)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with shop() as the_shop, catalogue() as the_catalogue:
        found = At(the_shop, the_catalogue, FeedFolder(tmp_path / "feeds"))
        found.folder.add(feed(the_shop.url("/feed.csv")), replace=False)
        yield found


def feed(source: str, name: str = "main", format: FeedFormat = FeedFormat.CSV) -> Feed:
    return Feed(name=name, source=source, format=format, every_s=3600, private=True)


def test_only_what_changed_is_told_as_puts_stock_and_deletes(at: At) -> None:
    at.publish(table(many(20)))
    first = at.pull()
    assert (first.outcome, first.found, first.put) == ("applied", 20, 20)
    assert at.changes() == {"put": 20}
    assert at.catalogue.items["i000"] == {"title": "t", "category": "", "stock": 3}
    second = at.pull()
    assert (second.outcome, second.same) == ("applied", 20)
    at.changes()
    at.publish(table({**many(18), "i000": ("other", 3), "i001": ("t", 0)}))
    third = at.pull()
    assert (third.put, third.stock, third.deleted, third.same) == (1, 1, 2, 16)
    assert at.changes() == {"put": 1, "stock": 1, "delete": 2}
    assert at.catalogue.items["i000"]["title"] == "other"
    assert at.catalogue.items["i001"]["stock"] == 0
    assert sorted(at.catalogue.items) == sorted(many(18))


def test_stock_that_others_set_stays_until_the_feed_says_another(at: At) -> None:
    at.publish(b"id,title,availability\n1,a,in_stock\n")
    at.pull()
    assert at.catalogue.items["1"]["stock"] == UNLIMITED_STOCK
    at.catalogue.items["1"]["stock"] = 2  # counted down by the shop itself
    at.publish(b"id,title,availability\n1,b,in_stock\n")
    at.pull()
    assert at.catalogue.items["1"] == {"title": "b", "category": "", "stock": 2}
    at.publish(b"id,title,availability\n1,b,out_of_stock\n")
    at.pull()
    assert at.catalogue.items["1"]["stock"] == 0


def test_an_item_whose_line_is_wrong_stays_as_it_was_and_the_line_is_named(at: At) -> None:
    at.publish(table(many(10)))
    at.pull()
    at.publish(table({**many(10), "i003": ("", 3)}) + b"i004,again,3\n,nobody,1\n")
    pulled = at.pull()
    assert (pulled.outcome, pulled.left_out, pulled.repeated, pulled.deleted) == ("applied", 2, 1, 0)
    assert at.catalogue.items["i003"]["title"] == "t"
    assert at.catalogue.items["i004"]["title"] == "again"
    said = [(one["line"], one.get("item_id"), one["left_out"]) for one in at.faults()]
    assert sorted(said, key=str) == [(12, "i004", False), (13, None, True), (5, "i003", True)]


def test_the_report_of_a_feed_full_of_faults_is_bounded(at: At) -> None:
    at.publish(table(many(5)) + b",x,1\n" * 3000)
    pulled = at.pull(report=100)
    assert pulled.left_out == 3000
    assert len(at.faults()) == 100


def test_a_feed_that_lost_too_much_is_held_back_until_it_is_confirmed(at: At) -> None:
    at.publish(table(many(10)))
    at.pull()
    at.changes()
    at.publish(table(many(6)))
    held = at.pull()
    assert held.outcome == "held"
    assert held.why.startswith("4 of 10 items are gone (40%, over 30%)")
    assert not at.changes()
    assert at.pull(confirm=True).deleted == 4
    assert at.changes() == {"delete": 4}
    with pytest.raises(FeedError, match="nothing is held back"):
        at.pull(confirm=True)
    at.publish(table(many(2)))
    assert at.pull(may_lose=0.8).outcome == "applied"


def test_an_empty_feed_is_held_back_and_one_that_recovers_is_applied_by_itself(at: At) -> None:
    at.publish(b"")
    assert at.pull().outcome == "failed"  # it never had anything
    at.publish(table(many(10)))
    at.pull()
    at.changes()
    for empty in (b"", b"id,title,quantity\n"):
        at.publish(empty)
        assert at.pull(may_lose=1.0).outcome == "held"
    at.publish(table({**many(10), "i000": ("new", 3)}))
    assert at.pull().put == 1
    assert at.changes() == {"put": 1}


def test_a_held_feed_that_is_again_as_it_was_holds_nothing_any_more(at: At) -> None:
    at.publish(table(many(10)), ETag='"one"')
    at.pull()
    at.publish(table(many(1)), ETag='"two"')
    assert at.pull().outcome == "held"
    at.shop.pages["/feed.csv"] = body(b"", 304)
    assert at.pull().outcome == "unchanged"
    with pytest.raises(FeedError, match="nothing is held back"):
        at.pull(confirm=True)


def test_an_unchanged_feed_is_asked_for_and_not_read(at: At) -> None:
    at.publish(table(many(3)), ETag='"one"', Last_Modified="Sat, 28 Feb 2026 10:00:00 GMT")
    at.pull()
    at.shop.pages["/feed.csv"] = body(b"", 304)
    assert at.pull().outcome == "unchanged"
    assert at.shop.asked[-1][1]["if-none-match"] == '"one"'
    assert at.shop.asked[-1][1]["if-modified-since"] == "Sat, 28 Feb 2026 10:00:00 GMT"
    at.publish(table(many(3)))
    assert at.pull(anew=True).put == 3
    assert "if-none-match" not in at.shop.asked[-1][1]


@pytest.mark.parametrize(
    "broken", [b"<html>down</html>", table(many(9)) + b'x,"not closed', b"id,title\n" + b"y" * 1_100_000]
)
def test_a_feed_that_cannot_be_read_changes_nothing_and_is_tried_again_soon(at: At, broken: bytes) -> None:
    at.publish(table(many(10)))
    at.pull()
    at.changes()
    at.publish(broken)
    assert at.pull().outcome in ("failed", "held")
    assert not at.changes()
    state = at.folder.state("main")
    assert state.last is not None
    if state.last.outcome == "failed":
        assert state.next_ms == at.now_ms + RETRY_MS
    at.publish(table(many(10)))
    assert at.pull().same == 10
    assert at.folder.state("main").next_ms == at.now_ms + HOUR_MS


def test_what_the_gateway_refuses_is_in_the_report_and_told_again(at: At) -> None:
    at.catalogue.refuse["i001"] = "invalid: /image_vector: expected 8 numbers"
    at.publish(table(many(3)))
    pulled = at.pull()
    assert (pulled.put, pulled.refused) == (2, 1)
    assert at.faults()[0]["reason"] == "the gateway refused it: invalid: /image_vector: expected 8 numbers"
    at.catalogue.refuse.clear()
    assert at.pull().put == 1
    del at.catalogue.items["i002"]  # somebody else did
    at.publish(table({**many(3), "i002": ("t", 9)}))
    assert at.pull().refused == 1
    assert at.pull().put == 1
    assert at.catalogue.items["i002"]["stock"] == 9


def test_a_busy_gateway_is_waited_for_and_one_that_stays_away_gets_the_rest_later(at: At) -> None:
    at.publish(table(many(30)))
    at.catalogue.statuses = [503, 429]
    assert at.pull().put == 30
    assert at.waited_s >= 1.5
    at.publish(table(many(30, "other")))
    at.catalogue.before = lambda _: at.catalogue.statuses.append(503) if len(at.catalogue.changes) >= 40 else None
    away = at.pull()
    assert (away.outcome, away.put) == ("waiting", 10)
    at.catalogue.before = lambda _: None
    at.catalogue.statuses.clear()
    at.changes()
    assert at.pull().put == 20
    assert at.changes() == {"put": 20}
    assert {one["title"] for one in at.catalogue.items.values()} == {"other"}


def test_a_gateway_that_is_not_there_is_said(at: At) -> None:
    at.publish(table(many(3)))
    with catalogue() as gone:
        pass
    at.catalogue = gone
    pulled = at.pull()
    assert pulled.outcome == "waiting"
    assert pulled.why.startswith("expected a gateway at")


def test_an_item_of_two_feeds_goes_when_both_have_lost_it(at: At) -> None:
    at.folder.add(feed(at.shop.url("/other.csv"), "other"), replace=False)
    at.publish(table(many(10)))
    at.shop.pages["/other.csv"] = body(table({"i000": ("t", 3), "x": ("t", 1), "y": ("t", 1)}))
    at.pull()
    at.pull("other")
    at.publish(table({name: one for name, one in many(10).items() if name != "i000"}))
    assert at.pull().deleted == 0
    assert "i000" in at.catalogue.items
    at.shop.pages["/other.csv"] = body(table({"x": ("t", 1), "y": ("t", 1)}))
    assert at.pull("other", may_lose=0.5).deleted == 1
    assert "i000" not in at.catalogue.items


def test_pages_of_an_api_are_read_to_the_end_and_one_that_is_missing_deletes_nothing(at: At) -> None:
    at.folder.add(feed(at.shop.url("/wp-json/wc/v3/products"), format=FeedFormat.WOOCOMMERCE), replace=True)
    path = "/wp-json/wc/v3/products?per_page=100"
    following = at.shop.url(f"{path}&page=2")
    at.shop.pages[path] = body(b'[{"id":1,"name":"a"}]', Link=f'<{following}>; rel="next"')
    at.shop.pages[f"{path}&page=2"] = body(b'[{"id":2,"name":"b"},{"id":3}]')
    pulled = at.pull()
    assert (pulled.found, pulled.put) == (2, 2)
    assert [one.get("page") for one in at.faults()] == [2]
    at.shop.pages[f"{path}&page=2"] = body(b"", 502)
    assert at.pull().outcome == "failed"
    assert sorted(at.catalogue.items) == ["1", "2"]


def test_changes_are_paced(at: At) -> None:
    at.publish(table(many(100)))
    at.pull(most_per_s=50)
    assert 1.5 < at.waited_s <= 2.0  # of 2 s, what the gateway took is not waited for again


def test_two_pulls_of_a_feed_do_not_run_together(at: At) -> None:
    at.publish(table(many(3)))
    with at.folder.alone("main"), pytest.raises(FeedError, match="is being pulled"):
        at.pull()


def test_the_disk_that_applied_changes_took_is_given_back(at: At) -> None:
    at.publish(table(many(900, "t" * 900)))
    at.pull(batch=1000, most_per_s=100_000)
    assert (at.folder.place("main") / "items.sqlite").stat().st_size < 300_000


def test_a_store_that_is_damaged_says_what_to_do(at: At) -> None:
    (at.folder.place("main") / "items.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(FeedError, match="remove it"):
        at.pull()


Point = Callable[[At, "subprocess.Popen[bytes]"], None]


def while_it_comes(at: At, running: subprocess.Popen[bytes]) -> None:
    whole = at.shop.pages["/feed.csv"]

    def page(request: object) -> None:
        at.shop.pages["/feed.csv"] = whole
        running.kill()
        whole(request)  # type: ignore[arg-type]

    at.shop.pages["/feed.csv"] = page


def before_the_third_batch(at: At, running: subprocess.Popen[bytes]) -> None:
    def before(_: str) -> None:
        if len(at.catalogue.changes) == 20:
            running.kill()
            raise ConnectionAbortedError

    at.catalogue.before = before


def after_the_third_batch_was_taken(at: At, running: subprocess.Popen[bytes]) -> None:
    at.catalogue.after = lambda: running.kill() if len(at.catalogue.changes) == 30 else None


def among_the_deletes(at: At, running: subprocess.Popen[bytes]) -> None:
    at.catalogue.before = lambda path: running.kill() if path.startswith("/api/items/") else None


@pytest.mark.parametrize(
    ("point", "most_twice"),
    [(while_it_comes, 0), (before_the_third_batch, 0), (after_the_third_batch_was_taken, 10), (among_the_deletes, 5)],
)
def test_a_kill_in_mid_pull_loses_nothing_and_tells_only_its_last_batch_twice(
    at: At, point: Point, most_twice: int
) -> None:
    at.publish(table(many(45)))
    at.pull()
    at.changes()
    at.publish(table({**many(40, "new")}))
    command = [sys.executable, "-P", "-m", "nextclick", "feed", "pull", "main", "--feeds", str(at.folder.folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTCLICK_FEEDS__BATCH": "10"}
    started = [*command, "--url", at.catalogue.url]
    running = subprocess.Popen(
        ["sh", "-c", 'read _ && exec "$@"', "sh", *started], stdin=subprocess.PIPE, env=environment
    )
    assert running.stdin is not None
    point(at, running)
    running.stdin.write(b"\n")
    running.stdin.close()
    assert running.wait(60) == -signal.SIGKILL
    at.catalogue.before, at.catalogue.after = lambda _: None, lambda: None
    rest = at.pull()
    assert rest.outcome == "applied"
    assert {name: one["title"] for name, one in at.catalogue.items.items()} == dict.fromkeys(many(40), "new")
    told = Counter(at.catalogue.changes)
    assert set(told) == {*(("put", name) for name in many(40)), *(("delete", f"i{n:03}") for n in range(40, 45))}
    assert sum(count - 1 for count in told.values()) <= most_twice
    assert at.pull().same == 40


def test_a_key_is_made_where_the_gateway_asks_for_one() -> None:
    with catalogue() as found:
        found.statuses = [401]
        made: list[str] = []

        def make() -> str:
            made.append("ncs_made")
            return made[-1]

        door = GatewayDoor(found.url, "", make)
        door.put_items([b'{"item_id":"1","title":"a"}'])
        door.close()
        assert made == ["ncs_made"]
        assert list(found.items) == ["1"]
    with pytest.raises(GatewayUnreachable):
        door.put_items([b"{}"])
