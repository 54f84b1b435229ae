"""Pages that a site showed, ranked again: candidates are an impression's items, the wanted one is what was clicked.

A log is replayed through what serves (`learning.replay`), and a page's features are those of a request that brings its
own candidates; what only the page knows (the place, the price asked) stands beside them. They are computed from columns
that were last brought up to date before the page, so they know nothing of its click.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from contracts.events import INTEREST, Event, tells_of_seen
from contracts.ids import item_key
from contracts.items import Item
from contracts.sessions import Session
from learning.replay import TrainingReplay
from learning.training import boosting
from learning.training_settings import RerankTrainingSettings
from rerank import features
from rerank.features import FEATURES, column
from rerank.query import Query
from rerank.ranker import Ranker
from rerank.session_vector import contexts_of
from retrieval.candidates import Candidates, gather

Float32s = NDArray[np.float32]

PAGE_FEATURES: Final = ("shown_place", "shown_price", "price_place", "price_to_page")
"""What only the page knows of an item: its place, the log of the price asked, that price's place, and how far that log
is from the page's mean.
"""
COLUMNS: Final = (*FEATURES, *PAGE_FEATURES)
PENDING: Final = 100_000
"""Pages kept in mind until a click names them; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class ShownPage:
    """One page that a click came from. `number` is the click's place in the log.

    `rows` (c, len(COLUMNS)) are its items' features; `target` is the clicked one's row, -1 when it was not shown.
    """

    number: int
    session_id: str
    rows: Float32s
    target: int

    @property
    def shown_rank(self) -> int:
        """The clicked item's place in the shown order, from 1; 0 when it was not shown."""
        return int(column(self.rows, "shown_place", COLUMNS)[self.target]) + 1 if self.target >= 0 else 0


@dataclass(frozen=True, slots=True)
class _Click:
    number: int
    event: Event
    session: Session | None
    page: Event


def replay_pages(
    events: Sequence[Event], replay: TrainingReplay, progress: Callable[[int], None] = lambda done: None
) -> Iterator[ShownPage]:
    """Replay events in time order and yield every page that a click names by `request_id`, with its features."""
    pending: OrderedDict[str, Event] = OrderedDict()
    for begin in range(0, len(events), replay.refresh_events):
        clicks: list[_Click] = []
        watched = _watched(events[begin : begin + replay.refresh_events], begin, replay, pending, clicks)
        deque(replay.batches(watched, lambda number, event: False, asked_from=sys.maxsize), maxlen=0)
        for click in clicks:
            yield _page(click, replay)
        replay.refresh()
        progress(begin)


def _watched(
    events: Sequence[Event], first: int, replay: TrainingReplay, pending: OrderedDict[str, Event], clicks: list[_Click]
) -> Iterator[Event]:
    """Yield events to be counted, having looked at the session as it was before each click on a page."""
    for number, event in enumerate(events, start=first):
        if event.is_impression:
            _show(event, replay, pending)
        elif (
            event.code in INTEREST
            and event.request_id is not None
            and (page := pending.get(event.request_id)) is not None
        ):
            clicks.append(_Click(number, event, replay.session_of(event.session_id, event.ts), page))
        yield event


def _show(page: Event, replay: TrainingReplay, pending: OrderedDict[str, Event]) -> None:
    """Keep a page in mind; items that are new come into the catalogue at the price shown."""
    if page.request_id is None or tells_of_seen(page.request_id, page.context):
        return
    pending[page.request_id] = page
    if len(pending) > PENDING:
        pending.popitem(last=False)
    prices = _prices(page)
    new = [
        (name, Item.model_construct(title=name, price=max(float(price), 0.0)), page.ts)
        for name, price in zip(page.items or (), np.nan_to_num(prices).tolist(), strict=True)
        if not replay.knows(name)
    ]
    if new:
        replay.add_items(new)


def _prices(page: Event) -> Float32s:
    """Return the prices that a page asked (n,), as its `prices` say; NaN where it says none."""
    names, told = page.items or (), (page.model_extra or {}).get("prices")
    if not isinstance(told, list) or len(told) != len(names):
        return np.full(len(names), np.nan, np.float32)
    return np.array([price if isinstance(price, int | float) else np.nan for price in told], np.float32)


def _page(click: _Click, replay: TrainingReplay) -> ShownPage:
    """Compute a page's features as a request of its own: what trends at its moment is part of them."""
    keys = np.array([item_key(name) for name in click.page.items or ()], np.uint64)
    shown = replay.catalogue.rows_of(keys)
    query = Query(click.event.ts, session=click.session)
    contexts = contexts_of([query], replay.catalogue, replay.towers.encoder)
    candidates = gather(contexts, replay.state, replay.pipeline, given=[shown])
    rows = features.compute(contexts, candidates, replay.state)
    rows = np.concatenate([rows, _page_features(candidates, _prices(click.page), shown)], axis=1)
    wanted = replay.catalogue.rows_of(np.array([item_key(click.event.item_id or "")], np.uint64))[0]
    places = np.flatnonzero((candidates.rows == wanted) & (wanted >= 0)).tolist()
    return ShownPage(click.number, click.event.session_id, rows, places[0] if places else -1)


def _page_features(candidates: Candidates, prices: Float32s, shown: NDArray[np.int32]) -> Float32s:
    """Return PAGE_FEATURES of a page's candidates, (c, 4); `prices` and `shown` (items,) are in the order shown."""
    _, first = np.unique(shown, return_index=True)  # an item that is shown twice counts where it came first
    price = prices[np.sort(first)][candidates.given_rank.astype(np.intp)]  # (c,)
    told = ~np.isnan(price)
    log_price = np.log1p(price)
    price_place = np.full(len(price), np.nan, np.float32)
    price_place[told] = np.argsort(np.argsort(price[told], kind="stable"), kind="stable")
    by_name = {
        "shown_place": candidates.given_rank,
        "shown_price": log_price,
        "price_place": price_place,
        "price_to_page": log_price - log_price[told].mean() if told.any() else log_price,
    }
    return np.stack([by_name[name] for name in PAGE_FEATURES], axis=1)


def fit(
    learn: Sequence[ShownPage],
    check: Sequence[ShownPage],
    columns: Sequence[str],
    settings: RerankTrainingSettings,
    *,
    seed: int,
) -> Ranker:
    """Return a ranker of `columns` (of COLUMNS) trained on pages, its number of trees decided by other pages.

    Objective, size and pairs are the re-ranker's own. Pages that did not show what was clicked say nothing here.
    """
    booster = xgb.train(
        boosting(settings, seed),
        _matrix(learn, columns, settings.threads),
        settings.trees,
        evals=[(_matrix(check, columns, settings.threads), "check")],
        callbacks=[xgb.callback.EarlyStopping(rounds=settings.patience, save_best=True)],
        verbose_eval=False,
    )
    return Ranker(booster, model_version=0)


def ranks(pages: Sequence[ShownPage], score: Callable[[Float32s], Float32s]) -> NDArray[np.int64]:
    """Return the clicked item's place among each page's items by score (n,), ties against it; 0 if it was not shown."""
    found = np.zeros(len(pages), np.int64)
    for at, page in enumerate(pages):
        if page.target >= 0:
            scores = np.nan_to_num(score(page.rows), nan=-np.inf)
            found[at] = np.count_nonzero(scores >= scores[page.target])
    return found


def picked(ranker: Ranker, columns: Sequence[str]) -> Callable[[Float32s], Float32s]:
    """Return what scores a page's rows by a ranker of some of the columns."""
    places = [COLUMNS.index(name) for name in columns]
    return lambda rows: ranker.rank_scores(np.ascontiguousarray(rows[:, places]))


def _matrix(pages: Sequence[ShownPage], columns: Sequence[str], threads: int) -> xgb.DMatrix:
    usable = [page for page in pages if page.target >= 0]
    sizes = np.array([len(page.rows) for page in usable])
    labels = np.zeros(int(sizes.sum()), np.float32)
    labels[np.cumsum(sizes) - sizes + [page.target for page in usable]] = 1.0
    places = [COLUMNS.index(name) for name in columns]
    rows = np.concatenate([page.rows for page in usable])[:, places]
    matrix = xgb.DMatrix(np.ascontiguousarray(rows), labels, nthread=threads)
    matrix.set_group(sizes)
    return matrix
