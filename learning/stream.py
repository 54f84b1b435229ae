"""Test-then-train over a recorded log: every next click is predicted from the state so far, then learned.

The pipeline is `learning.replay`, whose columns are brought up to date every `refresh_events`, as the flows would; the
baselines learn click by click. Items of the session are left out of every answer and are not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from contracts.events import INTEREST, Event
from contracts.ids import event_key
from evaluation.baselines import Baseline
from evaluation.metrics import rank_in
from learning.ablation import Ablation
from learning.replay import AskedBatch, Towers, TrainingReplay
from rerank.order import retrieval_scores
from rerank.ranker import Ranker

HOUR_MS = 3_600_000
STREAM_PLACES = 10
ENCODER, PIPELINE, RETRIEVAL = "session encoder", "full pipeline", "retrieval order"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """`from_ms` to `to_ms` is asked for, half open; what is before, `asked_from` events, is learned only. `new_for_ms`:
    an item counts as new for so long after its first click. `share` of the clicks is asked for, drawn by `seed` and the
    event's own key; all of them are learned.
    """

    asked_from: int
    from_ms: int
    to_ms: int
    new_for_ms: int = HOUR_MS
    share: float = 1.0
    seed: int = 1

    def asks(self, event: Event) -> bool:
        """Say whether to ask for a click."""
        if event.ts < self.from_ms:
            return False
        return self.share >= 1 or event_key(f"{self.seed}:{event.event_id}") < self.share * 2.0**64


@dataclass(slots=True)
class StreamFound:
    """What came of it, one entry a case. Mutable: filled while the log is read."""

    hours: list[int] = field(default_factory=list)
    """Whole hours since the log began."""
    new: list[bool] = field(default_factory=list)
    ranks: dict[str, list[int]] = field(default_factory=dict)
    """By model; 0 where the target was not among the answers."""

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, NDArray[np.int64]]]:
        ranks = {name: np.array(values, np.int64) for name, values in self.ranks.items()}
        return np.array(self.hours, np.int64), np.array(self.new, np.bool_), ranks


@dataclass(frozen=True, slots=True)
class Model:
    """What answers from a moment on."""

    from_ms: int
    towers: Towers
    ranker: Ranker | None


def stream(
    events: Iterable[Event],
    replay: TrainingReplay,
    models: Iterator[Model],
    baselines: Sequence[Baseline],
    options: StreamOptions,
    *,
    ablation: Ablation | None = None,
    progress: Progress = lambda done: None,
) -> StreamFound:
    """Read the log once through a fresh `replay`. `models` is read one by one, each when its time comes: a model may be
    trained at that moment, on the events before it.
    """
    found = StreamFound()
    run = _Run(replay, models, baselines, options, found, ablation or Ablation())
    ahead, behind = tee(events)
    batches = replay.batches(run.watched(ahead, progress), run.asks, options.asked_from)
    reader = enumerate(behind)
    for asked in batches:
        run.answer(asked, reader)
    return found


class _Run:
    """One pass over a log. Mutable."""

    def __init__(
        self,
        replay: TrainingReplay,
        models: Iterator[Model],
        baselines: Sequence[Baseline],
        options: StreamOptions,
        found: StreamFound,
        ablation: Ablation,
    ) -> None:
        self._replay, self._models, self._baselines = replay, models, baselines
        self._options, self._found, self._ablation = options, found, ablation
        self._next = next(models, None)
        self._ranker: Ranker | None = None
        self._first_ms: dict[str, int] = {}
        self._windows: dict[str, list[str]] = {}
        self._began_ms = -1
        for name in (*(baseline.name for baseline in baselines), ENCODER, RETRIEVAL, PIPELINE):
            found.ranks[name] = []

    def watched(self, events: Iterable[Event], progress: Progress) -> Iterator[Event]:
        for number, event in enumerate(events):
            if event.ts >= self._options.to_ms:
                return
            if self._next is not None and event.ts >= self._next.from_ms:
                self._replay.adopt(self._next.towers)
                self._ranker = self._next.ranker
                self._next = next(self._models, None)
            if number % 1000 == 0:
                progress(number)
            yield event

    def asks(self, number: int, event: Event) -> bool:
        return self._options.asks(event)

    def answer(self, asked: AskedBatch, reader: Iterator[tuple[int, Event]]) -> None:
        """Rank one batch by every model. The baselines read on up to its last click."""
        fresh = ~(asked.contexts.keys == asked.keys[:, None]).any(axis=1)  # (b,)
        wanted = {number: at for at, number in enumerate(asked.numbers) if fresh[at]}
        ranks = self._pipeline_ranks(asked)
        ranks[ENCODER] = self._encoder_ranks(asked)
        last = asked.numbers[-1]
        for number, event in reader:
            if event.item_id is not None and event.code in INTEREST:
                self._began_ms = event.ts if self._began_ms < 0 else self._began_ms
                first_ms = self._first_ms.setdefault(event.item_id, event.ts)
                window = self._windows.setdefault(event.session_id, [])
                at = wanted.get(number)
                if at is not None:
                    self._found.hours.append((event.ts - self._began_ms) // HOUR_MS)
                    self._found.new.append(event.ts - first_ms < self._options.new_for_ms)
                    for name, places in ranks.items():
                        self._found.ranks[name].append(int(places[at]))
                    for baseline in self._baselines:
                        self._found.ranks[baseline.name].append(_baseline_rank(baseline, event, window))
                for baseline in self._baselines:
                    baseline.learn(event.session_id, event.item_id, event.ts)
                window.append(event.item_id)
            if number == last:
                return

    def _pipeline_ranks(self, asked: AskedBatch) -> dict[str, NDArray[np.int64]]:
        candidates = asked.candidates
        hidden = (asked.contexts.rows[candidates.request] == candidates.rows[:, None]).any(axis=1)  # (c,)
        in_order = retrieval_scores(candidates, asked.contexts, self._replay.state)
        scored = {RETRIEVAL: in_order}
        scored[PIPELINE] = (
            in_order if self._ranker is None else self._ranker.rank_scores(self._ablation.apply(asked.rows))
        )
        target = candidates.rows == asked.wanted[candidates.request]
        return {
            name: _ranks(scores, target, hidden, candidates.request, len(asked.events))
            for name, scores in scored.items()
        }

    def _encoder_ranks(self, asked: AskedBatch) -> NDArray[np.int64]:
        seen = asked.contexts.rows  # (b, w)
        k = STREAM_PLACES + seen.shape[1]
        if not len(self._replay.index) or not asked.contexts.has_query.any():
            return np.zeros(len(asked.events), np.int64)
        rows, _ = self._replay.index.search(asked.contexts.queries, k)  # (b, k)
        left = (rows[:, :, None] != seen[:, None, :]).all(axis=2) & (rows >= 0)  # (b, k)
        is_target = (rows == asked.wanted[:, None]) & left
        place = np.cumsum(left, axis=1)
        ranks = np.where(is_target, place, 0).max(axis=1)
        return np.where(asked.contexts.has_query, ranks, 0).astype(np.int64)


def _ranks(
    scores: NDArray[np.float32],
    target: NDArray[np.bool_],
    hidden: NDArray[np.bool_],
    request: NDArray[np.int32],
    count: int,
) -> NDArray[np.int64]:
    """Return each request's place of its target among what is not hidden, ties against it; 0 where it is not there."""
    own = np.full(count, np.inf, np.float32)
    at = np.flatnonzero(target & ~hidden)
    own[request[at]] = scores[at]
    above = (scores >= own[request]) & ~hidden
    return np.bincount(request[above], minlength=count)[:count]


def _baseline_rank(baseline: Baseline, event: Event, window: list[str]) -> int:
    seen = set(window)
    answer = [item for item in baseline.predict(window, event.ts, STREAM_PLACES + len(seen)) if item not in seen]
    return rank_in(event.item_id, answer[:STREAM_PLACES]) or 0
