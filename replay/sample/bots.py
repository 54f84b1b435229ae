"""Visits that no human makes, planted so that bot detection can be judged: each kind gives itself away by one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from replay.sample.calendar import Today
from replay.sample.chunk import CART, DAY_MS, NONE, VIEW, Chunk, Longs, joined, visits_of
from replay.sample.crowd import CRAWLER, DESKTOP, HEADLESS
from replay.sample.stock import Stocked

KINDS: Final = {
    "crawler": "says so in its user agent; one item after the other through the catalogue, every 2 s",
    "scraper": "4 views a second, all of a category, a browser's user agent",
    "script": "a headless browser's user agent; items at random, one a second",
    "hoarder": "puts 100 and more items into the cart, buys none",
    "watcher": "the same 3 items every minute for up to a day",
}
_DESKTOP_DEVICE: Final = 1


@dataclass(frozen=True, slots=True)
class Bot:
    """One planted visit: its session's number, its kind, and how many events it has."""

    session: int
    kind: str
    events: int


def bots_of_day(
    stock: Stocked, day: Today, number: int, session: int, events: int, rng: np.random.Generator
) -> tuple[Chunk | None, list[Bot]]:
    """Return the events of a day's bots, about `events` of them, and who they are; times are of the day, from 0.

    `number` is the day, by which a crawler goes on where it was; `session` the number of the first visit. A visit that
    has more events than are left comes by chance, so that small samples have none on most days.
    """
    found, made = [], list[Bot]()
    there = np.flatnonzero(day.wish > 0)
    left = events
    while left > 0:
        kind = list(KINDS)[int(rng.integers(len(KINDS)))]
        items, gap_ms, kinds, agent = _does(kind, there, stock, number, rng)
        if rng.random() > left / len(items):
            break
        begin = int(rng.integers(DAY_MS - min(int(gap_ms.sum()), DAY_MS - 1)))
        count = len(items)
        same = np.ones(count, np.int8)
        chunk = visits_of(
            np.full(count, session + len(made)),
            items,
            VIEW,
            begin + np.cumsum(gap_ms) - int(gap_ms[0]),
            user=np.full(count, NONE),
            device=_DESKTOP_DEVICE * same,
            region=int(rng.integers(6)) * same,
            agent=agent * same,
        )
        chunk.kind[:] = kinds
        found.append(chunk)
        made.append(Bot(session + len(made), kind, count))
        left -= count
    return (joined(found) if found else None), made


def _does(
    kind: str, there: Longs, stock: Stocked, number: int, rng: np.random.Generator
) -> tuple[Longs, Longs, int, int]:
    """Return a bot's items (n,), the gaps before them in milliseconds (n,), what kind of events, its user agent."""
    count = int(rng.integers(120, 400))
    if kind == "crawler":
        first = number * 300 % len(there)
        return np.roll(there, -first)[:count], _gaps(2000, min(count, len(there)), rng), VIEW, CRAWLER
    if kind == "scraper":
        shelf = there[stock.shop.leaf[there] == stock.shop.leaf[rng.choice(there)]][:count]
        return shelf, _gaps(250, len(shelf), rng), VIEW, DESKTOP
    if kind == "script":
        return rng.choice(there, count), _gaps(1000, count, rng), VIEW, HEADLESS
    if kind == "hoarder":
        return rng.choice(there, min(count, 180)), _gaps(1500, min(count, 180), rng), CART, DESKTOP
    return np.resize(rng.choice(there, 3), 3 * count), _gaps(20_000, 3 * count, rng), VIEW, DESKTOP


def _gaps(usual_ms: int, count: int, rng: np.random.Generator) -> Longs:
    return (usual_ms * rng.uniform(0.8, 1.2, count)).astype(np.int64)
