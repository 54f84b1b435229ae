"""What each gateway process knows of erasures: whom it takes nothing of any more, and what it lets go of. One of them
carries erasures out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from contracts.errors import StateUnavailable
from contracts.hashed_names import hashed
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.outage import Outage, Told
from contracts.plain_events import PlainEvent
from contracts.redis_answers import whole
from eventlog.erasing import open_eraser
from gateway.background import kept_running, running
from gateway.erasing import Sweep
from gateway.erasing_files import Files, files_of
from gateway.erasure_work import OUTAGES, ErasureWork, Stopped, erasures_of
from gateway.keys import APPENDS, RECOMMENDER, RECORDER, SETTINGS
from gateway.metrics import METRICS
from gateway.settings import GatewaySettings
from rights.erasure import (
    ErasedNames,
    Erasure,
    Found,
    Status,
    Subject,
    encode_erasure,
    erased_names,
)
from rights.erasure_list import ErasureList, decode_list, encode_list
from state.client import redis_errors_translated
from state.erasure_list import read_list, write_list
from state.erasures import NUMBER, ErasureStore, Job
from state.presence import this_process
from state.redis_line import open_line, packed

log = logging.getLogger("nextclick.gateway")

LOOK_S: Final = 1.0
"""How often a process looks whether anybody is to be erased: one number."""
_SOON_S: Final = 0.1
"""The same while somebody is."""
_REST: Final = 4.0
"""Looking at all erasures takes longer the more are kept: so many times as long nobody looks again."""
DOOR_MS: Final = 86_400_000
"""Events of somebody who was erased are looked for at the door for so long: what is still under way comes by then."""


LetsGo = Callable[[ErasedNames], Awaitable[None]]


class Erasures:
    """Of one process. `following` is told whether Redis can be followed, `lets_go` whom to let go of: in memory, and in
    open files.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock_ms: Callable[[], int],
        following: Told | None = None,
        lets_go: Sequence[LetsGo] = (),
        files: Sequence[Files] = (),
    ) -> None:
        self._settings, self._clock_ms, self.files = settings, clock_ms, files
        self.lets_go = list(lets_go)
        self.store = ErasureStore(settings.redis)
        self.process = this_process("gateway", clock_ms()).name
        self.names = ErasedNames()
        """Who was erased lately: what the door asks."""
        self.left_out = 0
        """Events that came of somebody's past, after it was erased."""
        self._number, self._running = -1, False
        self._stopping, self._wakes = threading.Event(), asyncio.Event()
        self._following: Told = following or Outage(log, "erasures are not followed now: ")
        self._outage = Outage(log, "erasures wait: ")

    def begin(self, subject: Subject, name: str, at_ms: int, removed: Mapping[str, int]) -> Erasure:
        """Note an erasure, and return it. `removed` is what went already. One that is under way for the same name takes
        away what was there when it was asked for: what came since is this one's. Raises StateUnavailable and
        LogUnavailable, with nothing changed.
        """
        sign = hashed(self.store.secret(), subject, name)
        erasure = Erasure(secrets.token_hex(8), subject, sign, at_ms).plus(removed)
        eraser = open_eraser(self._settings.log, self._settings.redis)
        ends = {} if eraser is None else eraser.ends()
        if eraser is not None:
            eraser.close()
        is_user = subject is Subject.USER
        job = Job(name if is_user else None, () if is_user else (name,), ends, forgot=True)
        self.store.put(erasure.id, encode_erasure(erasure), job)
        return erasure

    def covers(self, event: PlainEvent) -> bool:
        """Tell whether an event is of the past of somebody who was erased: it is not taken any more."""
        if not self.names or not self.names.covers(event.session_id, event.user_id, event.ts):
            return False
        self.left_out += 1
        return True

    def wake(self) -> None:
        """There is something to do: do not wait for the next look."""
        self._running = True
        self._wakes.set()

    def look(self, erasure: Erasure) -> Erasure:
        """Look through everything for somebody who was erased, and return the erasure with what was found. Raises
        StateUnavailable and LogUnavailable.
        """
        sweep = Sweep(self._settings, self._clock_ms, only_looks=True)
        try:
            holders = sweep.redis.holders()
            [work] = sweep.recover(self.store.secret(), [erasure])
            found = sweep.look_into_log([work])
            found.counted()
            sweep.sweep_redis([work])
            sweep.mask_audit([work])
            sweep.redis.expect_holders(holders)
        finally:
            sweep.close()
        places = {place: count for place, count in work.removed.items() if count}
        return msgspec.structs.replace(erasure, looked=Found(self._clock_ms(), places))

    # in the background

    async def follow(self) -> None:
        """Look whether anything changed, for ever. Over another connection all counts as changed: a Redis that lost its
        last writes gives their numbers to others.
        """
        line, made = open_line(self._settings.redis), 0
        asked = packed((b"HGET", Keys(self._settings.redis.prefix).erasures().encode(), NUMBER.encode()))
        try:
            while True:
                took_s = 0.0
                try:
                    with redis_errors_translated(self._settings.redis):
                        [answer] = await line.call(asked, 1)
                    if (number := whole(answer) or 0) != self._number or line.made != made:
                        began_s, connected = time.monotonic(), line.made
                        await self._take(number)
                        made = connected
                        took_s = time.monotonic() - began_s
                    self._following.over()
                except (*OUTAGES, TimeoutError) as error:
                    self._following.failed(error)
                await asyncio.sleep(max(_SOON_S if self._running else LOOK_S, _REST * took_s))
        finally:
            await line.close()

    async def _take(self, number: int) -> None:
        """Learn who was erased, let go of it, and say so."""
        number = await asyncio.to_thread(self._kept, number)
        if number == 0:
            self._number = 0
            return  # nobody ever was: nothing to say
        secret, found = await asyncio.to_thread(lambda: (self.store.secret(), erasures_of(self.store)))
        self.names = erased_names(secret, found, since_ms=self._clock_ms() - DOOR_MS)
        for let_go in self.lets_go:
            await let_go(self.names)
        self._running = any(one.status is Status.RUNNING for one in found)
        await asyncio.to_thread(self.store.tell, self.process, number)
        self._number = number
        if self._running:
            self._wakes.set()

    def _kept(self, number: int) -> int:
        """Put what Redis knows into the list beside it; and into Redis what it does not know (any more), to be carried
        out again: it was restored, or emptied. Returns the number of changes then. A file that cannot be read or
        written is said, and holds nobody up.
        """
        if not (name := self._settings.erasure.list):
            return number
        path, prefix = Path(name), self._settings.redis.prefix
        try:
            raw = read_list(path)
            listed = ErasureList(prefix, "") if raw is None else decode_list(raw)
            if listed.prefix != prefix:
                raise ValueError(f"expected the erasures of {prefix!r}, got those of {listed.prefix!r}: name another")
            here = erasures_of(self.store)
            if missing := listed.missing_in(here):
                if not here:
                    self.store.set_secret(bytes.fromhex(listed.secret))
                for one in missing:
                    self.store.put(one.id, encode_erasure(one))
                log.warning("%d erasures are carried out again: Redis does not know of them", len(missing))
                here, number = erasures_of(self.store), self.store.number()
            oldest_ms = self._clock_ms() - int(self._settings.erasure.keep.total_seconds() * 1000)
            self.store.drop(one.id for one in here if one.at_ms < oldest_ms)
            if here:
                write_list(path, encode_list(listed.of(here, self.store.secret(), oldest_ms)))
        except (OSError, ValueError) as error:
            log.error("the list of erasures %s is not kept: %s", path, error)
        return number

    async def work(self) -> None:
        """Carry out what is under way, for ever; nothing happens while nothing is."""
        while True:
            await self._wakes.wait()
            self._wakes.clear()
            try:
                await asyncio.to_thread(self._run)
                self._outage.over()
            except Stopped:
                pass
            except OUTAGES as error:
                self._outage.failed(error)
            if self._running:
                await asyncio.sleep(LOOK_S)
                self._wakes.set()

    def _run(self) -> None:
        work = ErasureWork(self._settings, self.store, self.process, self._clock_ms, self.files, sleep=self._sleep)
        work.run()

    def _sleep(self, seconds: float) -> None:
        """Sleep. Raises Stopped at the end of the process."""
        if self._stopping.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Let a pass that is under way end."""
        self._stopping.set()

    async def close(self) -> None:
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        with suppress(StateUnavailable):  # its time runs out
            self.store.leave(self.process)
        self.store.close()


def let_go_of(app: web.Application) -> list[LetsGo]:
    """Return what in a process holds names of visitors, or files in which they stand: each lets go of them."""
    drain_s = app[SETTINGS].gateway.drain_s

    async def lines(_: ErasedNames) -> None:
        await app[APPENDS].impressions.settled(drain_s)
        await app[APPENDS].dead_letters.settled(drain_s)

    begun_ms = 0

    async def files(names: ErasedNames) -> None:
        nonlocal begun_ms
        newest_ms = max((*names.users.values(), *names.sessions.values()), default=0)
        if newest_ms <= begun_ms:
            return  # files begun for this erasure, or a later one, are being written
        begun_ms = newest_ms
        for writer in (app[RECORDER], app[RECOMMENDER].keeper):
            if writer is not None:
                await writer.begin_anew(drain_s)

    async def memory(names: ErasedNames) -> None:
        partition_of.cache_clear()
        latest = app[RECOMMENDER].latest
        left = [one for one in latest if not names.covers(one.session_id, None, one.at_ms)]
        latest.clear()
        latest.extend(left)

    return [lines, files, memory]


async def erasures(app: web.Application) -> AsyncIterator[None]:
    """Who is erased, as this process knows it; on the way out another one takes over."""
    own, metrics = app[ERASURES], app[METRICS]
    own.lets_go, own.files = let_go_of(app), files_of(app[SETTINGS])
    about = "Events that came of the past of somebody who was erased, and were left out."
    metrics.total("erased_events", about, {}, lambda: float(own.left_out))
    parts = {"following erasures": own.follow, "carrying out erasures": own.work}
    async with running(*(kept_running(name, run, metrics.restarts) for name, run in parts.items())):
        yield
        own.stop()
    await own.close()


ERASURES: web.AppKey[Erasures] = web.AppKey("erasures")
