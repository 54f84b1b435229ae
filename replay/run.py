"""One replay, from a recording to a result: opens the target, plays, asks if wanted, and works out the hit rates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np

from contracts.clock import wall_clock_ms
from contracts.settings import ServiceSettings
from eventlog.files import Header, read_header, read_raw
from eventlog.open_log import open_async_writer
from replay.choices import Into, SeenItems, Times
from replay.live import HitRates, LiveAsker, default_baselines, score
from replay.live import Progress as ScoreProgress
from replay.pacer import Pace, TimesFaster
from replay.play import Limits, Played, Player, Snapshot
from replay.result import PlayResult, answers_of, lateness, why_invalid
from replay.schedule import Rewriting, schedule
from replay.targets import GatewayTarget, LogTarget, Target

Clock = Callable[[], int]
"""Epoch milliseconds."""


def new_run_name(at_ms: int) -> str:
    """Return a run's name made from its time: `r` and base 36."""
    digits, rest = "", at_ms
    while rest:
        rest, digit = divmod(rest, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"r{digits}"


@dataclass(frozen=True, slots=True)
class Questions:
    """Ask for recommendations before a `share` of the clicks. `prime` is the log that the model was trained on."""

    share: float = 1.0
    limit: int = 20
    placement: str = "homepage"
    prime: Path | None = None
    seen_items: SeenItems = SeenItems.HIDDEN


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """What to play, where to, and how fast. `into` LOG takes the log that the settings name."""

    recording: Path
    url: str = "http://127.0.0.1:8080"
    into: Into = Into.GATEWAY
    pace: Pace = field(default_factory=lambda: TimesFaster(1.0))
    time: Times = Times.LIVE
    run: str = ""
    rename_sessions: bool = True
    events: int | None = None
    limits: Limits = field(default_factory=Limits)
    give_up_s: float = 30.0
    attempt_s: float = 10.0
    questions: Questions | None = None
    timings: Path | None = None


async def play_recording(
    options: PlayOptions,
    settings: ServiceSettings,
    *,
    clock: Clock = wall_clock_ms,
    progress: Callable[[Snapshot, LiveAsker | None], None] | None = None,
    score_progress: ScoreProgress = lambda done, whole: None,
    stop: asyncio.Event | None = None,
) -> PlayResult:
    """Play one recording. Raises ImportFormatError for a file that is no recorded log, LogUnavailable without a log."""
    header = read_header(options.recording)
    start_ms = clock()
    rewriting = Rewriting(options.run or new_run_name(start_ms), options.time, options.rename_sessions)
    async with _opened(options, settings) as (target, asker):
        player = Player(target, limits=options.limits, asker=asker)
        plan = schedule(read_raw(options.recording), options.pace, rewriting, start_ms=start_ms, limit=options.events)
        told = None if progress is None else lambda snapshot: progress(snapshot, asker)
        played = await player.play(plan, progress=told, stop=stop)
    if options.timings is not None:
        _write_timings(options.timings, played, asker)
    rates = await asyncio.to_thread(_scored, options, asker, score_progress) if asker is not None else None
    return _result(options, rewriting.run, header, played, asker, rates)


@asynccontextmanager
async def _opened(options: PlayOptions, settings: ServiceSettings) -> AsyncIterator[tuple[Target, LiveAsker | None]]:
    """Open the target, and the asker when questions are wanted; both share the gateway's connections."""
    connector = aiohttp.TCPConnector(limit=options.limits.connections)
    timeout = aiohttp.ClientTimeout(total=options.attempt_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        asked = options.questions
        asker = None
        if asked is not None:
            asker = LiveAsker(http, options.url, share=asked.share, limit=asked.limit, placement=asked.placement)
        if options.into is Into.GATEWAY:
            yield GatewayTarget(http, options.url, give_up_s=options.give_up_s), asker
            return
        writer = open_async_writer(settings.log, settings.redis)
        try:
            yield LogTarget(writer, give_up_s=options.give_up_s), asker
        finally:
            await writer.close()


def _scored(options: PlayOptions, asker: LiveAsker, progress: ScoreProgress) -> HitRates:
    asked = options.questions or Questions()
    return score(
        options.recording,
        asker.asked.ranks,
        default_baselines(),
        prime=asked.prime,
        seen_items=asked.seen_items,
        limit=asked.limit,
        progress=progress,
    )


def _result(
    options: PlayOptions,
    run: str,
    header: Header,
    played: Played,
    asker: LiveAsker | None,
    rates: HitRates | None,
) -> PlayResult:
    return PlayResult(
        run=run,
        recording=f"{options.recording} ({header.events:,} events)",
        target=options.url if options.into is Into.GATEWAY else "the event log",
        pace=str(options.pace),
        scheduled=len(played.lag_s),
        accepted=played.accepted,
        rejected=dict(played.rejected),
        failed=dict(played.failed),
        requests=played.requests,
        retries=played.retries,
        elapsed_s=round(played.elapsed_s, 3),
        latency=played.timings.latency(),
        service=played.timings.service(),
        sender_lag=lateness(played),
        invalid=why_invalid(played, options.limits),
        stopped=played.stopped,
        answers=answers_of(asker.asked) if asker is not None else None,
        hit_rates=rates,
    )


def _write_timings(path: Path, played: Played, asker: LiveAsker | None) -> None:
    """Write every request's intended, sent and done time, seconds after the start, as a .npz of columns."""
    intended, sent, done = played.timings.columns()
    columns = {"intended_s": intended, "sent_s": sent, "done_s": done}
    if asker is not None:
        asks = asker.asked.timings.columns()
        columns |= dict(zip(("ask_intended_s", "ask_sent_s", "ask_done_s"), asks, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **columns)  # type: ignore[arg-type]
