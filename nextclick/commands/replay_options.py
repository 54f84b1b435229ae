"""The arguments and options of `nextclick replay ...`, said once: each with its help and its bounds.

Those that commands share in whole are records, which `option_groups.spread` makes options of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nextclick.stack.settings import gateway_url
from replay.engine.choices import Ask, ExportTo, Into, SeenItems, Times

Recording = Annotated[Path, typer.Argument(help="An event-log file (.jsonl.zst).")]
Url = Annotated[
    str,
    typer.Option(
        default_factory=gateway_url,
        show_default="as NEXTCLICK_STACK__HOST and __PORT say",
        help="A running gateway, or the target that --target describes.",
    ),
]
Target = Annotated[Path | None, typer.Option(help="A template (.toml, .json) of another recommender.")]
IntoWhat = Annotated[Into, typer.Option("--into", help="The gateway, or the log that the settings name.")]

Speed = Annotated[float | None, typer.Option(min=1e-6, help="How many times as fast as it was recorded; left out: 1.")]
Rate = Annotated[float | None, typer.Option(min=1e-6, help="Instead of --speed: events a second, evenly.")]
EvenRate = Annotated[float, typer.Option(min=1e-6, help="Events a second.")]
Ramp = Annotated[str, typer.Option(help="Instead: from one rate to another, such as 100..5000@60s.")]
Peaks = Annotated[
    list[str] | None, typer.Option("--peak", help="Times as much from a moment on for a while: 10x@00:30+00:10.")
]
CurveFile = Annotated[Path | None, typer.Option("--curve", help="A file of time,multiplier lines, instead of --peak.")]
Copies = Annotated[int, typer.Option("--clone", min=1, help="So many visitors for each recorded one.")]
CloneSpread = Annotated[float, typer.Option(min=0, help="Recorded seconds in which a clone starts later.")]
Seed = Annotated[int, typer.Option(help="Another one starts the clones at other moments.")]
Events = Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")]

Workers = Annotated[int, typer.Option(min=1, help="Processes that play, each its share of the sessions.")]
Connections = Annotated[int, typer.Option(min=1, help="Requests under way at once, in each worker.")]
Batch = Annotated[int, typer.Option(min=1, help="Events that may share a request when due together.")]
GiveUp = Annotated[float, typer.Option(help="Seconds after which an event that is refused counts as failed.")]

TimesOf = Annotated[Times, typer.Option("--time", help="live: events happen as they are played; or as recorded.")]
Run = Annotated[str, typer.Option(help="Name in front of event and session ids; new for every run.")]
KeepSessions = Annotated[bool, typer.Option("--keep-sessions", help="Leave session ids as recorded.")]

Recommend = Annotated[
    str, typer.Option(help="Ask before this share of the clicks (0 to 1, or all): the live hit rate.")
]
RecommendShare = Annotated[
    float, typer.Option("--recommend", min=0, max=1, help="Ask before this share of the clicks.")
]
AskWhen = Annotated[
    Ask, typer.Option("--ask", help="click: just before the next click; page: on every page that opens.")
]
PlacementOf = Annotated[
    str,
    typer.Option(
        "--placement", help="Where: homepage, by-event, or view=product,cart=cart by the event that opened the page."
    ),
]
Watch = Annotated[float, typer.Option(min=0, max=1, help="Share of requests to time from click to visible.")]
Prime = Annotated[Path | None, typer.Option(help="The log that the model was trained on, for baselines.")]
Seen = Annotated[SeenItems, typer.Option(help="Whether the gateway recommends what the session has clicked.")]

Must = Annotated[str, typer.Option("--assert", help="Exit 1 unless it holds: p99<50ms,errors<0.1%.")]
ResultOut = Annotated[Path | None, typer.Option("--out", "-o", help="Write the result as JSON.")]
AnswersOut = Annotated[
    Path | None, typer.Option("--answers", help="Write every answer (.jsonl.zst), for `replay diff` to compare.")
]
Timings = Annotated[Path | None, typer.Option(help="Write every request's times (.npz).")]

ToTool = Annotated[ExportTo, typer.Option(help="The tool.")]
ExportOut = Annotated[Path, typer.Option("--out", "-o", help="The file to write; k6 data goes beside it (.jsonl).")]


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast to play."""

    speed: Speed = None
    rate: Rate = None


@dataclass(frozen=True, slots=True)
class Paced(Tempo):
    """How fast to play, moment by moment."""

    ramp: Ramp = ""
    peak: Peaks = None
    curve: CurveFile = None


@dataclass(frozen=True, slots=True)
class Cloned:
    """How many visitors there are for each recorded one."""

    clone: Copies = 1
    clone_spread: CloneSpread = 60.0
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Which clicks are asked about, when, and on which page."""

    recommend: Recommend = ""
    ask: AskWhen = Ask.CLICK
    placement: PlacementOf = "homepage"


@dataclass(frozen=True, slots=True)
class AskedBeside(Asked):
    """What is asked, and what the answers are measured beside."""

    prime: Prime = None
    seen_items: Seen = SeenItems.HIDDEN


@dataclass(frozen=True, slots=True)
class Sent:
    """How requests leave."""

    workers: Workers = 1
    connections: Connections = 32
    batch: Batch = 100
    give_up: GiveUp = 30


@dataclass(frozen=True, slots=True)
class Told:
    """What events are called, and when they say that they happened."""

    times: TimesOf = Times.LIVE
    run: Run = ""
    keep_sessions: KeepSessions = False


@dataclass(frozen=True, slots=True)
class Written:
    """What of a run goes on file."""

    out: ResultOut = None
    answers: AnswersOut = None
    timings: Timings = None
