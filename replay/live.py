"""The live hit rate: before a visitor's click is sent, ask for recommendations, and see whether it is among them.

The gateway is asked while the run goes on. What it is compared with is worked out afterwards, from the same recording
and on the same questions: baselines that learn test-then-train, click by click, in recorded time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson

from evaluation.baselines import HOUR_MS, Baseline, CoVisitation, Popularity, RecentPopularity
from evaluation.metrics import NextItemTally, rank_in, wilson_interval
from eventlog.files import read_raw
from replay.choices import GATEWAY, SeenItems
from replay.schedule import Planned, clicked_item
from replay.timings import Percentiles, Timings

KS = (10, 20)
Progress = Callable[[int, int], None]
"""Told the number of events gone through, and how many there are."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_MISSED = 0


@dataclass(slots=True)
class Asked:
    """What the gateway answered. `ranks` maps an event's place in the recording to the rank of its item, 0 for none."""

    ranks: dict[int, int] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    stages_us: dict[str, array[int]] = field(default_factory=dict)
    degraded: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    short: int = 0
    hits: int = 0

    @property
    def questions(self) -> int:
        return len(self.ranks)


class LiveAsker:
    """Asks `POST /api/recommendations/{placement}` with the session's last token. A question is asked once: an error
    counts as a miss, as it does for a visitor.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, *, share: float = 1.0, limit: int = 20, placement: str = "homepage"
    ) -> None:
        """`share` (0 to 1) of the clicks is asked about: the same ones in every run of a recording."""
        self._http, self._url = http, f"{url.rstrip('/')}/api/recommendations/{placement}"
        self._below, self._limit = round(share * (_MASK + 1)), limit
        self.asked = Asked()

    def wants(self, planned: Planned) -> bool:
        """Tell whether to ask before this event: a sampled one that names an item."""
        return clicked_item(planned.fields) is not None and (planned.index * _GOLDEN & _MASK) < self._below

    async def ask(self, planned: Planned, after: str | None, elapsed_s: Callable[[], float]) -> None:
        """Ask, and note the rank of the event's item in the answer."""
        question: dict[str, Any] = {"session_id": planned.session_id, "limit": self._limit}
        if after is not None:
            question["after"] = after
        sent_s = elapsed_s()
        answer = await self._answer(question)
        self.asked.timings.add(planned.offset_s, sent_s, elapsed_s())
        self._note(planned, answer)

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any] | None:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.post(self._url, data=orjson.dumps(question), headers=headers) as response:
                raw = await response.read()
                if response.status != 200:
                    self.asked.errors[f"status {response.status}"] += 1
                    return None
                answer = orjson.loads(raw)
                return answer if isinstance(answer, dict) else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.asked.errors[type(error).__name__] += 1
            return None

    def _note(self, planned: Planned, answer: dict[str, Any] | None) -> None:
        asked = self.asked
        asked.ranks[planned.index] = _MISSED
        if answer is None:
            return
        try:
            shown = [one["product_id"] for one in answer["recommendations"]]
            degraded, model, stages_us = answer["degraded"], answer["model_version"], answer["timings_us"]
        except (KeyError, TypeError):
            asked.errors["unreadable answer"] += 1
            return
        rank = rank_in(clicked_item(planned.fields), shown) or _MISSED
        asked.ranks[planned.index] = rank
        asked.hits += rank > 0
        asked.short += len(shown) < self._limit
        asked.stale += bool(answer.get("stale"))
        asked.degraded.update(degraded)
        asked.models[model] += 1
        for stage, took_us in stages_us.items():
            if stage not in asked.stages_us:
                asked.stages_us[stage] = array("q")
            asked.stages_us[stage].append(took_us)


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
    progress: Progress = lambda done, whole: None,
) -> HitRates:
    """Let the baselines answer the questions in `ranks` (place in the recording to the gateway's rank).

    They learn `prime` first, as the model did, then the recording click by click. With HIDDEN they
    leave out what the session has clicked, as the gateway does.
    """
    known = _learn_all(prime, baselines) if prime is not None else None
    scoring = _Scoring(baselines, known, seen_items is SeenItems.HIDDEN, limit)
    whole = max(ranks, default=-1) + 1
    for index, raw in enumerate(islice(read_raw(recording), whole)):
        if index % 2000 == 0:
            progress(index, whole)
        click = orjson.loads(raw)
        item = clicked_item(click)
        if item is not None:
            scoring.take(click["session_id"], item, click["ts"], ranks.get(index))
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

    def take(self, session_id: str, item: str, ts_ms: int, rank: int | None) -> None:
        clicked = self._clicked.setdefault(session_id, [])
        if rank is not None:
            self._count(GATEWAY, item, clicked, rank)
            self.repeats += item in clicked
            for baseline in self._baselines:
                self._count(baseline.name, item, clicked, rank_in(item, self._predict(baseline, clicked, ts_ms)))
        for baseline in self._baselines:
            baseline.learn(session_id, item, ts_ms)
        clicked.append(item)

    def _predict(self, baseline: Baseline, clicked: list[str], ts_ms: int) -> list[str]:
        hidden = set(clicked) if self._hides else set()
        predicted = baseline.predict(clicked, ts_ms, self._limit + len(hidden))
        return [item for item in predicted if item not in hidden][: self._limit]

    def _count(self, model: str, item: str, clicked: list[str], rank: int | None) -> None:
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


def stage_percentiles(asked: Asked) -> dict[str, Percentiles]:
    """Return each stage's time as the gateway told it, ms."""
    return {stage: Percentiles.of(np.array(took_us) / 1000.0) for stage, took_us in asked.stages_us.items()}
