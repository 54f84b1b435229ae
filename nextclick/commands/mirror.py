"""`nextclick mirror`: this deployment's log, copied into another's as it grows."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

Target = Annotated[
    Path,
    typer.Argument(metavar="TARGET", help="TOML file with the groups redis and log of the deployment that is written."),
]
Documents = Annotated[
    float, typer.Option(min=1.0, help="Seconds between copies of scenarios, experiments, API keys, refusals and users.")
]
_STALE_S = 5.0
"""A look at the original that is older is said to be."""

Once = Annotated[bool, typer.Option("--once", help="Stop when what is there is copied.")]


End = Annotated[
    bool, typer.Option("--end", help="Copy nothing: the target is no copy any more, and no old mirror writes it again.")
]
Again = Annotated[bool, typer.Option("--again", help="Go on with a mirror that was ended (--end) by mistake.")]


def mirror(
    target: Target, documents_every: Documents = 60.0, once: Once = False, end: End = False, again: Again = False
) -> None:
    """Copy the log into another deployment's, and what people wrote: for a second region, or from Redis to Kafka."""
    from contracts.exits import or_exit
    from contracts.logs import log_as
    from contracts.observed import serve_metrics
    from contracts.settings import ServiceSettings
    from contracts.stopping import stopping_on_signals
    from eventlog.mirror_mark import MirrorMark
    from eventlog.mirror_settings import target_of
    from eventlog.mirror_targets import name_of, open_target
    from eventlog.mirroring import LogMirror
    from nextclick.stack.mirror_figures import FIGURES, DocumentCopier, tell

    log_as("mirror")
    settings = or_exit(ServiceSettings)
    source = settings.log, settings.redis
    log, redis = target_of(target, *source)
    mark = MirrorMark(redis)
    if end:
        typer.echo(f"Redis at {redis.place} was the copy of {mark.end()}, and is a deployment of its own now")
        return
    if again:
        mark.again(name_of(*source))
    or_exit(partial(serve_metrics, "mirror", settings.metrics, FIGURES))
    stopping = stopping_on_signals()
    copying = LogMirror(source, partial(open_target, log, redis, name_of(*source)))
    line, documents = _Line(), DocumentCopier(settings.redis, redis, documents_every)

    def told() -> None:
        mark.look()
        if copying.seen_s is not None:
            documents.look(time.monotonic())
        tell(copying, documents)
        line.say(copying)

    told()
    try:
        copying.run(stopping, until_copied=once, told=told)
    finally:
        mark.stopped()
    line.say(copying, last=True)


class _Line:
    """What is copied and what is before us, each ten seconds."""

    def __init__(self) -> None:
        self._next_s, self._began_s = time.monotonic(), time.monotonic()

    def say(self, copying: Any, *, last: bool = False) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s and not last:
            return
        self._next_s = now_s + 10.0
        counts = [one.copied for one in copying.topics.values()]
        records, behind = sum(one.records for one in counts), sum(one.behind for one in counts)
        trimmed = sum(one.trimmed for one in counts)
        lost = f", {trimmed:,} were trimmed before they were read" if trimmed else ""
        rate = records / max(now_s - self._began_s, 0.001)
        told = _behind(behind, copying.seen_s, now_s)
        typer.echo(f"copied {records:,} records, {rate:,.0f} a second; {told}{lost}", err=True)


def _behind(records: int, seen_s: float | None, now_s: float) -> str:
    """Return how far the copy is behind; of an original that does not answer only that of the last look is known."""
    if seen_s is None:
        return "the original was not seen yet"
    ago_s = now_s - seen_s
    if ago_s < _STALE_S:
        return f"{records:,} behind"
    return f"{records:,} behind when the original was last seen, {ago_s:,.0f} s ago"
