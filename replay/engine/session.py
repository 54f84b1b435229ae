"""Plays one process's share of a schedule: opens what the options name, plays, and tallies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from contracts.errors import SettingsError, said_in
from contracts.settings import ServiceSettings
from eventlog.files import read_raw
from eventlog.open_log import open_async_writer
from replay.engine.choices import Into
from replay.engine.http_client import HttpClient
from replay.engine.options import PlayOptions
from replay.engine.play import Limits, Played, Player, Progress, Snapshot
from replay.engine.schedule import Rewriting, Share, schedule
from replay.engine.targets import GatewayTarget, LogTarget, Target
from replay.engine.template import TargetTemplate, read_template
from replay.engine.template_target import TemplateQuestions, TemplateTarget
from replay.measure.live import GatewayQuestions, LiveAsker
from replay.measure.live import Questions as AskedQuestions
from replay.measure.tally import Tally
from replay.measure.visible import VisibleWatcher

_NO_LIMIT = 10_000

Asking = Callable[[AskedQuestions], AskedQuestions]


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
    asking: Asking = lambda questions: questions,
) -> Tally:
    """Play this share of the sessions (all of them). `start` is the perf_counter() and `start_ms` the epoch time at
    which the schedule begins; `options.run` names the run. `asking` may put itself around the questions. Raises
    ImportFormatError where the recording turns out to be damaged.
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
    try:
        async with opened(options, settings, asking) as with_:
            player = Player(with_.target, limits=with_.limits, asker=with_.asker)
            if with_.watcher is not None:
                with_.watcher.elapsed_s = player.elapsed_s
            on_progress = None if progress is None else lambda now: progress(_with_answers(now, with_.asker))
            played = await player.play(plan, progress=on_progress, stop=stop, start=start)
    except BaseExceptionGroup as group:  # tasks were under way when the recording turned out to be damaged
        if (error := said_in(group)) is None:
            raise
        raise error from group
    return _tally(options, played, with_)


@asynccontextmanager
async def opened(options: PlayOptions, settings: ServiceSettings, asking: Asking) -> AsyncIterator[_Opened]:
    """Open the target, the asker when questions are wanted, and the watcher; the first two share their connections."""
    async with AsyncExitStack() as stack:
        key = options.key if options.template is None else ""
        http = HttpClient(options.url, connections=options.limits.connections, attempt_s=options.attempt_s, key=key)
        await stack.enter_async_context(http)
        template = read_template(options.template) if options.template is not None else None
        limits = options.limits
        if template is not None and not template.takes_batches:
            limits = replace(limits, batch=1)
        target = await _target(options, settings, http, template, stack)
        asker = _asker(options, http, template, asking)
        watcher = None
        if options.watch > 0:
            target = watcher = await _watcher(options, target, template, stack)
        yield _Opened(target, limits, asker, watcher)


async def _target(
    options: PlayOptions,
    settings: ServiceSettings,
    http: HttpClient,
    template: TargetTemplate | None,
    stack: AsyncExitStack,
) -> Target:
    if options.into is Into.LOG:
        writer = open_async_writer(settings.log, settings.redis)
        stack.push_async_callback(writer.close)
        return LogTarget(writer, give_up_s=options.give_up_s)
    if template is not None:
        return TemplateTarget(http, template, give_up_s=options.give_up_s)
    return GatewayTarget(http, give_up_s=options.give_up_s)


def _asker(options: PlayOptions, http: HttpClient, template: TargetTemplate | None, asking: Asking) -> LiveAsker | None:
    asked = options.questions
    if asked is None:
        return None
    questions: AskedQuestions = (
        GatewayQuestions(http, placements=asked.placements, limit=asked.limit, explain=asked.explain)
        if template is None
        else TemplateQuestions(http, template, placements=asked.placements, limit=asked.limit)
    )
    return LiveAsker(http, asking(questions), share=asked.share, when=asked.when)


async def _watcher(
    options: PlayOptions, target: Target, template: TargetTemplate | None, stack: AsyncExitStack
) -> VisibleWatcher:
    if template is not None:
        raise SettingsError("click to visible is watched on a gateway only: leave --watch out")
    watching = HttpClient(options.url, connections=_NO_LIMIT, attempt_s=options.attempt_s, key=options.key)
    await stack.enter_async_context(watching)
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    return VisibleWatcher(target, watching, tasks, share=options.watch)


def _with_answers(now: Snapshot, asker: LiveAsker | None) -> Snapshot:
    if asker is None:
        return now
    return replace(now, questions=asker.asked.followed, hits=asker.asked.hits)


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
