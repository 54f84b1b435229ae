"""The sample, day by day: what is made of a day is all that memory holds of the events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contracts.errors import SettingsError
from replay.sample.bots import Bot, bots_of_day
from replay.sample.calendar import Spell, Today, share_of_days, spells, today
from replay.sample.chunk import DAY_MS, NONE, PURCHASE, RETURN, Chunk, Float64s, Longs, joined
from replay.sample.crowd import Crowd, crowd
from replay.sample.stock import Stocked, stocked
from replay.sample.visits import Numbers, begins, day_of_visits, lengths, sent_back, share_signed_in
from replay.synthetic.words import LEAVES

MOST_BOTS: Final = 0.5
_RECENT: Final = 0.25
"""Share of the visits by users who came on one of the last days."""
_KEPT: Final = 4
_BESIDE_VIEWS: Final = 1.09
"""Events of a human for each view; the next days make up for the rest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What sample is asked for. `bots` is their share of the events. Raises SettingsError for one that cannot be."""

    users: int = 100_000
    items: int = 50_000
    events: int = 5_000_000
    days: int = 365
    seed: int = 7
    start_ms: int = 1_735_689_600_000
    bots: float = 0.025

    def __post_init__(self) -> None:
        least = {"users": 10, "items": len(LEAVES), "events": 1, "days": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise SettingsError(f"--{name}: expected at least {bound}, got {getattr(self, name)}")
        if not 0 <= self.bots <= MOST_BOTS:
            raise SettingsError(f"--bots: expected a share from 0 to {MOST_BOTS}, got {self.bots}")


@dataclass
class Sample:
    """A sample as it is made: `days` yields its events, once. `bots` grows with them. Mutable."""

    wanted: Wanted
    stock: Stocked
    people: Crowd
    planned: tuple[Spell, ...]
    bots: list[Bot] = field(default_factory=list)

    def days(self) -> Iterator[Chunk]:
        """Yield the events of each day, in time order over all of them; times are epoch milliseconds."""
        asked = self.wanted
        rng = np.random.default_rng([asked.seed, 2])
        made = _Made(self)
        carried: Chunk | None = None
        wanted = np.cumsum(share_of_days(asked.start_ms, asked.days)) * asked.events
        for number in range(asked.days):
            day = today(self.stock, self.planned, asked.start_ms, number)
            parts = [*made.day(number, day, int(wanted[number]), rng), *([] if carried is None else [carried])]
            end = (number + 1) * DAY_MS
            whole = joined(parts)
            over = whole.ts_ms >= end
            carried = whole.take(over)
            yield self._from_start(whole.take(~over).in_time_order())
        if carried is not None and len(carried):
            yield self._from_start(carried.in_time_order())

    def _from_start(self, chunk: Chunk) -> Chunk:
        chunk.ts_ms[:] += self.wanted.start_ms
        return chunk


def sample_of(wanted: Wanted) -> Sample:
    """Stock the shop, draw its users and plan its year."""
    stock = stocked(np.random.default_rng([wanted.seed, 0]), wanted.items, wanted.days)
    rng = np.random.default_rng([wanted.seed, 1])
    people = crowd(rng, wanted.users, wanted.days, stock.shop.leaf_appeal)
    return Sample(wanted, stock, people, spells(stock, wanted.days, rng))


class _Made:
    """What one day leaves to the next ones. Mutable."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._numbers = Numbers(0, 0)
        self._events = 0
        self._last = np.full(len(sample.people), NONE)
        self._recent: list[Longs] = []
        self._returns: dict[int, list[Chunk]] = defaultdict(list)

    def day(self, number: int, day: Today, until: int, rng: np.random.Generator) -> Iterator[Chunk]:
        """Yield chunks of the day, not in order: visits, things sent back, bots; `until` events in all by its end."""
        returned = self._sent_back(number, rng)
        bots = self._bots(number, day, max(until - self._events, 0), rng)
        came = sum(len(chunk) for chunk in (*returned, *bots))
        visits = self._visits(number, day, until - self._events - came, rng)
        for chunk in (*visits, *returned, *bots):
            self._events += len(chunk)
            yield chunk

    def _visits(self, number: int, day: Today, events: int, rng: np.random.Generator) -> list[Chunk]:
        views = _as_many(events / _BESIDE_VIEWS, rng)
        if not len(views):
            return []
        sample, people = self._sample, self._sample.people
        start = number * DAY_MS + begins(len(views), rng)
        user = self._users(number, people, len(views), rng)
        named = share_signed_in(user, people.activity, rng)
        found, ends, orders = day_of_visits(
            sample.stock, people, day, (user, views, named), start, self._last[user], self._numbers, rng
        )
        self._numbers = Numbers(self._numbers.session + len(user), self._numbers.order + orders)
        self._last[user] = ends
        self._recent = [*self._recent, user][-_KEPT:]
        bought = found.take(found.kind == PURCHASE)
        chosen, back = sent_back(bought, sample.stock, number, rng)
        for when in np.unique(back):
            self._returns[int(when)].append(bought.take(chosen[back == when]))
        return [found]

    def _users(self, number: int, people: Crowd, count: int, rng: np.random.Generator) -> Longs:
        """Draw who comes (count,): by how often they do, and again those who came on the last days."""
        here = np.cumsum(np.where(people.since <= number, people.activity, 0.0))
        user = np.searchsorted(here, rng.random(count) * here[-1], side="right")
        if self._recent:
            lately = np.concatenate(self._recent)
            again = rng.random(count) < _RECENT
            user[again] = rng.choice(lately, int(again.sum()))
        return np.asarray(np.minimum(user, len(people) - 1))

    def _sent_back(self, number: int, rng: np.random.Generator) -> list[Chunk]:
        """Return what is sent back on this day: a visit of its own for each order."""
        parts = self._returns.pop(number, [])
        if not parts:
            return []
        found = joined(parts)
        orders, place = np.unique(found.order, return_inverse=True)
        begin = number * DAY_MS + begins(len(orders), rng)
        found.kind[:] = RETURN
        found.session[:] = self._numbers.session + place
        found.ts_ms[:] = begin[place]
        self._numbers = Numbers(self._numbers.session + len(orders), self._numbers.order)
        return [found]

    def _bots(self, number: int, day: Today, events: int, rng: np.random.Generator) -> list[Chunk]:
        sample = self._sample
        due = int(sample.wanted.bots * (self._events + events)) - sum(bot.events for bot in sample.bots)
        found, made = bots_of_day(sample.stock, day, number, self._numbers.session, due, rng)
        sample.bots += made
        self._numbers = Numbers(self._numbers.session + len(made), self._numbers.order)
        if found is None:
            return []
        found.ts_ms[:] += number * DAY_MS
        return [found]


def _as_many(views: Float64s | float, rng: np.random.Generator) -> Longs:
    """Draw lengths of visits (s,) until they hold so many views in all."""
    found, held = [], 0
    while held < views:
        more = lengths(max(int((views - held) / 3), 16), rng)
        found.append(more)
        held += int(more.sum())
    if not found:
        return np.empty(0, np.int64)
    whole = np.concatenate(found)
    return whole[: int(np.searchsorted(np.cumsum(whole), views)) + 1]
