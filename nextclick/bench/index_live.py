"""The live index through the real stack: items put over HTTP under requests, and snapshots exchanged under them.

Redis, the flows, two gateway processes, the builder and this process share the machine. Load is open loop: times count
from the instant at which a request was meant to be sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import orjson

from contracts.errors import NextclickError
from contracts.items import Item
from contracts.settings import IndexSettings
from nextclick.bench.index_files import Progress, label
from nextclick.bench.report import BenchRow
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.engine.http_client import HttpClient
from replay.synthetic.shoppers import default_shop
from retrieval.builder import ask_for_build
from retrieval.snapshot import read_pointer, rollback

GATEWAYS = 2
UPSERTS_A_SECOND = SEARCHES_A_SECOND = 200.0
REQUESTS_A_SECOND = 300.0
WATCHED = 20
"""One put in so many is asked for until a search finds it."""
SWAP_EVERY_S = 3.0
WINDOW_S = 1.5
"""How long after the pointer has moved requests count as sent during the swap."""
_COUNTED = "nextclick_gateway_index_swaps_total"
_LINES = 1000
_GIVE_UP_S = 10.0
_BUILD_S = 600
_JSON = {"Content-Type": "application/json"}

Send = Callable[[int], Awaitable[bool]]
"""Sends request number n and says whether it was answered as it should be."""


@dataclass(slots=True)
class Load:
    """Requests sent at a rate: when each was due (seconds of time.monotonic), milliseconds that it took, failures."""

    due_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    failed: int = 0

    def p99(self) -> float:
        return float(np.percentile(self.took_ms, 99)) if self.took_ms else float("nan")

    def within(self, windows: Sequence[tuple[float, float]]) -> Load:
        """Return the requests that were due in one of the windows."""
        picked = [at for at, due in enumerate(self.due_s) if any(first <= due < last for first, last in windows)]
        return Load([self.due_s[at] for at in picked], [self.took_ms[at] for at in picked])


async def send_at_rate(send: Send, rate: float, seconds: float) -> Load:
    """Send request after request at a rate, whatever becomes of the ones before."""
    load = Load()
    began = time.monotonic()

    async def one(number: int, due: float) -> None:
        try:
            well = await send(number)
        except (OSError, TimeoutError):
            well = False
        load.due_s.append(due)
        load.took_ms.append(1000 * (time.monotonic() - due))
        load.failed += not well

    async with asyncio.TaskGroup() as sending:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sending.create_task(one(number, due))
    return load


def live_rows(items: int, seconds: float, progress: Progress) -> list[BenchRow]:
    """Start a stack with so many items in a snapshot; measure puts to retrievable, then hot swaps."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        options = StackOptions(port=0, folder=Path(folder), gateways=GATEWAYS)
        index = IndexSettings(builder=True, min_items=items, exact_up_to=0, delta_share=1.0)
        with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS), index=index)) as stack:
            bench = LiveBench(stack, items, progress)
            bench.fill()
            return [*asyncio.run(bench.freshness(seconds)), *asyncio.run(bench.swaps(seconds))]


class LiveBench:
    """One stack under load."""

    def __init__(self, stack: Stack, items: int, progress: Progress) -> None:
        self._stack, self._items, self._progress = stack, items, progress
        self._folder = stack.folder / "index"
        self._ids = [f"bench-{n}" for n in range(items)]
        self.hurried = 0
        """Answers that left something out to meet the deadline."""

    def fill(self) -> None:
        """Put the items, and wait until a snapshot of them serves."""
        made = shop_items(self._items)
        with Client(self._stack.url) as client:
            for at in range(0, self._items, _LINES):
                self._progress(f"live: putting items, {at:,} of {self._items:,}")
                chunk = zip(self._ids[at : at + _LINES], made[at : at + _LINES], strict=True)
                client.put_items([orjson.dumps({"item_id": one, **item}) for one, item in chunk])
        self._wait_for_the_first()

    async def freshness(self, seconds: float) -> list[BenchRow]:
        """Put new items under requests; ask for some of them until they are found."""
        self._progress(f"live: puts under requests for {seconds:g} s")
        found_ms: list[float] = []
        lost = 0
        async with HttpClient(self._stack.url, connections=256) as http:

            async def put(number: int) -> bool:
                began = time.monotonic()
                category = f"new/{number}"
                item = {"title": f"New {number}", **_mixed(number % 6000), "category": category}
                head = http.head("PUT", f"/api/items/new-{number}", _JSON)
                answer = await http.request(head, orjson.dumps(item))
                visible = answer.status == 202 and orjson.loads(answer.body)["visible"]
                if number % WATCHED == 0:
                    nonlocal lost
                    if await self._is_found(http, f"new-{number}", category):
                        found_ms.append(1000 * (time.monotonic() - began))
                    else:
                        lost += 1
                return bool(visible)

            asking = asyncio.create_task(send_at_rate(self._asker(http), SEARCHES_A_SECOND, seconds))
            puts = await send_at_rate(put, UPSERTS_A_SECOND, seconds)
            asked = await asking
        p50, p99 = np.percentile(found_ms or [np.nan], (50, 99))
        what = f"live, {label(self._items)}"
        return [
            BenchRow(f"{what}: put sent to found by a search, p50", float(p50), "ms", 100.0),
            BenchRow(f"{what}: put sent to found by a search, p99", float(p99), "ms", 1000.0),
            BenchRow(f"{what}: put answered visible, p50 from intended time", float(np.median(puts.took_ms)), "ms"),
            BenchRow(f"{what}: put answered visible, p99 from intended time", puts.p99(), "ms"),
            BenchRow(f"{what}: puts not answered visible", float(puts.failed), "1", 0.0),
            BenchRow(f"{what}: items never found", float(lost), "1", 0.0),
            BenchRow(f"{what}: requests beside that failed", float(asked.failed), "1", 0.0),
            BenchRow(f"{what}: requests beside, p99 from intended time", asked.p99(), "ms"),
            BenchRow(f"{what}: requests beside that left something out for time", float(self.hurried), "1"),
        ]

    async def swaps(self, seconds: float) -> list[BenchRow]:
        """Ask at a rate; then publish a new snapshot beside it, and go back and forth between the two."""
        async with HttpClient(self._stack.url, connections=256) as http:
            self._progress(f"live: {REQUESTS_A_SECOND:g} requests/s for {seconds:g} s")
            before = await send_at_rate(self._asker(http), REQUESTS_A_SECOND, seconds)
            serving = read_pointer(self._folder).current
            self._progress("live: a new snapshot is built and taken up")
            asking = asyncio.create_task(send_at_rate(self._asker(http), REQUESTS_A_SECOND, 2 * seconds))
            began = time.monotonic()
            ask_for_build(self._folder, "the bench asks")
            while read_pointer(self._folder).current == serving and not asking.done():  # noqa: ASYNC110 (a file)
                await asyncio.sleep(0.02)
            built = time.monotonic()
            windows = [(built, built + WINDOW_S)]
            while not asking.done():
                await asyncio.wait([asking], timeout=SWAP_EVERY_S)
                if not asking.done():
                    await asyncio.to_thread(rollback, self._folder)  # reads all of it: not in the loop that sends
                    windows.append((time.monotonic(), time.monotonic() + WINDOW_S))
            during = await asking
        if read_pointer(self._folder).current == serving and len(windows) == 1:
            raise NextclickError(f"expected a new snapshot within {2 * seconds:g} s, got none: give --seconds more")
        exchanged = min(await asyncio.to_thread(self._exchanges))
        swapped, building = during.within(windows), during.within([(began, built)])
        what = f"live swap, {label(self._items)}"
        return [
            BenchRow(f"{what}: snapshots published, or gone back to", float(len(windows)), "1", None, "higher"),
            BenchRow(f"{what}: exchanges that a gateway process counted, least", exchanged, "1", 1.0, "higher"),
            BenchRow(f"{what}: failed requests", float(during.failed + before.failed), "1", 0.0),
            BenchRow(f"{what}: requests/s p99 before, from intended time", before.p99(), "ms"),
            BenchRow(f"{what}: p99 of {WINDOW_S:g} s from each exchange", swapped.p99(), "ms"),
            BenchRow(f"{what}: p99 during against before", swapped.p99() / before.p99(), "x", 2.0),
            BenchRow(f"{what}: p99 while the builder works beside", building.p99(), "ms"),
        ]

    def _asker(self, http: HttpClient) -> Send:
        head = http.head("POST", "/api/recommendations/product", _JSON)

        async def ask(number: int) -> bool:
            item_id = self._ids[(number * 7919) % len(self._ids)]
            body = orjson.dumps({"session_id": f"s{number % 997}", "item_id": item_id, "limit": 20})
            answer = await http.request(head, body)
            if answer.status == 200:
                self.hurried += bool(orjson.loads(answer.body)["degraded"])
            return answer.status == 200

        return ask

    async def _is_found(self, http: HttpClient, item_id: str, category: str) -> bool:
        head = http.head("POST", "/api/recommendations/product", _JSON)
        body = {"session_id": "watch", "item_id": self._ids[0], "limit": 1, "context": {"category": category}}
        until = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < until:
            answer = await http.request(head, orjson.dumps(body))
            if answer.status == 200 and item_id in [
                one["product_id"] for one in orjson.loads(answer.body)["recommendations"]
            ]:
                return True
            await asyncio.sleep(0.002)
        return False

    def _exchanges(self) -> list[float]:
        """Return what the gateway processes counted; a new connection meets either of them."""
        found = []
        for _ in range(4 * GATEWAYS):
            with urlopen(f"{self._stack.url}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            found += [float(line.split()[-1]) for line in lines if line.startswith(f"{_COUNTED} ")]
        return found

    def _wait_for_the_first(self) -> None:
        """Return once a snapshot is published and the gateways have had time to take it up."""
        began = time.monotonic()
        while not self._folder.exists() or read_pointer(self._folder).current is None:
            self._progress(f"live: building the first snapshot, {time.monotonic() - began:.0f} s")
            if time.monotonic() - began > _BUILD_S:
                raise NextclickError(f"expected a snapshot within {_BUILD_S} s: {self._stack.whose_fault()}")
            time.sleep(0.5)
        time.sleep(5.0)


def shop_items(count: int) -> list[dict[str, object]]:
    """Return so many items whose words are mixed from those of the synthetic shop, from a seed."""
    return [_mixed(number) for number in range(count)]


_SHOP: list[tuple[str, Item]] = []


def _mixed(number: int) -> dict[str, object]:
    if not _SHOP:
        _SHOP.extend(default_shop().items)
    first, second = _SHOP[number % len(_SHOP)][1], _SHOP[(number * 31 + number // len(_SHOP)) % len(_SHOP)][1]
    words = f"{first.title} {second.title}".split()
    turned = words[number % 3 :]
    return {"title": " ".join(turned), "category": first.category, "brand": second.brand, "price": first.price}
