"""Pages of scenarios on recorded traffic: each is asked at the same moments of a replay, and nothing is published.

A first reading of the recording picks the clicks to ask for; a second replays it (`learning.replay`), and asks each
scenario for a page just before each of them. Columns, models and pipeline are those that serve.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.api import Placement
from contracts.errors import SettingsError
from contracts.events import Event, EventCode
from contracts.ids import item_key
from contracts.items import Item
from evaluation.pages import Places
from eventlog.files import read_events
from learning.replay import Moment, Towers, TrainingReplay
from learning.stages import Stages
from learning.training_settings import RerankTrainingSettings
from rerank.context import visitor_in
from rerank.pipeline import Pipeline
from rerank.query import Query
from rerank.ranker import Ranker
from rerank.scenarios.compiled import Compiled
from retrieval.catalogue import CatalogueColumns
from retrieval.trends import TrendRules

LEAST_REFRESH: Final = 32
"""Events between two updates of the columns, at least: seconds of traffic, as the flows' own delay."""
MOST_REFRESHES: Final = 2000
"""Updates of the columns in one replay, at most: a long recording is brought up to date less often."""
_TOLD_EVERY: Final = 1000


@dataclass(frozen=True, slots=True)
class Asking:
    """What to ask. The first `warm_up` share of the events is only learnt from; `limit` is the length of a page."""

    events: Path
    items: Mapping[str, Item]
    scenarios: Sequence[Compiled]
    towers: Towers
    ranker: Ranker | None
    settings: RerankTrainingSettings
    questions: int
    limit: int
    warm_up: float
    seed: int
    rankers: Callable[[str], Ranker | None] | None = None
    """Finds the re-rankers that scenarios name."""


@dataclass(frozen=True, slots=True)
class AskedPages:
    """Pages of each scenario, in the order asked, for the same c questions. Items are rows of the catalogue."""

    catalogue: CatalogueColumns
    pages: tuple[Places, ...]
    """(c, k) of each scenario."""
    queries: tuple[tuple[Query, ...], ...]
    """(c,) of each scenario."""
    session: NDArray[np.int64]
    """(c,) which visit a question is of."""
    target: NDArray[np.int32]
    """(c,) the item clicked next."""
    later: Places
    """(c, w) what the visit clicked from then on, each item once."""
    bought: Places
    """(c, w) what it bought from then on, each item once."""
    clicks: NDArray[np.int64]
    """(n,) clicks of each item in the part that was only learnt from."""


def ask(asking: Asking, stages: Stages) -> AskedPages:
    """Ask every scenario. Raises SettingsError where nothing can be asked."""
    for scenario in asking.scenarios:
        if scenario.placement is Placement.SEARCH:
            raise SettingsError(
                f"expected a scenario that finds its own items, got {scenario.name!r}: it re-ranks what a search "
                "engine found, which a recording does not tell"
            )
    gap_ms = asking.settings.session.idle_gap_ms
    with stages.stage("reading") as shown:
        scan = _Scan(asking.warm_up, gap_ms)
        scan.read(asking.events, shown.show)
    chosen = _drawn(scan.next_clicks(), asking.questions, asking.seed)
    if not len(chosen):
        raise SettingsError(
            f"{asking.events}: expected visits of two clicks or more behind the first {asking.warm_up:.0%} of the "
            f"events, got none among {scan.total:,} events: give a longer recording, or a smaller --warm-up"
        )
    replay = _replay(asking, scan)
    later = _Later(frozenset(chosen.tolist()), gap_ms)
    answers = _Answers(asking, replay)
    with stages.stage("asking") as shown:
        events = _watched(read_events(asking.events), scan, later, shown.show)
        for moments in replay.moments(events, lambda number, event: number in later.chosen, scan.asked_from):
            answers.ask(moments)
    return _laid_out(answers, later, scan, replay.catalogue)


class _Scan:
    """The first reading: which events continue a visit, and what was clicked before asking begins. Mutable."""

    def __init__(self, warm_up: float, gap_ms: int) -> None:
        self.total, self.began_ms, self.asked_from = 0, 0, 0
        self.clicks: Counter[str] = Counter()
        self._warm_up, self._gap_ms = warm_up, gap_ms
        self._continuing: list[int] = []

    def read(self, path: Path, progress: Callable[[int], None]) -> None:
        last: dict[str, tuple[int, str | None]] = {}
        clicked: list[str | None] = []
        for number, event in enumerate(read_events(path)):
            self.began_ms = event.ts if not number else min(self.began_ms, event.ts)
            item = None if event.is_impression else event.item_id
            clicked.append(item)
            if item is not None:
                before = last.get(event.session_id)
                if before is not None and event.ts - before[0] <= self._gap_ms and before[1] != item:
                    self._continuing.append(number)
                last[event.session_id] = event.ts, item
            if number % _TOLD_EVERY == 0:
                progress(number)
        self.total = len(clicked)
        self.asked_from = max(1, int(self.total * self._warm_up))
        self.clicks.update(item for item in clicked[: self.asked_from] if item is not None)

    def next_clicks(self) -> NDArray[np.int64]:
        """Return the numbers of the events that may be asked for."""
        found = np.array(self._continuing, np.int64)
        return found[found >= self.asked_from]


def _drawn(numbers: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most so many of the numbers, drawn by seed, ascending."""
    if len(numbers) <= most:
        return numbers
    return np.sort(np.random.default_rng(seed).choice(numbers, most, replace=False))


def _replay(asking: Asking, scan: _Scan) -> TrainingReplay:
    settings = asking.settings
    refresh = max(LEAST_REFRESH, (scan.total - scan.asked_from) // MOST_REFRESHES)
    rules = TrendRules.of(settings.trend)
    replay = TrainingReplay(asking.towers, settings.session, settings.pipeline, rules, refresh, stocked=True)
    if asking.items:
        replay.add_items([(item_id, item, scan.began_ms) for item_id, item in asking.items.items()])
    return replay


@dataclass(slots=True)
class _Wanted:
    """What a visit did from a question on. Mutable."""

    target: str
    clicked: dict[str, None]
    bought: dict[str, None]


class _Later:
    """What visits did after the questions asked of them. Mutable: `see` takes events in time order."""

    def __init__(self, chosen: frozenset[int], gap_ms: int) -> None:
        self.chosen = chosen
        self.wanted: dict[int, _Wanted] = {}
        self._gap_ms = gap_ms
        self._open: dict[str, tuple[int, list[_Wanted]]] = {}

    def see(self, number: int, event: Event) -> None:
        if event.is_impression or event.item_id is None:
            return
        last_ms, questions = self._open.get(event.session_id, (event.ts, []))
        if event.ts - last_ms > self._gap_ms:
            questions = []
        if number in self.chosen:
            self.wanted[number] = _Wanted(event.item_id, {}, {})
            questions.append(self.wanted[number])
        for one in questions:
            one.clicked.setdefault(event.item_id)
            if event.code is EventCode.PURCHASE:
                one.bought.setdefault(event.item_id)
        if questions:
            self._open[event.session_id] = event.ts, questions


def _watched(
    events: Iterator[Event], scan: _Scan, later: _Later, progress: Callable[[int, int], None]
) -> Iterator[Event]:
    for number, event in enumerate(events):
        later.see(number, event)
        if number % _TOLD_EVERY == 0:
            progress(number, scan.total)
        yield event


class _Answers:
    """Every scenario's pages as they come. Mutable. Each has a pipeline of its own: chance is the same for all."""

    def __init__(self, asking: Asking, replay: TrainingReplay) -> None:
        self._asking, self._catalogue = asking, replay.catalogue
        self._pipelines = [
            Pipeline(
                replay.state,
                asking.towers.encoder,
                asking.ranker,
                asking.settings.pipeline,
                random=np.random.default_rng(asking.seed),
                rankers=asking.rankers,
            )
            for _ in asking.scenarios
        ]
        self.moments: list[Moment] = []
        self.queries: list[list[Query]] = [[] for _ in asking.scenarios]
        self.pages: list[list[list[str]]] = [[] for _ in asking.scenarios]

    def ask(self, moments: list[Moment]) -> None:
        self.moments += moments
        for at, scenario in enumerate(self._asking.scenarios):
            queries = [self._query(scenario, moment) for moment in moments]
            answers = self._pipelines[at].recommend(queries)
            self.queries[at] += queries
            self.pages[at] += [[item.item_id for item in answer.items] for answer in answers]

    def _query(self, scenario: Compiled, moment: Moment) -> Query:
        context = moment.event.context or {}
        region = context.get("region")
        return Query(
            now_ms=moment.now_ms,
            placement=scenario.placement,
            session=moment.before,
            item_id=self._page_item(moment) if scenario.placement is Placement.PRODUCT else None,
            limit=self._asking.limit,
            region=region if isinstance(region, str) else None,
            context=context,
            **visitor_in(context),
            scenario=None if scenario.is_plain else scenario,
        )

    def _page_item(self, moment: Moment) -> str | None:
        """Return the item that a product page would show: the last one of the visit."""
        assert moment.before is not None  # arrivals are not asked for
        row = int(self._catalogue.rows_of(moment.before.window["item"][-1:])[0])
        return self._catalogue.item_ids[row] if row >= 0 else None


def _laid_out(answers: _Answers, later: _Later, scan: _Scan, catalogue: CatalogueColumns) -> AskedPages:
    wanted = [later.wanted[moment.number] for moment in answers.moments]
    if not wanted:
        raise SettingsError("expected clicks that continue a visit, got none: give a longer recording")
    visits: dict[tuple[str, int], int] = {}
    begun = [(one.event.session_id, one.before.started_ms) for one in answers.moments if one.before is not None]
    session = [visits.setdefault(visit, len(visits)) for visit in begun]
    clicks = np.zeros(catalogue.count, np.int64)
    known = _rows(catalogue, list(scan.clicks))
    clicks[known[known >= 0]] = np.array(list(scan.clicks.values()), np.int64)[known >= 0]
    return AskedPages(
        catalogue=catalogue,
        pages=tuple(_table(catalogue, pages) for pages in answers.pages),
        queries=tuple(tuple(queries) for queries in answers.queries),
        session=np.array(session, np.int64),
        target=_rows(catalogue, [one.target for one in wanted]),
        later=_table(catalogue, [list(one.clicked) for one in wanted]),
        bought=_table(catalogue, [list(one.bought) for one in wanted]),
        clicks=clicks,
    )


def _rows(catalogue: CatalogueColumns, item_ids: Sequence[str]) -> NDArray[np.int32]:
    return catalogue.rows_of(np.fromiter(map(item_key, item_ids), np.uint64, len(item_ids)))


def _table(catalogue: CatalogueColumns, lists: Sequence[Sequence[str]]) -> Places:
    """Return lists of item ids as rows, (c, longest), -1 behind the end of each."""
    table = np.full((len(lists), max(map(len, lists), default=0) or 1), -1, np.int32)
    flat = _rows(catalogue, [item_id for one in lists for item_id in one])
    begin = 0
    for at, one in enumerate(lists):
        table[at, : len(one)] = flat[begin : begin + len(one)]
        begin += len(one)
    return table
