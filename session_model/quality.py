"""How well the session model tells the next click, beside co-visitation that learnt from the same sessions.

Every click of the held-out sessions but the first is predicted from those before it, all known items ranked. Both
sides are frozen: neither learns from the held-out sessions. Neither answers with the item clicked last; published
tables do rank it, so the session model is also shown with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from contracts.events import EventCode
from contracts.items import Item
from contracts.sessions import CLICK, Clicks
from contracts.settings import SessionSettings
from evaluation.baselines import CoVisitation
from evaluation.metrics import PLACES, hit_rate, mrr, rank_in, ranks_of_targets
from evaluation.splits import cut_for_last_share
from eventlog.files import read_events
from eventlog.packed import opened_text
from session_model.encoder import SessionEncoder
from session_model.histories import Histories, from_arrays, from_events
from session_model.item_tower import ItemTower

_CHUNK = 512
_BARE = Item.model_construct(title="")


@dataclass(frozen=True, slots=True)
class Quality:
    """One model's figures over `cases` predictions; `new_` counts only targets that the session had not clicked yet."""

    name: str
    cases: int
    hit_rate: float
    mrr: float
    new_cases: int
    new_hit_rate: float
    new_mrr: float


@dataclass(frozen=True, slots=True)
class Case:
    """One prediction: the places of the items clicked so far with their codes, the place of the next one."""

    items: NDArray[np.int32]
    codes: NDArray[np.uint8]
    target: int


RanksOf = Callable[[Sequence[Case]], NDArray[np.int64]]
"""Ranks the targets of cases; 0 where a target is not among the answers."""


def compare(
    learnt: Histories,
    held_out: Histories,
    artifact: Path,
    items: Mapping[str, Item],
    *,
    max_cases: int = 20_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Quality]:
    """Return the figures of the session model and of co-visitation, on at most `max_cases` evenly spread cases.

    `learnt` are the sessions that `artifact` was trained on, with the same `item_ids` as `held_out`. `items` is the
    catalogue, empty when ids are all there is.
    """
    cases, is_new = _spread(held_out, max_cases)
    found: list[Quality] = []
    for name, ranks_of in (
        ("session model", _model_ranks(held_out.item_ids, artifact, items)),
        ("session model, last item too", _model_ranks(held_out.item_ids, artifact, items, with_last=True)),
        ("co-visitation", _co_visitation_ranks(learnt)),
    ):
        ranks = []
        for at in range(0, len(cases), _CHUNK):
            ranks.append(ranks_of(cases[at : at + _CHUNK]))
            progress(len(found) * len(cases) + min(at + _CHUNK, len(cases)), 3 * len(cases))
        found.append(_quality(name, np.concatenate(ranks), is_new))
    return found


def model_quality(
    held_out: Histories, artifact: Path, items: Mapping[str, Item], *, with_last: bool = False, max_cases: int = 20_000
) -> Quality:
    """Return the figures of the session model alone, as `compare` does; `with_last`: the item clicked last may be the
    answer.
    """
    cases, is_new = _spread(held_out, max_cases)
    ranks_of = _model_ranks(held_out.item_ids, artifact, items, with_last=with_last)
    ranks = [ranks_of(cases[at : at + _CHUNK]) for at in range(0, len(cases), _CHUNK)]
    return _quality("session model", np.concatenate(ranks), is_new)


def _spread(held_out: Histories, most: int) -> tuple[list[Case], NDArray[np.bool_]]:
    """Return at most so many evenly spread cases, and which of their targets are new to the session."""
    cases = list(cases_of(held_out))
    cases = [cases[at] for at in np.linspace(0, len(cases) - 1, min(len(cases), most)).astype(int)]
    if not cases:
        raise ValueError("expected held-out sessions of 2 clicks or more, got none")
    return cases, np.array([case.target not in case.items for case in cases], np.bool_)


def cases_of(histories: Histories) -> Iterator[Case]:
    """Yield a case for every click to be predicted."""
    wanted = histories.targets()
    for start, end in zip(histories.starts[:-1].tolist(), histories.starts[1:].tolist(), strict=True):
        for at in range(start + 1, end):
            if wanted[at]:
                yield Case(histories.items[start:at], histories.codes[start:at], int(histories.items[at]))


def learn_co_visitation(histories: Histories) -> CoVisitation:
    """Let co-visitation learn the sessions one after the other."""
    baseline = CoVisitation()
    for session in range(len(histories)):
        for item in histories.items[histories.starts[session] : histories.starts[session + 1]].tolist():
            baseline.learn(str(session), histories.item_ids[item], int(histories.ended_ms[session]))
    return baseline


def read_session_lines(train: Path, test: Path) -> tuple[Histories, Histories]:
    """Read two files of one session a line, item ids between spaces, oldest first; as research data sets come.

    Lines of `train` count as one a minute, oldest first. Raises ImportFormatError for files without sessions.
    """
    columns: list[tuple[int, str]] = []
    lines = 0
    cut = 0
    for path in (train, test):
        cut = lines
        with opened_text(path) as file:
            for line in file:
                columns.extend((lines, item) for item in line.split())
                lines += 1
    if not 0 < cut < lines:
        raise ImportFormatError(f"expected sessions in {train} and {test}, one a line, got {cut} and {lines - cut}")
    item_ids = tuple(dict.fromkeys(item for _, item in columns))
    place = {item: at for at, item in enumerate(item_ids)}
    session = np.array([line for line, _ in columns])
    both = from_arrays(
        item_ids,
        session,
        session * 60_000,
        np.array([place[item] for _, item in columns]),
        np.full(len(columns), EventCode.VIEW, np.uint8),
        idle_gap_ms=1,
        max_clicks=1000,
    )
    first = int(np.searchsorted(both.ended_ms, cut * 60_000))
    return both.pick(np.arange(first)), both.pick(np.arange(first, len(both)))


def read_histories(
    events: Sequence[Path], rules: SessionSettings, *, progress: Callable[[int], None] | None = None
) -> Histories:
    """Read the sessions of recorded event logs."""
    every = chain.from_iterable(read_events(path) for path in events)
    return from_events(every, idle_gap_ms=rules.idle_gap_ms, max_clicks=rules.max_events, progress=progress)


def split_by_time(past: Histories, share: float) -> tuple[Histories, Histories]:
    """Split so that the sessions which ended last hold `share` of the clicks."""
    cut_ms = cut_for_last_share(np.repeat(past.ended_ms, past.lengths), share)
    first = int(np.searchsorted(past.ended_ms, cut_ms))
    return past.pick(np.arange(first)), past.pick(np.arange(first, len(past)))


class VectorColumn:
    """Item vectors by place: keys are places in the list of items."""

    def __init__(self, vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        self.vectors, self.known = vectors, known

    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return self.vectors[keys], self.known[keys]


def _model_ranks(
    item_ids: tuple[str, ...], artifact: Path, items: Mapping[str, Item], *, with_last: bool = False
) -> RanksOf:
    encoder, tower = SessionEncoder.load(artifact), ItemTower.load(artifact)
    vectors, known = tower.embed(item_ids, [items.get(item_id, _BARE) for item_id in item_ids])
    lookup, column = VectorColumn(vectors, known), np.cumsum(known) - 1
    candidates = vectors[known]  # an item without a vector cannot be recommended

    def ranks_of(cases: Sequence[Case]) -> NDArray[np.int64]:
        states, _ = encoder.encode([_window(case) for case in cases], lookup)
        scores = encoder.query(states) @ candidates.T  # (b, known items)
        target = np.array([case.target for case in cases])
        answerable = known[target]
        if not with_last:
            last = np.array([case.items[-1] for case in cases])
            rows = np.flatnonzero(known[last])
            scores[rows, column[last[rows]]] = -np.inf
            answerable = answerable & (target != last)
        return np.where(answerable, ranks_of_targets(scores, np.maximum(column[target], 0)), 0)

    return ranks_of


def _co_visitation_ranks(learnt: Histories) -> RanksOf:
    baseline, ids, now_ms = learn_co_visitation(learnt), learnt.item_ids, int(learnt.ended_ms[-1])

    def rank(case: Case) -> int:
        return (
            rank_in(ids[case.target], baseline.predict([ids[item] for item in case.items.tolist()], now_ms, PLACES))
            or 0
        )

    return lambda cases: np.array([rank(case) for case in cases], np.int64)


def _window(case: Case) -> Clicks:
    window = np.zeros(len(case.items), CLICK)
    window["item"], window["code"] = case.items, case.codes
    return window


def _quality(name: str, ranks: NDArray[np.int64], is_new: NDArray[np.bool_]) -> Quality:
    fresh = ranks[is_new]
    return Quality(
        name,
        len(ranks),
        hit_rate(ranks, PLACES),
        mrr(ranks, PLACES),
        len(fresh),
        hit_rate(fresh, PLACES),
        mrr(fresh, PLACES),
    )
