"""The live hit rate: before a visitor's click is sent, ask for recommendations, and see whether it is among them.

The gateway is asked while the run goes on. What it is compared with is worked out afterwards, from the same recording
and on the same questions: baselines that learn test-then-train, click by click, in recorded time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import orjson

from evaluation.baselines import HOUR_MS, Baseline, CoVisitation, Popularity, RecentPopularity
from evaluation.metrics import NextItemTally, rank_in, wilson_interval
from eventlog.files import read_raw
from replay.choices import GATEWAY, SeenItems
from replay.drops import Drops, read_counts
from replay.http_client import HttpClient
from replay.schedule import Page, Planned, clicked_item
from replay.targets import JSON
from replay.timings import Timings

KS = (10, 20)
Progress = Callable[[int, int], None]
"""Told the number of events gone through, and how many there are."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_MISSED = 0
ERROR, DEGRADED, HIT = 1, 2, 4
"""Bits of a question's flags."""


@dataclass(slots=True)
class Asked:
    """What the gateway answered. `ranks` maps an event's place in the recording to the rank of its item, 0 for none.
    `flags` has the bits of every entry of the timings.
    """

    ranks: dict[int, int] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    flags: array[int] = field(default_factory=lambda: array("B"))
    stages_us: dict[str, array[int]] = field(default_factory=dict)
    degraded: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    dropped: Drops = field(default_factory=Drops)
    stale: int = 0
    short: int = 0
    hits: int = 0

    @property
    def questions(self) -> int:
        return len(self.ranks)


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer said: items from the first position on, and what else the target tells of it.

    `reasons` stand beside the items, where the target gives any. `dropped` counts candidates by the rule that dropped
    them, `dropped_items` names them; None when the target does not tell.
    """

    items: Sequence[str]
    degraded: Sequence[str] = ()
    model: str | None = None
    stages_us: Mapping[str, int] = field(default_factory=dict)
    stale: bool = False
    dropped: Mapping[str, int] | None = None
    reasons: Sequence[str] = ()
    dropped_items: Mapping[str, Sequence[str]] | None = None


class UnreadableAnswer(ValueError):
    """An answer of status 200 is not what was expected; says what."""


class Questions(Protocol):
    """How a target is asked for recommendations."""

    limit: int

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        """Return head and body of the request that the page makes on which `planned` is then clicked."""

    def read(self, body: bytes) -> Shown:
        """Read an answer of status 200. Raises ValueError, KeyError or TypeError for what is none."""


def placement_of(page: Page, placements: Mapping[str, str]) -> str:
    """Return where a page's recommendations stand, by the type of the event that opened it; `*` is all others."""
    return placements.get(page.type) or placements.get("*", "homepage")


class GatewayQuestions:
    """`POST /api/recommendations/{placement}`, with the session's last token. `placements` maps the type of the event
    that opened the page to a placement, `*` standing for all others; a product page names its item. With `explain`
    answers name what rules dropped.
    """

    def __init__(
        self, http: HttpClient, *, placements: Mapping[str, str] | None = None, limit: int = 20, explain: bool = False
    ) -> None:
        self.limit = limit
        self._more: dict[str, Any] = {"explain": True} if explain else {}
        self._placements = dict(placements or {"*": "homepage"})
        self._heads = {
            placement: http.head("POST", f"/api/recommendations/{placement}", JSON)
            for placement in {"homepage", *self._placements.values()}
        }

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        placement = placement_of(page, self._placements)
        question: dict[str, Any] = {"session_id": planned.session_id, "limit": self.limit, **self._more}
        if page.token is not None:
            question["after"] = page.token
        if placement == "product" and page.item_id is not None:
            question["item_id"] = page.item_id
        return self._heads[placement], orjson.dumps(question)

    def read(self, body: bytes) -> Shown:
        answer = orjson.loads(body)
        recommended = answer["recommendations"]
        return Shown(
            items=[one["product_id"] for one in recommended],
            degraded=answer["degraded"],
            model=answer["model_version"],
            stages_us=answer["timings_us"],
            stale=bool(answer.get("stale")),
            dropped=read_counts(answer["dropped"]) if "dropped" in answer else None,
            reasons=[str(one.get("reason") or "") for one in recommended] if self._more else (),
            dropped_items=answer.get("dropped_items"),
        )


class LiveAsker:
    """Asks for recommendations before a share of the clicks. A question is asked once: an error counts as a miss, as
    it does for a visitor.
    """

    def __init__(self, http: HttpClient, questions: Questions, *, share: float = 1.0) -> None:
        """`share` (0 to 1) of the clicks is asked about: the same ones in every run of a recording."""
        self._http, self._questions = http, questions
        self._below = round(share * (_MASK + 1))
        self.asked = Asked()

    def wants(self, planned: Planned) -> bool:
        """Tell whether to ask before this event: a sampled one that names an item."""
        return clicked_item(planned.fields) is not None and (planned.index * _GOLDEN & _MASK) < self._below

    async def ask(self, planned: Planned, page: Page, elapsed_s: Callable[[], float]) -> None:
        """Ask, and note the rank of the event's item in the answer."""
        head, body = self._questions.request(planned, page)
        sent_s = elapsed_s()
        shown = await self._answer(head, body)
        self.asked.timings.add(planned.offset_s, sent_s, elapsed_s())
        self._note(planned, shown)

    async def _answer(self, head: bytes, body: bytes) -> Shown | None:
        try:
            answer = await self._http.request(head, body)
            if answer.status == 200:
                return self._questions.read(answer.body)
            self.asked.errors[f"status {answer.status}"] += 1
        except OSError as error:
            self.asked.errors[type(error).__name__] += 1
        except UnreadableAnswer as error:
            self.asked.errors[str(error)] += 1
        except (ValueError, KeyError, TypeError, AttributeError):
            self.asked.errors["unreadable answer"] += 1
        return None

    def _note(self, planned: Planned, shown: Shown | None) -> None:
        asked = self.asked
        if shown is None:
            asked.ranks[planned.index] = _MISSED
            asked.flags.append(ERROR)
            return
        rank = rank_in(clicked_item(planned.fields), shown.items) or _MISSED
        asked.ranks[planned.index] = rank
        asked.flags.append((HIT if rank else 0) | (DEGRADED if shown.degraded else 0))
        asked.hits += rank > 0
        asked.short += len(shown.items) < self._questions.limit
        asked.stale += shown.stale
        asked.degraded.update(shown.degraded)
        if shown.dropped is not None:
            asked.dropped.add(shown.dropped)
        if shown.model is not None:
            asked.models[shown.model] += 1
        for stage, took_us in shown.stages_us.items():
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
