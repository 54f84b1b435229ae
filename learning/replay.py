"""Replays a recorded log through the serving pipeline, in time order, and builds training groups of next clicks.

Columns, candidates and features are those that serve. A group is computed before its click is counted, from columns
that were brought up to date before it. So a row knows nothing of its future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from contracts.codec import decode_showings, encode_showings
from contracts.events import INTEREST, Event
from contracts.ids import event_key, item_key
from contracts.items import UNLIMITED_STOCK, CatalogueRow, Item
from contracts.sessions import Session
from contracts.settings import SessionSettings
from learning.context import ContextCounts
from rerank import features
from rerank.context import visitor_in, with_visitors
from rerank.features import NO_PARTS, Parts
from rerank.order import retrieval_scores
from rerank.query import PipelineSettings, Query
from rerank.session_vector import contexts_of
from retrieval.ann_index import AnnIndex
from retrieval.candidates import Candidates, Contexts, gather
from retrieval.catalogue import CatalogueColumns
from retrieval.open_sessions import OpenSessions, TrendEvent
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from retrieval.showings import ShowingCounts, by_shard
from retrieval.trend_columns import TrendColumns
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import TrendRules
from session_model.encoder import SessionEncoder
from session_model.item_tower import ItemTower
from session_model.window import Arrival, Outcome, WindowRules, click_of, fold

Float32s = NDArray[np.float32]
Answer = TypeVar("Answer")

_BATCH = 64
_SWEEP_EVERY = 20_000
_EXACT_UP_TO = 200_000
NEW_MS = 3_600_000
"""An item is new until this long after its first click."""


@dataclass(frozen=True, slots=True)
class Towers:
    """The session model that serves. Without one, both are None."""

    encoder: SessionEncoder | None = None
    tower: ItemTower | None = None

    @property
    def version(self) -> int:
        return self.encoder.version if self.encoder is not None else 0


@dataclass(frozen=True, slots=True)
class RankingGroup:
    """One next click, and the candidates of the moment before it."""

    number: int
    """The click's place in the log."""
    event: int
    """Its EventKey."""
    rows: Float32s
    """(c, f) features."""
    target: int
    """Position of the clicked item among the candidates; -1 when it is not one of them."""
    retrieval: Float32s
    """(c,) scores in retrieval order."""
    new: bool = False
    """Whether the clicked item is younger than `NEW_MS`."""


@dataclass(frozen=True, slots=True)
class AskedBatch:
    """Next clicks that were asked together: their contexts, candidates and features at the moment before them."""

    numbers: list[int]
    events: list[Event]
    contexts: Contexts
    candidates: Candidates
    rows: Float32s
    """(c, f) features."""
    keys: NDArray[np.uint64]
    """(b,) ItemKey of each clicked item."""
    wanted: NDArray[np.int32]
    """(b,) catalogue row of each clicked item, -1 if it was not in the catalogue yet."""
    new: NDArray[np.bool_]
    """(b,) whether the clicked item is in the catalogue and younger than `NEW_MS`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A next click that is asked for, and what is known just before it: columns as they stand, and the session."""

    number: int
    """The click's place in the log."""
    event: Event
    before: Session | None
    """None: a visitor who arrives."""
    now_ms: int
    """When it is asked: never earlier than the columns were brought up to date."""


@dataclass(slots=True)
class TrainingReplay:
    """Sessions, counters and columns at one moment of the replay. Mutable.

    Every event is folded into its session's window, as the sessions flow does, and counted, as the trends flow does
    (`retrieval.open_sessions`). The columns are brought up to date every `refresh_events` events, which stands for the
    delay of the flows. An item that `add_items` did not put into the catalogue is created bare at its first click.

    A click on the item clicked just before is a next click only where `repeats` is set, because no page recommends the
    item that it shows. With `frozen`, counting stops once clicks are asked, until `resume_learning`. With `stocked`
    items have the stock that they say, all the time; else all of them are never out of stock. With `arrivals` a
    session's first click is asked for too, as of a visitor without a session.

    `parts` are the features of the context that rows have beside FEATURES: those of the ranker that is asked. With
    `learns` they are those of these names that the events before the first question have, settled at that moment;
    `left_out` says what is missing for the others.
    """

    towers: Towers
    session: SessionSettings
    pipeline: PipelineSettings
    rules: TrendRules
    refresh_events: int
    repeats: bool = False
    frozen: bool = False
    stocked: bool = False
    arrivals: bool = False
    parts: Parts = NO_PARTS
    learns: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    catalogue: CatalogueColumns = field(init=False)
    index: AnnIndex = field(init=False)
    trends: TrendColumns = field(init=False)
    ended: SessionColumns = field(init=False)
    _open: OpenSessions = field(init=False)
    _uncounted: list[tuple[str, TrendEvent]] = field(default_factory=list)
    _counts: TrendCounts = field(init=False)
    _showings: ShowingCounts = field(init=False)
    _new_items: dict[str, int] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _sessions: dict[str, Session] = field(default_factory=dict)
    _next_towers: Towers | None = None
    _context: ContextCounts | None = None
    _asked: list[tuple[int, Event, Session | None]] = field(default_factory=list)
    _is_frozen: bool = False
    _watermark_ms: int = 0
    _newest_ms: int = 0
    _refreshed_ms: int = 0

    def __post_init__(self) -> None:
        self._open_catalogue()
        self.trends, self.ended = TrendColumns(self.rules), SessionColumns()
        self._open = OpenSessions(self.rules, self.session.idle_gap_ms)
        self._counts, self._showings = TrendCounts(self.rules), ShowingCounts(self.rules.half_life_ms)
        self._context = ContextCounts(self.learns) if self.learns else None

    @property
    def state(self) -> ServingState:
        """What would serve at this moment; another session model brings another one."""
        return ServingState(self.catalogue, self.index, self.trends, self.ended)

    def _open_catalogue(self) -> None:
        encoder = self.towers.encoder
        self.catalogue = CatalogueColumns()
        if encoder is not None:
            self.catalogue.expect(encoder.version, encoder.dim)
        self.index = AnnIndex(self.catalogue, exact_up_to=_EXACT_UP_TO)

    def add_items(self, items: Sequence[tuple[str, Item, int]]) -> None:
        """Put items (id, item, time of creation in ms) into the catalogue."""
        tower = self.towers.tower
        vectors, known = np.zeros((len(items), 0), np.float32), np.zeros(len(items), np.bool_)
        if tower is not None:
            vectors, known = tower.embed([name for name, _, _ in items], [item for _, item, _ in items])
        changes = []
        for (item_id, item, created_ms), vector, is_known in zip(items, vectors, known, strict=True):
            raw = vector.astype("<f4").tobytes() if is_known else b""
            stock = item.stock if self.stocked and item.stock is not None else UNLIMITED_STOCK
            row = CatalogueRow(item_id, item, stock, created_ms, self.towers.version if raw else 0, raw)
            changes.append((item_key(item_id), row))
        self._known.update(name for name, _, _ in items)
        self.index.apply(self.catalogue.apply(changes).reindex)

    def groups(
        self, events: Iterable[Event], is_asked: Callable[[int, Event], bool], asked_from: int, begun: int = 0
    ) -> Iterator[RankingGroup]:
        """Read events in time order and yield a group for every next click that `is_asked` (number, event) selects.

        A next click continues a session. Nothing is asked before event `asked_from`, so the columns are not refreshed
        before it. `begun` is the number of the first event of `events`.
        """
        for asked in self.batches(events, is_asked, asked_from, begun):
            scores = retrieval_scores(asked.candidates, asked.contexts, self.state)
            for at in range(len(asked.events)):
                yield _group(asked, at, scores)

    def batches(
        self, events: Iterable[Event], is_asked: Callable[[int, Event], bool], asked_from: int, begun: int = 0
    ) -> Iterator[AskedBatch]:
        """As `groups`, in the batches in which they are computed."""
        return self._replayed(events, is_asked, asked_from, begun, self._answers)

    def moments(
        self, events: Iterable[Event], is_asked: Callable[[int, Event], bool], asked_from: int, begun: int = 0
    ) -> Iterator[list[Moment]]:
        """As `batches`, with nothing computed: whoever is given them asks `state` before taking the next."""
        return self._replayed(events, is_asked, asked_from, begun, self._moments)

    def _replayed(
        self,
        events: Iterable[Event],
        is_asked: Callable[[int, Event], bool],
        asked_from: int,
        begun: int,
        answers: Callable[[], Iterator[Answer]],
    ) -> Iterator[Answer]:
        self._is_frozen = self.frozen and asked_from <= begun
        if asked_from <= begun:
            self._settle_parts()
        for number, event in enumerate(events, begun):
            if not event.is_impression:
                self._take(number, event, is_asked)
            if self._context is not None:
                self._context.take(event)
            self._uncounted.append((event.session_id, TrendEvent.of(event)))
            self._newest_ms = max(self._newest_ms, event.ts)
            read = number + 1
            if read == asked_from or (read > asked_from and read % self.refresh_events == 0):
                yield from answers()
                self.refresh()
                self._settle_parts()
                self._is_frozen = self.frozen
            if read % _SWEEP_EVERY == 0:
                self._sweep()
        yield from answers()

    def _settle_parts(self) -> None:
        """Let the parts be those that the events so far have; only the first call does anything."""
        if self._context is not None:
            found = self._context.learnable(self.catalogue)
            self.parts, self.left_out, self._context = found.parts, found.left_out, None

    def resume_learning(self) -> None:
        """Count what was read while the replay was frozen, and bring the columns up to date."""
        self._is_frozen = False
        self.refresh()

    def adopt(self, towers: Towers) -> None:
        """Use another session model from the next refresh on, which embeds the whole catalogue again. Counters and
        sessions stay.
        """
        self._next_towers = towers

    def _embed_anew(self, towers: Towers) -> None:
        held = [
            (self.catalogue.item_ids[row], self.catalogue.documents[row], int(self.catalogue.created_ms[row]))
            for row in range(self.catalogue.count)
        ]
        self.towers = towers
        self._open_catalogue()
        self.add_items(held)

    def _take(self, number: int, event: Event, is_asked: Callable[[int, Event], bool]) -> None:
        assert event.item_id is not None
        click = click_of(event)
        before = self._sessions.get(event.session_id)
        window_rules = WindowRules(self.session.max_events, self.session.idle_gap_ms)
        arrival = Arrival(event.session_id, event.user_id, click, number, self._watermark_ms)
        folded = fold(before, [arrival], window_rules)
        self._watermark_ms = max(self._watermark_ms, event.ts)
        if folded.session is None or folded.outcomes != (Outcome.APPLIED,):
            return
        self._sessions[event.session_id] = folded.session
        continues = before is not None and folded.session.events == before.events + 1
        if before is not None and continues:
            is_repeat = before.window["item"][-1] == click[1]
            if (self.repeats or not is_repeat) and event.code in INTEREST and is_asked(number, event):
                self._asked.append((number, event, before))
        elif self.arrivals and folded.session.events == 1 and is_asked(number, event):
            self._asked.append((number, event, None))

    def _count(self) -> None:
        """Count the events read since the last call, as the trends flow does."""
        self._open.take(self._uncounted)
        clicks = self._open.clicks()
        self._counts.apply(updates_of(clicks))
        for click in clicks:
            if click.item_id not in self._known:
                self._new_items.setdefault(click.item_id, click.ts_ms)
        for _, batch in by_shard(self._open.showings()):
            self._showings.count(batch)
        self._uncounted.clear()

    def _answers(self) -> Iterator[AskedBatch]:
        """Yield what was asked for since the last refresh."""
        for begin in range(0, len(self._asked), _BATCH):
            asked = self._asked[begin : begin + _BATCH]
            queries = [
                Query(self._asked_ms(before), session=before, **visitor_in(event.context)) for _, event, before in asked
            ]
            contexts = with_visitors(contexts_of(queries, self.catalogue, self.towers.encoder), queries, self.parts)
            candidates = gather(contexts, self.state, self.pipeline)
            rows = features.compute(contexts, candidates, self.state, self.parts)
            keys = np.array([item_key(event.item_id or "") for _, event, _ in asked], np.uint64)
            wanted = self.catalogue.rows_of(keys)
            created_ms = self.catalogue.created_ms[wanted] if self.catalogue.count else contexts.now_ms
            yield AskedBatch(
                [number for number, _, _ in asked],
                [event for _, event, _ in asked],
                contexts,
                candidates,
                rows,
                keys,
                wanted,
                (wanted >= 0) & (contexts.now_ms - created_ms < NEW_MS),
            )
        self._asked.clear()

    def _moments(self) -> Iterator[list[Moment]]:
        """Yield what was asked for since the last refresh, unanswered."""
        for begin in range(0, len(self._asked), _BATCH):
            asked = self._asked[begin : begin + _BATCH]
            yield [Moment(number, event, before, self._asked_ms(before)) for number, event, before in asked]
        self._asked.clear()

    def _asked_ms(self, before: Session | None) -> int:
        if before is None or self._is_frozen:
            return self._refreshed_ms
        return max(before.last_ms, self._refreshed_ms)

    def session_of(self, session_id: str, now_ms: int) -> Session | None:
        """Return a visitor's session at `now_ms`; None when there is none or the idle gap has ended it."""
        held = self._sessions.get(session_id)
        return held if held is not None and now_ms - held.last_ms <= self.session.idle_gap_ms else None

    def knows(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        return item_id in self._known

    @property
    def watermark_ms(self) -> int:
        """The newest click time read: the watermark of session windows."""
        return self._watermark_ms

    def refresh(self) -> None:
        """Bring the columns up to date. Does nothing while the replay is frozen."""
        if self._is_frozen:
            return
        self._count()
        self._refreshed_ms = self._watermark_ms
        self.add_items([(name, Item.model_construct(title=name), ts_ms) for name, ts_ms in self._new_items.items()])
        self._new_items.clear()
        changed = self._counts.changed_rows(self._watermark_ms)
        self.trends.apply_rows(list(zip(changed.keys.tolist(), changed.encoded(), strict=True)))
        self.trends.apply_showings([(0, decode_showings(encode_showings(self._showings.block())))])
        self._open.close(self._newest_ms)
        self.ended.apply(self._open.ended())
        if self._next_towers is not None:
            self._embed_anew(self._next_towers)
            self._next_towers = None

    def _sweep(self) -> None:
        closed_ms = self._watermark_ms - self.session.idle_gap_ms
        self._sessions = {name: open_ for name, open_ in self._sessions.items() if open_.last_ms >= closed_ms}
        if not self._is_frozen:  # a session may continue in events that are not counted yet
            self._count()
            self._open.close(self._newest_ms)


def _group(asked: AskedBatch, at: int, scores: Float32s) -> RankingGroup:
    starts = asked.candidates.starts
    mine = slice(int(starts[at]), int(starts[at + 1]))
    wanted = asked.wanted[at]
    places = np.flatnonzero((asked.candidates.rows[mine] == wanted) & (wanted >= 0)).tolist()
    target = places[0] if places else -1
    event = event_key(asked.events[at].event_id)
    rows = np.ascontiguousarray(asked.rows[mine])
    return RankingGroup(asked.numbers[at], event, rows, target, scores[mine], bool(asked.new[at]))
