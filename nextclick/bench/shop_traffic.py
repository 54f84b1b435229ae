"""A shop of any size and its live sessions, for benchmarks: several synthetic shops side by side.

The models of the demo know the first shop's items by id, and the others' by their content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.clock import wall_clock_ms
from contracts.items import Item
from replay.synthetic.shop import DEFAULT_ITEMS, DEFAULT_SEED, Shop, make_shop
from replay.synthetic.shoppers import shoppers

if TYPE_CHECKING:
    from rich.console import Console

    from nextclick.stack.client import Client
    from nextclick.stack.stack import Stack

MINUTES = 15
"""Sessions began within this many minutes: inside the idle gap, so that all of them live."""
EVENTS_A_REQUEST = 500
CATCH_UP_S = 300.0
SLICE = 1000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is in the shop, and the events of the sessions that live, in time order."""

    items: Sequence[tuple[str, Item]]
    events: Sequence[dict[str, Any]]
    sessions: Sequence[str]

    def clicks(self, run: str, seed: int = 3) -> Iterator[dict[str, Any]]:
        """Yield more clicks of these sessions, without end: on items as often as they were clicked before."""
        rng = np.random.default_rng(seed)
        number = 0
        while True:
            who = rng.integers(len(self.sessions), size=SLICE).tolist()
            what = rng.integers(len(self.events), size=SLICE).tolist()
            for session, event in zip(who, what, strict=True):
                yield {
                    "v": 1,
                    "event_id": f"{run}-{number}",
                    "type": "view",
                    "session_id": self.sessions[session],
                    "item_id": self.events[event]["item_id"],
                    "ts": wall_clock_ms(),
                }
                number += 1


def make_traffic(items: int, sessions: int, *, seed: int = DEFAULT_SEED, now_ms: int | None = None) -> Traffic:
    """Return a shop of about `items` items, and `sessions` sessions that were busy until `now_ms`."""
    now_ms = wall_clock_ms() if now_ms is None else now_ms
    count = max(1, ceil(items / DEFAULT_ITEMS))
    shops = [_shop(number, min(items, DEFAULT_ITEMS), seed) for number in range(count)]
    start_ms = now_ms - MINUTES * 60_000
    visits = [
        shoppers(
            shop,
            ceil(sessions / count),
            np.random.default_rng(seed + 1000 + number),
            start_ms=start_ms,
            span_ms=MINUTES * 60_000,
            name=f"live{number}",
        )
        for number, shop in enumerate(shops)
    ]
    events = [
        event.model_dump(exclude_none=True) for event in merge(*visits, key=lambda one: one.ts) if event.ts <= now_ms
    ]
    names = dict.fromkeys(event["session_id"] for event in events)
    return Traffic([item for shop in shops for item in shop.items][:items], events, list(names)[:sessions])


def _shop(number: int, items: int, seed: int) -> Shop:
    shop = make_shop(np.random.default_rng(seed + number), items)
    if number == 0:
        return shop
    return replace(shop, items=tuple((f"{number}-{item_id}", item) for item_id, item in shop.items))


def load_traffic(console: Console, client: Client, stack: Stack, traffic: Traffic) -> None:
    """Load the items and the sessions, and wait until the flows have applied them."""
    import time

    from contracts.errors import NextclickError
    from nextclick.bench.accounting import pids_of, until_calm
    from nextclick.stack.load_items import load_items
    from nextclick.stack.progress import read_progress, totals

    load_items(console, list(traffic.items), client)
    known = {item_id for item_id, _ in traffic.items}
    events = [event for event in traffic.events if event["item_id"] in known]
    with console.status(f"{len(traffic.sessions):,} sessions, {len(events):,} events"):
        for at in range(0, len(events), EVENTS_A_REQUEST):
            client.send_events(events[at : at + EVENTS_A_REQUEST])
        until = time.monotonic() + CATCH_UP_S
        while totals(read_progress(stack.running_settings))["lag"]:
            if time.monotonic() > until:
                raise NextclickError(f"the flows did not catch up within {CATCH_UP_S:.0f} s: {stack.whose_fault()}")
            time.sleep(0.2)
        until_calm(pids_of(stack), within_s=CATCH_UP_S)
