"""What to play, where to, how fast, and what to ask meanwhile: one record that also travels to worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from replay.engine.choices import Ask, Into, SeenItems, Times
from replay.engine.clone import Clones
from replay.engine.pacer import Pace, TimesFaster
from replay.engine.play import Limits


@dataclass(frozen=True, slots=True)
class Questions:
    """Ask for recommendations before a `share` of the clicks, or (`when`) on a share of the pages. `placements` maps
    the type of the event that opened the page to a placement, `*` for all others. `prime` is the log that the model was
    trained on; with `baselines` they answer the same questions afterwards. With `explain` a gateway names what its
    rules dropped.
    """

    share: float = 1.0
    limit: int = 20
    placements: Mapping[str, str] = field(default_factory=lambda: {"*": "homepage"})
    prime: Path | None = None
    seen_items: SeenItems = SeenItems.HIDDEN
    baselines: bool = True
    explain: bool = False
    when: Ask = Ask.CLICK


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """What to play, where to, and how fast. `into` LOG takes the log that the settings name; `template` describes a
    target that is no gateway of ours. `watch` is the share of requests whose click to visible is measured. `answers` is
    a file to write every answer into (see `heard`). `key` is the gateway's API key; another target is not sent it.
    """

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
    clones: Clones = field(default_factory=Clones)
    workers: int = 1
    watch: float = 0.0
    template: Path | None = None
    answers: Path | None = None
    key: str = field(default="", repr=False)
