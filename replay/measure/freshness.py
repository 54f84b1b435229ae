"""Click to visible: how long after a click is posted does a recommendation count it?

Generated visitors click at a fixed open-loop rate. For a share of the clicks a recommendation is asked for with the
click's token (`after`), for another share without it, again and again, until `session.events` counts the click.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from replay.engine.http_client import HttpClient
from replay.engine.play import Limits, Played, Player, Progress
from replay.engine.schedule import Planned
from replay.engine.targets import JSON, Fields, GatewayTarget, Taken, Target
from replay.measure.tally import lateness, why_invalid
from replay.measure.timings import Percentiles

ITEMS_PER_LISTING = 200
_NO_LIMIT = 10_000
_SPREAD = 7919  # a prime: visitors walk over the items in different orders


@dataclass(frozen=True, slots=True)
class FreshnessOptions:
    """`share` of the clicks is watched with the token, as many again without. Nothing is watched in the first
    `warm_up_s`. Each visitor clicks every `pause_s`, `clicks` times, and is then followed by another one.
    """

    url: str = "http://127.0.0.1:8080"
    rate: float = 500.0
    seconds: float = 20.0
    share: float = 0.1
    warm_up_s: float = 2.0
    pause_s: float = 2.0
    clicks: int = 6
    connections: int = 64
    give_up_s: float = 5.0
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Milliseconds from the POST of a click to the answer that counts it, and what went on beside.

    `by_token` and `by_polling` count from the moment of sending, `by_token_intended` from when the click was due.
    Polling asks one request after the other, so it includes the last one's duration. `never` were not seen in time.
    """

    rate: float
    clicks: int
    accepted: int
    failed: dict[str, int]
    elapsed_s: float
    by_token: Percentiles
    by_token_intended: Percentiles
    by_polling: Percentiles
    post: Percentiles
    never: int
    stale: int
    errors: dict[str, int]
    sender_lag: Percentiles
    invalid: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Watched:
    """A click to watch: when it is due, the `session.events` that counts it, and whether to use its token."""

    due_s: float
    events: int
    by_token: bool


@dataclass(slots=True)
class _Samples:
    by_token: array[float] = field(default_factory=lambda: array("d"))
    by_token_intended: array[float] = field(default_factory=lambda: array("d"))
    by_polling: array[float] = field(default_factory=lambda: array("d"))
    never: int = 0
    stale: int = 0
    errors: Counter[str] = field(default_factory=Counter)


async def measure_freshness(
    options: FreshnessOptions,
    items: Sequence[str],
    *,
    run: str,
    start_ms: int,
    progress: Progress | None = None,
) -> Freshness:
    """Click on `items` and watch. `run` names the sessions, `start_ms` is the epoch time now."""
    watched: dict[str, _Watched] = {}
    posting = HttpClient(options.url, connections=options.connections, attempt_s=options.give_up_s, key=options.key)
    asking = HttpClient(options.url, connections=_NO_LIMIT, attempt_s=options.give_up_s, key=options.key)
    async with posting, asking, asyncio.TaskGroup() as watching:
        watcher = _Watcher(GatewayTarget(posting), asking, options, watched, watching)
        limits = Limits(connections=options.connections, batch=1)
        player = Player(watcher, limits=limits)
        watcher.elapsed_s = player.elapsed_s
        played = await player.play(_visitors(options, items, run, start_ms, watched), progress=progress)
    return _freshness(options, played, watcher.seen, limits)


async def listed_items(url: str, *, key: str = "") -> list[str]:
    """Return ids of items in the gateway's catalogue; none when it is empty. Raises OSError without an answer."""
    async with HttpClient(url, key=key) as http:
        response = await http.request(http.head("GET", f"/api/items?limit={ITEMS_PER_LISTING}"))
        if response.status != 200:
            raise ConnectionError(f"expected {url} to list its items, got status {response.status}")
        return [item["item_id"] for item in orjson.loads(response.body)["items"]]


class _Watcher:
    """A target that posts each click and, for watched ones, asks until the click is counted."""

    def __init__(
        self,
        target: Target,
        http: HttpClient,
        options: FreshnessOptions,
        watched: dict[str, _Watched],
        watching: asyncio.TaskGroup,
    ) -> None:
        self._target, self._http, self._options = target, http, options
        self._head = http.head("POST", "/api/recommendations/homepage", JSON)
        self._watched, self._watching = watched, watching
        self.elapsed_s: Callable[[], float] = lambda: 0.0
        self.seen = _Samples()

    async def send(self, batch: Sequence[Fields]) -> Taken:
        sent_s = self.elapsed_s()
        taken = await self._target.send(batch)
        for fields in batch:
            watched = self._watched.pop(fields["event_id"], None)
            if watched is not None and taken.accepted:
                self._watching.create_task(self._watch(fields["session_id"], watched, sent_s, taken.token))
        return taken

    async def _watch(self, session_id: str, watched: _Watched, sent_s: float, token: str | None) -> None:
        question: dict[str, Any] = {"session_id": session_id, "limit": 20}
        if watched.by_token and token is not None:
            question["after"] = token
        body = orjson.dumps(question)
        while self.elapsed_s() < sent_s + self._options.give_up_s:
            if await self._counted(body) >= watched.events:
                self._note(watched, sent_s, self.elapsed_s())
                return
        self.seen.never += 1

    async def _counted(self, body: bytes) -> int:
        try:
            response = await self._http.request(self._head, body)
            if response.status == 200:
                answer = orjson.loads(response.body)
                self.seen.stale += bool(answer.get("stale"))
                return int(answer["session"]["events"])
            self.seen.errors[f"status {response.status}"] += 1
        except (OSError, ValueError, KeyError) as error:
            self.seen.errors[type(error).__name__] += 1
        await asyncio.sleep(0.02)
        return -1

    def _note(self, watched: _Watched, sent_s: float, seen_s: float) -> None:
        if watched.by_token:
            self.seen.by_token.append(seen_s - sent_s)
            self.seen.by_token_intended.append(seen_s - watched.due_s)
        else:
            self.seen.by_polling.append(seen_s - sent_s)


def _visitors(
    options: FreshnessOptions, items: Sequence[str], run: str, start_ms: int, watched: dict[str, _Watched]
) -> Iterator[Planned]:
    """Yield evenly spaced clicks, and put those to watch into `watched`."""
    at_once = max(1, round(options.rate * options.pause_s))
    every = max(2, round(1.0 / options.share)) if options.share > 0 else 0
    for index in range(round(options.rate * options.seconds)):
        place, turn = index % at_once, index // at_once
        visit, click = divmod(turn, options.clicks)
        session_id, event_id = f"{run}-{place}-{visit}", f"{run}-{index}"
        offset_s = index / options.rate
        # both kinds take turns, shifted by one every time around so that every click of a visit is watched
        kind = (index + turn) % every if every and offset_s >= options.warm_up_s else -1
        if kind in (0, 1):
            watched[event_id] = _Watched(offset_s, click + 1, by_token=kind == 0)
        item = items[(place + click * _SPREAD + visit) % len(items)]
        fields = {"v": 1, "event_id": event_id, "type": "view", "session_id": session_id, "item_id": item}
        yield Planned(index, offset_s, session_id, {**fields, "ts": start_ms + int(offset_s * 1000)})


def _freshness(options: FreshnessOptions, played: Played, seen: _Samples, limits: Limits) -> Freshness:
    return Freshness(
        rate=options.rate,
        clicks=len(played.lag_s),
        accepted=played.accepted,
        failed=dict(played.failed),
        elapsed_s=round(played.elapsed_s, 3),
        by_token=_milliseconds(seen.by_token),
        by_token_intended=_milliseconds(seen.by_token_intended),
        by_polling=_milliseconds(seen.by_polling),
        post=played.timings.latency(),
        never=seen.never,
        stale=seen.stale,
        errors=dict(seen.errors),
        sender_lag=lateness(played),
        invalid=why_invalid(played, limits),
    )


def _milliseconds(seconds: array[float]) -> Percentiles:
    return Percentiles.of(np.array(seconds) * 1000.0)
