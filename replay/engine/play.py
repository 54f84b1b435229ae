"""The open loop: events go out when the schedule says, whatever the target answers, in order within a session.

A session's next request leaves only after its previous one was answered; other sessions are not held up by it.
Events that are due together share a request. Every latency counts from the time at which the event was due.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from time import perf_counter
from typing import Protocol

from replay.engine.played import FAILED, REJECTED, TAKEN, Limits, Played, Progress, Snapshot
from replay.engine.schedule import Page, Planned
from replay.engine.targets import Taken, Target
from replay.measure.live import Listed

__all__ = ["FAILED", "REJECTED", "TAKEN", "Asker", "Limits", "Played", "Player", "Progress", "Snapshot"]

YIELD_EVERY = 64
STOP_LATENCY_S = 0.25
SPIN_S = 0.0006
"""The rest of a wait is spent looking at the clock: an event loop's timers count in whole milliseconds, rounded."""
PROGRESS_EVERY_S = 0.25
LATEST = 1000
"""Events whose latency a snapshot tells."""
ABANDONED = "not sent: the target had taken nothing for too long"
CUT = "not sent: the time after the last event was over"


class Asker(Protocol):
    """Asks for recommendations: before an event is sent, as the page does that it leaves, or (`on_pages`) once an event
    has opened a page. Never raises for what is answered. `elapsed_s` tells the time since the start of the run.
    """

    on_pages: bool

    def wants(self, planned: Planned) -> bool:
        """Whether to ask before this event, or on the page that it opens."""

    async def ask(self, planned: Planned, page: Page, elapsed_s: Callable[[], float]) -> None:
        """Ask before this event. Only of events that are not their session's first."""

    def opens(self, planned: Planned) -> Listed:
        """Note that this event has opened a page on which to ask."""

    async def ask_on_page(self, planned: Planned, page: Page, listed: Listed, elapsed_s: Callable[[], float]) -> None:
        """Ask on the page that this event has opened."""

    def goes_on(self, planned: Planned) -> None:
        """Note the next event of a session, whose turn it is."""


class Player:
    """Plays one schedule into one target. Use once."""

    def __init__(self, target: Target, *, limits: Limits | None = None, asker: Asker | None = None) -> None:
        self._target, self._asker = target, asker
        self._limits = limits or Limits()
        self._free = self._limits.connections
        self._posts: deque[Planned] = deque()
        self._asks: deque[Planned] = deque()
        self._opened: deque[tuple[Planned, Page, Listed]] = deque()  # pages that wait for their list
        self._held: dict[str, deque[Planned] | None] = {}  # sessions under way, and what waits behind them
        self._pages: dict[str, Page] = {}  # of sessions that have clicked, the last to click last
        self._outstanding = 0
        self._failing_since = inf
        self._room = asyncio.Event()
        self._start = 0.0
        self.played = Played()

    async def play(
        self,
        plan: Iterable[Planned],
        *,
        progress: Progress | None = None,
        stop: asyncio.Event | None = None,
        start: float | None = None,
    ) -> Played:
        """Play the whole plan and return once every event is settled. `stop` ends the plan early.

        `start` is the perf_counter() at which the schedule begins (now), so that several processes begin together.
        """
        self._start = perf_counter() if start is None else start
        ticker = asyncio.create_task(self._tick(progress)) if progress is not None else None
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._release(plan, stop)
                await self._drain()
        finally:
            self.played.elapsed_s = self.elapsed_s()
            if ticker is not None:
                ticker.cancel()
                with suppress(asyncio.CancelledError):
                    await ticker
        if progress is not None:
            progress(self.snapshot())
        return self.played

    def snapshot(self) -> Snapshot:
        played, now = self.played, self.elapsed_s()
        heads = [queue[0].offset_s for queue in (self._posts, self._asks) if queue]
        heads += [self._opened[0][0].offset_s] if self._opened else []
        p50_ms, p99_ms = played.timings.latest_ms(LATEST)
        return Snapshot(
            elapsed_s=now,
            released=len(played.lag_s),
            accepted=played.accepted,
            rejected=played.rejected.total(),
            failed=played.failed.total(),
            waiting=self._outstanding,
            in_flight=self._limits.connections - self._free,
            retries=played.retries,
            behind_s=max(0.0, now - min(heads)) if heads else 0.0,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
        )

    def elapsed_s(self) -> float:
        """Seconds since the start of the run."""
        return perf_counter() - self._start  # an event loop's own clock may count in whole milliseconds

    async def _release(self, plan: Iterable[Planned], stop: asyncio.Event | None) -> None:
        """Hand each event on when it is due. The only place that waits for the schedule."""
        for number, planned in enumerate(plan, start=1):
            while (early := planned.offset_s - self.elapsed_s()) > 0 and not self._ends(stop):
                self._pump()
                await asyncio.sleep(min(max(0.0, early - SPIN_S), STOP_LATENCY_S))
            if self._ends(stop):
                self.played.stopped = True
                break
            self.played.lag_s.append(max(0.0, self.elapsed_s() - planned.offset_s))
            self._admit(planned)
            if number % YIELD_EVERY == 0:
                self._pump()
                await asyncio.sleep(0)
            while self._outstanding >= self._limits.waiting:
                self.played.overflowed = True
                self._pump()
                self._room.clear()
                await self._room.wait()
        self._pump()

    async def _drain(self) -> None:
        """Wait for what is under way, and cut what takes too long."""
        until_s = self.elapsed_s() + self._limits.drain_s
        while self._outstanding and until_s < inf:
            if self.elapsed_s() >= until_s:
                self.played.cut = True
                return
            await asyncio.sleep(STOP_LATENCY_S / 10)

    def _ends(self, stop: asyncio.Event | None) -> bool:
        return self.played.gave_up or (stop is not None and stop.is_set())

    def _admit(self, planned: Planned) -> None:
        self._outstanding += 1
        if planned.session_id not in self._held:
            self._held[planned.session_id] = None
            self._route(planned)
            return
        behind = self._held[planned.session_id]
        if behind is None:
            behind = self._held[planned.session_id] = deque()
        behind.append(planned)

    def _route(self, planned: Planned) -> None:
        asker = self._asker
        if asker is not None and asker.on_pages:
            asker.goes_on(planned)
        elif asker is not None and planned.session_id in self._pages and asker.wants(planned):
            self._asks.append(planned)
            return
        self._posts.append(planned)

    def _pump(self) -> None:
        """Start requests while connections are free, the earliest due first."""
        while self._free and (self._posts or self._asks or self._opened):
            self._free -= 1
            if self._opened and not (self._posts and self._posts[0].offset_s < self._opened[0][0].offset_s):
                self._tasks.create_task(self._list(*self._opened.popleft()))
            elif self._asks and (not self._posts or self._asks[0].offset_s <= self._posts[0].offset_s):
                self._tasks.create_task(self._ask(self._asks.popleft()))
            else:
                self._tasks.create_task(self._post(self._next_batch()))

    def _next_batch(self) -> list[Planned]:
        """Take what shares a request. With an asker each session posts alone, so that the token is its own."""
        if self._asker is not None:
            return [self._posts.popleft()]
        batch: list[Planned] = []
        while self._posts and len(batch) < self._limits.batch:
            planned = self._posts.popleft()
            batch.append(planned)
            behind = self._held[planned.session_id]
            while behind and len(batch) < self._limits.batch:
                batch.append(behind.popleft())
        return batch

    async def _ask(self, planned: Planned) -> None:
        assert self._asker is not None
        page = self._pages.get(planned.session_id)
        if not self.played.gave_up and page is not None:
            await self._asker.ask(planned, page, self.elapsed_s)
        self._free += 1
        self._posts.appendleft(planned)  # it is due already
        self._pump()

    async def _list(self, planned: Planned, page: Page, listed: Listed) -> None:
        """Ask for the list of a page that has opened; its session goes on meanwhile."""
        assert self._asker is not None
        if not self.played.gave_up:
            await self._asker.ask_on_page(planned, page, listed, self.elapsed_s)
        self._free += 1
        self._outstanding -= 1
        self._room.set()
        self._pump()

    async def _post(self, batch: Sequence[Planned]) -> None:
        sent, played = self.elapsed_s(), self.played
        if played.gave_up:
            taken = Taken(0, failed=Counter({ABANDONED if played.abandoned else CUT: len(batch)}))
        else:
            taken = await self._target.send([planned.fields for planned in batch])
            played.requests += 1
        done = self.elapsed_s()
        if not taken.failed:
            self._failing_since = inf
        else:
            self._failing_since = min(self._failing_since, sent)
            played.abandoned |= done - self._failing_since > self._limits.patience_s
        played.retries += taken.retries
        played.accepted += taken.accepted
        self._note_outcomes(taken, len(batch))
        for planned in batch:
            played.timings.add(planned.offset_s, sent, done)
        self._free += 1
        self._settle(batch, taken.token)
        self._pump()

    def _note_outcomes(self, taken: Taken, events: int) -> None:
        played = self.played
        if not taken.rejected and not taken.failed:
            played.outcomes.extend([TAKEN] * events)
            return
        rejected, failed = taken.rejected.total(), taken.failed.total()
        played.rejected += taken.rejected
        played.failed += taken.failed
        played.outcomes.extend([FAILED] * failed + [REJECTED] * rejected + [TAKEN] * (events - failed - rejected))

    def _settle(self, batch: Sequence[Planned], token: str | None) -> None:
        """Let each session of the batch go on to what waits behind it."""
        self._outstanding -= len(batch)
        self._room.set()
        if self._asker is not None:
            self._remember(batch[-1], token)
            if self._asker.on_pages and self._asker.wants(batch[-1]):
                page = self._pages[batch[-1].session_id]
                self._opened.append((batch[-1], page, self._asker.opens(batch[-1])))
                self._outstanding += 1
        for session_id in dict.fromkeys(planned.session_id for planned in batch):
            behind = self._held[session_id]
            if behind:
                self._route(behind.popleft())
            else:
                del self._held[session_id]

    def _remember(self, planned: Planned, token: str | None) -> None:
        """Note the page that an event opened; an impression opens none."""
        session_id, fields = planned.session_id, planned.fields
        previous = self._pages.pop(session_id, None)
        if token is None and previous is not None:
            token = previous.token
        page = Page(token, fields.get("type", ""), fields.get("item_id"))
        if page.type == "impression" and previous is not None:
            page = Page(token, previous.type, previous.item_id)
        self._pages[session_id] = page
        if len(self._pages) > self._limits.sessions:
            del self._pages[next(iter(self._pages))]

    async def _tick(self, progress: Progress) -> None:
        while True:
            progress(self.snapshot())
            await asyncio.sleep(PROGRESS_EVERY_S)
