"""The whole pipeline as a next-item model: trained on sessions, frozen at their end, asked for prefixes of later ones.

It composes what serves (`retrieval.candidates`, `rerank.features`, `rerank.ranker`, by way of `learning.replay`) and
what `evaluation` measures. Nothing here ranks by itself. The rules of a page are left out: every item may
be an answer, the session's own too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.events import INTEREST, Event, EventCode
from contracts.ids import item_key
from contracts.items import Item
from contracts.sessions import CLICK, Session
from contracts.settings import SessionSettings
from evaluation.item_rules import ItemRules
from evaluation.metrics import hit_rate
from evaluation.next_item import Answers, ranks_of
from evaluation.sessions import Cases, Click, Said, Sessions, cases_of, from_clicks
from eventlog.files import read_events
from learning.ablation import Ablation
from learning.replay import RankingGroup, Towers, TrainingReplay
from learning.training import Progress, Span, Step, TrainedReranker, learn_from, replay_of
from learning.training_settings import RerankTrainingSettings
from rerank import features
from rerank.context import visitor_in, with_visitors
from rerank.features import NO_PARTS, Parts
from rerank.order import positions_by_score, retrieval_scores
from rerank.query import PipelineSettings, Query
from rerank.ranker import Ranker
from rerank.session_vector import contexts_of
from retrieval.ann_index import AnnIndex
from retrieval.candidates import Candidates, Contexts, gather
from retrieval.serving_state import ServingState
from retrieval.sources import SOURCES
from session_model.encoder import GATE_ROWS, SessionEncoder

_BATCH = 64
_WORDS = {EventCode.VIEW: "view", EventCode.CART: "cart", EventCode.PURCHASE: "purchase"}
HALF_LIVES_H = (3.0, 12.0, 48.0, 192.0, 768.0, 24_576.0)
"""Half-lives that `choose_half_life` tries, in hours: from news to nothing forgotten in a year."""


def read_log(paths: Sequence[Path], rules: SessionSettings, *, with_context: bool = False) -> Sessions:
    """Read the sessions of recorded event logs, `with_context` with the device and the region that each click names."""
    place: dict[str, int] = {}
    said: dict[Said, int] | None = {} if with_context else None
    clicks = [click for path in paths for click in _clicks(path, place, said)]
    return from_clicks(tuple(place), clicks, idle_gap_ms=rules.idle_gap_ms, said=tuple(said or ()))


def read_logs(
    train: Path, test: Path, rules: SessionSettings, *, with_context: bool = False
) -> tuple[Sessions, Sessions]:
    """As `read_log`, of two event logs with one list of items."""
    place: dict[str, int] = {}
    told: dict[Said, int] | None = {} if with_context else None
    sides = [list(_clicks(path, place, told)) for path in (train, test)]
    said = tuple(told or ())
    learnt, later = (from_clicks(tuple(place), clicks, idle_gap_ms=rules.idle_gap_ms, said=said) for clicks in sides)
    return learnt, later


def _clicks(path: Path, place: dict[str, int], said: dict[Said, int] | None = None) -> Iterator[Click]:
    for event in read_events(path):
        code = event.code
        if event.item_id is not None and code in INTEREST:
            row = int(GATE_ROWS[code])
            at = 0
            if said is not None:
                context = event.context or {}
                at = said.setdefault((_text(context.get("device")), _text(context.get("region"))), len(said))
            yield Click(event.session_id, place.setdefault(event.item_id, len(place)), event.ts, row, at)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def events_of(sessions: Sessions) -> Iterator[Event]:
    """Yield the sessions' clicks as events, in time order."""
    owners = sessions.owners.tolist()
    items, times, codes = sessions.items.tolist(), sessions.ts_ms.tolist(), sessions.codes.tolist()
    for at in np.argsort(sessions.ts_ms, kind="stable").tolist():
        yield Event.model_construct(
            v=1,
            event_id=f"e{at}",
            type=_WORDS[codes[at]],
            session_id=f"s{owners[at]}",
            item_id=sessions.item_ids[items[at]],
            ts=times[at],
            context=sessions.context_of(at),
        )


def choose_half_life(train: Sessions, *, share: float = 0.1, most_cases: int = 5000) -> timedelta:
    """Return the half-life under which co-visitation told the last `share` of the sessions best from those before."""
    cut = int(len(train) * (1.0 - share))
    earlier, later = train.part(0, cut), cases_of(train.part(cut, len(train)))
    later = later.sample(most_cases, np.random.default_rng(0))
    found = {}
    for hours in HALF_LIVES_H:
        rules = ItemRules.co_visitation(earlier, half_life_ms=hours * 3_600_000)
        found[hours] = hit_rate(ranks_of(rules.answer(later, 20), later.targets), 20)
    return timedelta(hours=max(found, key=lambda hours: found[hours]))


@dataclass(slots=True)
class Recall:
    """How often the target was among the candidates, by source. Mutable: `count` adds."""

    cases: int = 0
    candidates: int = 0
    hits: dict[str, int] = field(default_factory=dict)

    def count(self, brought: dict[str, NDArray[np.bool_]], is_target: NDArray[np.bool_], cases: int) -> None:
        self.cases += cases
        self.candidates += len(is_target)
        for name, by_source in brought.items():
            self.hits[name] = self.hits.get(name, 0) + int(np.count_nonzero(by_source & is_target))

    def shares(self) -> dict[str, float]:
        return {name: hits / max(1, self.cases) for name, hits in self.hits.items()}


def brought_by(candidates: Candidates) -> dict[str, NDArray[np.bool_]]:
    """Return which candidates each source knows, and all of them."""
    known = {source.name: source.knows(candidates) for source in SOURCES if source.settings}
    return {**known, "any": np.ones(len(candidates), np.bool_)}


@dataclass(frozen=True, slots=True)
class Frozen:
    """What serves, as it stood at one moment: nothing is learnt from what is asked."""

    item_ids: tuple[str, ...]
    state: ServingState
    encoder: SessionEncoder | None
    ranker: Ranker | None
    settings: PipelineSettings
    session: SessionSettings
    parts: Parts
    now_ms: int
    places: NDArray[np.int32]
    """The place in `item_ids` of every catalogue row."""
    keys: NDArray[np.uint64]
    """The ItemKey of every place."""
    ablation: Ablation

    @classmethod
    def of(
        cls,
        replay: TrainingReplay,
        towers: Towers,
        item_ids: tuple[str, ...],
        items: dict[str, Item],
        ranker: Ranker | None,
        *,
        exact_up_to: int | None = None,
        ablation: Ablation | None = None,
    ) -> Frozen:
        """Freeze the columns of a replay, with items embedded by the session model that will be asked."""
        fresh = TrainingReplay(towers, replay.session, replay.pipeline, replay.rules, replay.refresh_events)
        rows = range(replay.catalogue.count)
        names = [replay.catalogue.item_ids[row] for row in rows]
        created = replay.catalogue.created_ms[: replay.catalogue.count].tolist()
        fresh.add_items(
            [
                (name, items.get(name, replay.catalogue.documents[row]), ms)
                for row, name, ms in zip(rows, names, created, strict=True)
            ]
        )
        index = fresh.index
        if exact_up_to is not None:
            index = AnnIndex(fresh.catalogue, exact_up_to=exact_up_to)
            index.rebuild()
        place = {name: at for at, name in enumerate(item_ids)}
        places = np.array([place.get(name, -1) for name in names], np.int32)
        keys = np.fromiter(map(item_key, item_ids), np.uint64, len(item_ids))
        now_ms = replay.watermark_ms
        return cls(
            item_ids,
            ServingState(fresh.catalogue, index, replay.trends, replay.ended),
            towers.encoder,
            ranker,
            replay.pipeline,
            replay.session,
            NO_PARTS if ranker is None else ranker.parts,
            now_ms,
            places,
            keys,
            ablation or Ablation(),
        )

    def contexts(self, cases: Cases) -> Contexts:
        """Return what the prefixes of cases know."""
        queries = []
        for begin, end in zip(cases.begins.tolist(), cases.ends.tolist(), strict=True):
            clicks = slice(max(begin, end - self.session.max_events), end)
            window = np.zeros(clicks.stop - clicks.start, CLICK)
            window["ts_ms"], window["code"] = cases.ts_ms[clicks], cases.codes[clicks]
            window["item"] = self.keys[cases.items[clicks]]
            visitor = visitor_in(cases.context_of(end - 1))
            queries.append(Query(self.now_ms, session=_session(window), **visitor))
        return with_visitors(contexts_of(queries, self.state.catalogue, self.encoder), queries, self.parts)

    def answer(self, cases: Cases, k: int, *, recall: Recall | None = None) -> Answers:
        """Answer as the pipeline ranks: candidates, features, trees. Without a ranker in the order of retrieval."""
        return _batched(cases, lambda some: self._rank(some, k, recall))

    def nearest(self, cases: Cases, k: int) -> Answers:
        """Answer with the items nearest to the session's vector, as the index finds them."""

        def search(some: Cases) -> Answers:
            contexts = self.contexts(some)
            rows, _ = self.state.index.search(contexts.queries, k)
            return np.where((rows >= 0) & contexts.has_query[:, None], self.places[rows], np.int32(-1))

        return _batched(cases, search)

    def _rank(self, cases: Cases, k: int, recall: Recall | None) -> Answers:
        contexts = self.contexts(cases)
        candidates = gather(contexts, self.state, self.settings)
        if self.ranker is None:
            scores = retrieval_scores(candidates, contexts, self.state)
        else:
            state = self.state
            rows = features.compute(contexts, candidates, state, self.parts)
            scores = self.ranker.rank_scores(self.ablation.apply(rows))
        places = self.places[candidates.rows]
        if recall is not None:
            recall.count(brought_by(candidates), places == cases.targets[candidates.request], len(cases))
        order = positions_by_score(candidates, scores)
        rank = np.arange(len(order)) - candidates.starts[candidates.request[order]]
        first = rank < k
        found = np.full((len(cases), k), -1, np.int32)
        found[candidates.request[order[first]], rank[first]] = places[order[first]]
        return found


@dataclass(frozen=True, slots=True)
class Fold:
    """Sessions that a re-ranker learns from: those from `begin` (a place in the list of sessions) to the next fold's,
    with the `towers` that were trained on what came before them.
    """

    begin: int
    towers: Towers


def replay_and_learn(
    train: Sessions,
    folds: Sequence[Fold],
    items: dict[str, Item],
    settings: RerankTrainingSettings,
    out: Path,
    *,
    seed: int,
    frozen: bool = False,
    ablation: Ablation | None = None,
    progress: Progress = lambda step: None,
) -> tuple[TrainingReplay, TrainedReranker]:
    """Replay sessions through what serves and train a re-ranker on those of the folds, oldest first: forward chaining
    (rolling origins, as in Tashman 2000), so that no row comes from towers that were trained on it. Returns the replay
    at its end, and what training made.

    `frozen`: a fold's sessions are asked for with the counts and the clock of the moment before the first of them.
    Right where later sessions will be asked for like that, because a re-ranker that learnt from fresher counts would
    trust them too much; wrong for a stream, whose counts are seconds old.
    """
    replay = replay_of(folds[0].towers, settings, repeats=settings.repeats, frozen=frozen)
    if items:
        replay.add_items([(item_id, item, int(train.ts_ms.min())) for item_id, item in items.items()])
    begins = [int(np.count_nonzero(train.ts_ms < train.ts_ms[train.starts[fold.begin]])) for fold in folds]
    span = Span.between(len(train.items), begins[0], settings)

    def is_asked(number: int, event: Event) -> bool:
        return span.asks(number, event, seed)

    replayed = fold_by_fold(replay, events_of(train), [fold.towers for fold in folds], [*begins, span.total], is_asked)
    left = ablation or Ablation()
    groups = (replace(group, rows=left.apply(group.rows)) for group in _watched(replayed, span, progress))
    trained = learn_from(groups, span, replay, out, settings, seed=seed, progress=progress)
    replay.resume_learning()
    return replay, trained


def fold_by_fold(
    replay: TrainingReplay,
    events: Iterator[Event],
    towers: Sequence[Towers],
    bounds: Sequence[int],
    is_asked: Callable[[int, Event], bool],
) -> Iterator[RankingGroup]:
    """Yield the groups of every fold: its `towers` are asked, and its events lie between two `bounds` (one more than
    folds). Between folds the replay counts what it has not counted yet, and the next fold's towers take over.
    """
    begun = 0
    for own, (begin, end) in zip(towers, pairwise(bounds), strict=True):
        if begun:
            replay.adopt(own)
            replay.resume_learning()
        yield from replay.groups(islice(events, end - begun), is_asked, asked_from=begin, begun=begun)
        begun = end


def _watched(groups: Iterator[RankingGroup], span: Span, progress: Progress) -> Iterator[RankingGroup]:
    for group in groups:
        progress(Step("replay", group.number, span.total))
        yield group


def _batched(cases: Cases, answer: Callable[[Cases], Answers]) -> Answers:
    parts = [answer(cases.pick(np.arange(at, min(at + _BATCH, len(cases))))) for at in range(0, len(cases), _BATCH)]
    return np.concatenate(parts)


def _session(window: NDArray[np.void]) -> Session:
    return Session(
        session_id="asked",
        user_id=None,
        started_ms=int(window["ts_ms"][0]),
        last_ms=int(window["ts_ms"][-1]),
        events=len(window),
        last_offset=-1,
        window=window,
        embedding=np.zeros(0, np.float32),
        model_version=0,
    )
