"""Session windows by the rules of `session_model.window`, an event at a time, and their states in plain arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event
from contracts.ids import event_key, item_key
from replay.reference.log import LoggedEvent
from session_model.encoder import GATE_ROWS
from session_model.window import Outcome, WindowRules

Vector = NDArray[np.float64]
VectorOf = Callable[[int], "Vector | None"]
"""Returns an item's vector by its key, None where it has none."""


class WindowClick(NamedTuple):
    """One click of a window. Windows are ordered by (ts_ms, event)."""

    ts_ms: int
    event: int
    item: int
    code: int


@dataclass(slots=True)
class PlainSession:
    """What a session's view must say: see `contracts.sessions.Session`."""

    started_ms: int
    last_ms: int
    user_id: str | None = None
    events: int = 0
    last_offset: int = -1
    window: list[WindowClick] = field(default_factory=list)


@dataclass(slots=True)
class PlainSessions:
    """All sessions of a log, by id; what became of its clicks, by partition; and each partition's newest click."""

    rules: WindowRules
    sessions: dict[str, PlainSession] = field(default_factory=dict)
    outcomes: dict[int, Counter[Outcome]] = field(default_factory=dict)
    newest_ms: dict[int, int] = field(default_factory=dict)

    def read(self, clicks: Iterable[tuple[LoggedEvent, Event]]) -> None:
        """Take clicks, each partition's in the order of its log. None is ahead of the clock."""
        for logged, event in clicks:
            outcome = self._take(logged, event)
            self.outcomes.setdefault(logged.partition, Counter())[outcome] += 1
            self.newest_ms[logged.partition] = max(self.newest_ms.get(logged.partition, 0), event.ts)

    def _take(self, logged: LoggedEvent, event: Event) -> Outcome:
        watermark_ms, gap_ms = self.newest_ms.get(logged.partition, 0), self.rules.idle_gap_ms
        if event.ts < watermark_ms - gap_ms:
            return Outcome.LATE
        session = self.sessions.get(event.session_id)
        if session is None or max(watermark_ms, event.ts) > session.last_ms + gap_ms:
            session = self.sessions[event.session_id] = PlainSession(event.ts, event.ts)
        click = _click_of(event)
        if any(one.event == click.event for one in session.window):
            return Outcome.DUPLICATE
        if len(session.window) == self.rules.max_events and click < session.window[0]:
            return Outcome.LATE
        session.window = sorted([*session.window, click])[-self.rules.max_events :]
        session.user_id = event.user_id or session.user_id
        session.last_ms = max(session.last_ms, event.ts)
        session.last_offset = max(session.last_offset, logged.offset)
        session.events += 1
        return Outcome.APPLIED


def _click_of(event: Event) -> WindowClick:
    assert event.item_id is not None
    return WindowClick(event.ts, event_key(event.event_id), item_key(event.item_id), int(event.code))


def plain_state(window: Iterable[WindowClick], weights: Mapping[str, NDArray[Any]], vector_of: VectorOf) -> Vector:
    """Return the encoder's state (width,) after a window's clicks, in double precision, by the formulas at the head of
    `session_model.encoder` and `session_model.memory`. `weights` are the arrays of the artifact.
    """
    mean = np.zeros(len(weights["gate_bias"]))  # (d,)
    memory = np.zeros(weights["memory_out"].shape[1]) if "memory_out" in weights else None  # (r,)
    for click in window:
        vector = vector_of(click.item)
        code = int(GATE_ROWS[click.code])
        if vector is None or not code:
            continue
        gate = _sigmoid(weights["gate_weight"] @ vector + weights["gate_bias"] + weights["gate_shift"][code])
        mean = mean + gate * (vector - mean)
        if memory is not None:
            memory = _remembered(memory, vector, code, weights)
    return mean if memory is None else np.concatenate([mean, memory])


def _remembered(memory: Vector, vector: Vector, code: int, weights: Mapping[str, NDArray[Any]]) -> Vector:
    size = len(memory)
    told = weights["memory_input"] @ vector + weights["memory_code"][code]  # (3r,)
    kept = weights["memory_weight"] @ memory + weights["memory_bias"]  # (3r,)
    reset, update = _sigmoid(told[:size] + kept[:size]), _sigmoid((told + kept)[size : 2 * size])
    news = np.tanh(told[2 * size :] + reset * kept[2 * size :])
    return np.asarray(news + update * (memory - news))


def _sigmoid(logits: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))
