"""The live hit rate beside baselines: worked out after a run, from the same recording and on the same questions.

Baselines learn test-then-train, click by click, in recorded time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from evaluation.baselines import HOUR_MS, Baseline, CoVisitation, Popularity, RecentPopularity
from evaluation.metrics import NextItemTally, rank_in, wilson_interval
from eventlog.files import read_raw
from replay.engine.choices import GATEWAY, SeenItems
from replay.engine.schedule import clicked_item

KS = (10, 20)
Progress = Callable[[int, int], None]
"""Called with the number of events gone through, and how many there are."""
_MISSED = 0


@dataclass(frozen=True, slots=True)
class HitRates:
    """Tallies by population and model. Populations: `all clicks`, `not yet seen in the session`, and, with a training
    log, `items new since training`. `repeats` of the questions named an item that the session had clicked before.
    """

    questions: int
    repeats: int
    tallies: dict[str, dict[str, NextItemTally]]

    def as_json(self) -> dict[str, Any]:
        """Return the metrics of every tally, with the 95% interval of the hit rate at 20."""
        return {
            "questions": self.questions,
            "repeats": self.repeats,
            "by_population": {
                population: {
                    model: {**tally.summary(), "hit_rate@20_interval": wilson_interval(tally.hits[20], tally.cases)}
                    for model, tally in by_model.items()
                }
                for population, by_model in self.tallies.items()
            },
        }


ALL, FRESH, NEW = "all clicks", "not yet seen in the session", "items new since training"


def default_baselines() -> list[Baseline]:
    """Return the baselines, with the half-lives that did best on a day of news clicks (docs/replay.md)."""
    return [Popularity(), RecentPopularity(HOUR_MS / 4), CoVisitation(2 * HOUR_MS, fill_half_life_ms=HOUR_MS / 4)]


def score(
    recording: Path,
    ranks: dict[int, int],
    baselines: Sequence[Baseline],
    *,
    prime: Path | None = None,
    seen_items: SeenItems = SeenItems.HIDDEN,
    limit: int = 20,
    copies: int = 1,
    progress: Progress = lambda done, whole: None,
) -> HitRates:
    """Let the baselines answer the questions in `ranks` (place in the schedule to the gateway's rank).

    The place is the one in the recording, times `copies` when visitors were cloned, plus the copy's number.

    They learn `prime` first, as the model did, then the recording click by click. With HIDDEN they
    leave out what the session has clicked, as the gateway does.
    """
    known = _learn_all(prime, baselines) if prime is not None else None
    scoring = _Scoring(baselines, known, seen_items is SeenItems.HIDDEN, limit)
    whole = max(ranks, default=-1) // copies + 1
    for index, raw in enumerate(islice(read_raw(recording), whole)):
        if index % 2000 == 0:
            progress(index, whole)
        click = orjson.loads(raw)
        item = clicked_item(click)
        if item is not None:
            places = range(index * copies, (index + 1) * copies)
            found = [rank for place in places if (rank := ranks.get(place)) is not None]
            scoring.take(click["session_id"], item, click["ts"], found)
    progress(whole, whole)
    return HitRates(scoring.tallies[ALL][GATEWAY].cases, scoring.repeats, scoring.tallies)


class _Scoring:
    """Goes through the recording once: each question to every baseline, then the click to learn from."""

    def __init__(self, baselines: Sequence[Baseline], known: set[str] | None, hides: bool, limit: int) -> None:
        self._baselines, self._known, self._hides, self._limit = baselines, known, hides, limit
        self._clicked: dict[str, list[str]] = {}
        names = (GATEWAY, *(baseline.name for baseline in baselines))
        populations = (ALL, FRESH) if known is None else (ALL, FRESH, NEW)
        self.tallies = {population: {name: NextItemTally(KS) for name in names} for population in populations}
        self.repeats = 0

    def take(self, session_id: str, item: str, ts_ms: int, ranks: Sequence[int]) -> None:
        """Count the gateway's ranks of one recorded click, one a copy that was asked; baselines answer each alike."""
        clicked = self._clicked.setdefault(session_id, [])
        if ranks:
            self.repeats += len(ranks) * (item in clicked)
            predicted = [
                (one.name, rank_in(item, self._predict(one, clicked, ts_ms)) or _MISSED) for one in self._baselines
            ]
            for rank in ranks:
                for name, at in ((GATEWAY, rank), *predicted):
                    self._count(name, item, clicked, at)
        for baseline in self._baselines:
            baseline.learn(session_id, item, ts_ms)
        clicked.append(item)

    def _predict(self, baseline: Baseline, clicked: list[str], ts_ms: int) -> list[str]:
        hidden = set(clicked) if self._hides else set()
        predicted = baseline.predict(clicked, ts_ms, self._limit + len(hidden))
        return [item for item in predicted if item not in hidden][: self._limit]

    def _count(self, model: str, item: str, clicked: list[str], rank: int) -> None:
        self.tallies[ALL][model].add(rank)
        if item not in clicked:
            self.tallies[FRESH][model].add(rank)
        if self._known is not None and item not in self._known:
            self.tallies[NEW][model].add(rank)


def _learn_all(prime: Path, baselines: Iterable[Baseline]) -> set[str]:
    known: set[str] = set()
    for raw in read_raw(prime):
        click = orjson.loads(raw)
        item = clicked_item(click)
        if item is not None:
            known.add(item)
            for baseline in baselines:
                baseline.learn(click["session_id"], item, click["ts"])
    return known
