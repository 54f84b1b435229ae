"""Plays one process's share of a schedule: opens what the options name, plays, and tallies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from contracts.errors import SettingsError
from contracts.settings import ServiceSettings
from eventlog.files import read_raw
from eventlog.open_log import open_async_writer
from replay.choices import Into
from replay.http_client import HttpClient
from replay.live import GatewayQuestions, LiveAsker
from replay.live import Questions as AskedQuestions
from replay.options import PlayOptions
from replay.play import Limits, Played, Player, Progress, Snapshot
from replay.schedule import Rewriting, Share, schedule
from replay.tally import Tally
from replay.targets import GatewayTarget, LogTarget, Target
from replay.template import read_template
from replay.template_target import TemplateQuestions, TemplateTarget
from replay.visible import VisibleWatcher

_NO_LIMIT = 10_000


@dataclass(slots=True)
class _Opened:
    target: Target
    limits: Limits
    asker: LiveAsker | None = None
    watcher: VisibleWatcher | None = None


async def play_share(
    options: PlayOptions,
    settings: ServiceSettings,
    *,
    start_ms: int,
    start: float | None = None,
    share: Share | None = None,
    progress: Progress | None = None,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Play this share of the sessions (all of them). `start` is the perf_counter() and `start_ms` the epoch time at
    which the schedule begins; `options.run` names the run.
    """
    rewriting = Rewriting(options.run, options.time, options.rename_sessions)
    plan = schedule(
        read_raw(options.recording),
        options.pace,
        rewriting,
        start_ms=start_ms,
        limit=options.events,
        clones=options.clones,
        share=share,
    )
    async with opened(options, settings) as with_:
        player = Player(with_.target, limits=with_.limits, asker=with_.asker)
        if with_.watcher is not None:
            with_.watcher.elapsed_s = player.elapsed_s
        told = None if progress is None else lambda now: progress(_with_answers(now, with_.asker))
        played = await player.play(plan, progress=told, stop=stop, start=start)
    return _tally(options, played, with_)


@asynccontextmanager
async def opened(options: PlayOptions, settings: ServiceSettings) -> AsyncIterator[_Opened]:
    """Open the target, the asker when questions are wanted, and the watcher; the first two share their connections."""
    async with AsyncExitStack() as stack:
        limits, asked = options.limits, options.questions
        http = HttpClient(options.url, connections=limits.connections, attempt_s=options.attempt_s)
        await stack.enter_async_context(http)
        template = read_template(options.template) if options.template is not None else None
        target: Target
        if template is not None:
            target = TemplateTarget(http, template, give_up_s=options.give_up_s)
            limits = limits if template.takes_batches else replace(limits, batch=1)
        else:
            target = GatewayTarget(http, give_up_s=options.give_up_s)
        if options.into is Into.LOG:
            writer = open_async_writer(settings.log, settings.redis)
            stack.push_async_callback(writer.close)
            target = LogTarget(writer, give_up_s=options.give_up_s)
        asker = watcher = None
        if asked is not None:
            questions: AskedQuestions = (
                GatewayQuestions(http, placements=asked.placements, limit=asked.limit)
                if template is None
                else TemplateQuestions(http, template, placements=asked.placements, limit=asked.limit)
            )
            asker = LiveAsker(http, questions, share=asked.share)
        if options.watch > 0:
            if template is not None:
                raise SettingsError("click to visible is watched on a gateway only: leave --watch out")
            watching = HttpClient(options.url, connections=_NO_LIMIT, attempt_s=options.attempt_s)
            await stack.enter_async_context(watching)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            target = watcher = VisibleWatcher(target, watching, tasks, share=options.watch)
        yield _Opened(target, limits, asker, watcher)


def _with_answers(now: Snapshot, asker: LiveAsker | None) -> Snapshot:
    if asker is None:
        return now
    return replace(now, questions=asker.asked.questions, hits=asker.asked.hits)


def _tally(options: PlayOptions, played: Played, with_: _Opened) -> Tally:
    asked = with_.asker.asked if with_.asker is not None else None
    visible = with_.watcher.visible if with_.watcher is not None else None
    tally = Tally.of(played, options.limits, asked, visible)
    if options.timings is None:
        return tally
    columns = dict(zip(("intended_s", "sent_s", "done_s"), played.timings.columns(), strict=True))
    if asked is not None:
        columns |= dict(zip(("ask_intended_s", "ask_sent_s", "ask_done_s"), asked.timings.columns(), strict=True))
    return replace(tally, columns=columns)
