"""Several processes play one schedule: each has the sessions of its hash, all count from one clock, results merge.

Processes are spawned, and talk over a pipe: ready, then the start, then how they stand, then what they counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import uvloop

from contracts.errors import NextclickError
from contracts.settings import ServiceSettings
from replay.engine.options import PlayOptions
from replay.engine.play import Progress, Snapshot
from replay.engine.schedule import Share
from replay.engine.session import play_share
from replay.measure.tally import Tally

START_IN_S = 0.25
"""From the moment when all are ready to the start of the schedule."""
STOP = "stop"
_WORST = ("elapsed_s", "behind_s", "p50_ms", "p99_ms")
"""Of a snapshot: not added up, but the worst of any worker."""


@dataclass(frozen=True, slots=True)
class _Start:
    at: float  # perf_counter(), which is one clock for all processes of a machine
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Failed:
    what: str


class _Worker:
    """The parent's end of one worker."""

    def __init__(self, options: PlayOptions, settings: ServiceSettings, share: Share) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._says, says = spawning.Pipe(duplex=False)
        hears, self._hears = spawning.Pipe(duplex=False)  # one of its own, as watching it makes it non-blocking
        self.number = share.number
        self.stands: Snapshot | None = None
        self._process = spawning.Process(target=_work, args=(options, settings, share, hears, says), daemon=True)
        self._process.start()
        says.close()
        hears.close()

    def tell(self, word: object) -> None:
        with suppress(OSError):  # it has ended: what it said last tells why
            self._hears.send(word)

    async def told(self) -> Any:
        """Return the next thing it says. Raises NextclickError when it failed or died."""
        try:
            said = await asyncio.to_thread(self._says.recv)
        except (EOFError, OSError) as error:
            raise NextclickError(f"replay worker {self.number + 1} died: is there memory enough?") from error
        if isinstance(said, _Failed):
            raise NextclickError(f"replay worker {self.number + 1}: {said.what}")
        return said

    async def tally(self, on_snapshot: Callable[[], None]) -> Tally:
        while True:
            said = await self.told()
            if isinstance(said, Tally):
                return said
            self.stands = said
            on_snapshot()

    def end(self) -> None:
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(5)
        self._says.close()
        self._hears.close()


async def play_in_workers(
    options: PlayOptions,
    settings: ServiceSettings,
    *,
    clock: Callable[[], int],
    progress: Progress | None = None,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Play in `options.workers` processes and return what they counted together. Raises NextclickError when one fails.

    Limits of connections, and of what may wait, are each worker's own.
    """
    workers = [_Worker(options, settings, Share(number, options.workers)) for number in range(options.workers)]
    stopping = asyncio.create_task(_pass_on(stop, workers)) if stop is not None else None
    try:
        for worker in workers:
            await worker.told()  # ready
        start = _Start(perf_counter() + START_IN_S, clock() + int(START_IN_S * 1000))
        for worker in workers:
            worker.tell(start)

        def on_snapshot() -> None:
            stands = [worker.stands for worker in workers if worker.stands is not None]
            if progress is not None and stands:
                progress(together(stands))

        return Tally.merged(await asyncio.gather(*(worker.tally(on_snapshot) for worker in workers)))
    finally:
        if stopping is not None:
            stopping.cancel()
        for worker in workers:
            worker.end()


async def _pass_on(stop: asyncio.Event, workers: Sequence[_Worker]) -> None:
    await stop.wait()
    for worker in workers:
        worker.tell(STOP)


def together(stands: Sequence[Snapshot]) -> Snapshot:
    """Return how a run stands whose workers stand like this."""
    added = {
        name: sum(getattr(one, name) for one in stands) for name in Snapshot.__dataclass_fields__ if name not in _WORST
    }
    worst = {name: max(getattr(one, name) for one in stands) for name in _WORST}
    return Snapshot(**added, **worst)


def _work(options: PlayOptions, settings: ServiceSettings, share: Share, hears: Connection, says: Connection) -> None:
    """The worker process. The terminal's Ctrl-C is the parent's to handle: it lets the run end in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        uvloop.run(_play(options, settings, share, hears, says))
    except NextclickError as error:
        says.send(_Failed(str(error)))
    except Exception as error:  # whatever it is, the parent says it
        says.send(_Failed(repr(error)))


async def _play(
    options: PlayOptions, settings: ServiceSettings, share: Share, hears: Connection, says: Connection
) -> None:
    says.send("ready")
    start = await asyncio.to_thread(hears.recv)
    assert isinstance(start, _Start)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_word() -> None:
        loop.remove_reader(hears.fileno())  # a stop, or the parent has gone
        stop.set()

    loop.add_reader(hears.fileno(), on_word)
    tally = await play_share(
        options, settings, start_ms=start.at_ms, start=start.at, share=share, progress=says.send, stop=stop
    )
    loop.remove_reader(hears.fileno())
    says.send(tally)
