"""What is known of visitors at given moments, as columns: the one input of every user model, in training and after it.

Only visits that ended before the visit began, and the clicks before the moment, are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from contracts.items import Item
from contracts.sessions import CLICK, Clicks
from evaluation.sessions import Longs
from learning.replay import Towers
from learning.users.settings import UserSettings
from learning.users.visits import ARRIVAL, Moments, Visits
from session_model.encoder import SessionEncoder
from session_model.quality import VectorColumn

Float32s = NDArray[np.float32]
DAY_MS = 86_400_000
FACTS = 5
"""Columns of `Known.facts`."""
_BARE = Item.model_construct(title="")


@dataclass(frozen=True, slots=True)
class Known:
    """c moments, n items, vectors of d numbers.

    `users` (c,) are visitors' numbers. `history` (c, n), sparse: decayed clicks of earlier visits. `session` (c, n),
    sparse: clicks of this visit so far. `profile` (c, d): decayed mean of the earlier visits' query vectors; `query`
    (c, d): this visit's; both unit, zeros where there is none. `facts` (c, FACTS).
    """

    users: Longs
    history: csr_matrix
    session: csr_matrix
    profile: Float32s
    query: Float32s
    facts: Float32s

    def __len__(self) -> int:
        return len(self.users)

    @property
    def both(self) -> csr_matrix:
        """(c, n) clicks of earlier visits and of this one."""
        return (self.history + self.session).tocsr()

    def part(self, which: slice | NDArray[np.intp]) -> Known:
        return Known(
            self.users[which],
            self.history[which],
            self.session[which],
            self.profile[which],
            self.query[which],
            self.facts[which],
        )


class Knowing:
    """Tells what is known at moments of a recording, by one session model. `vectors` (n, d) are its items'."""

    def __init__(self, visits: Visits, towers: Towers, items: Mapping[str, Item], settings: UserSettings) -> None:
        if towers.encoder is None or towers.tower is None:
            raise ValueError("expected a session model, got none: user models live in its space of items")
        self._visits, self._settings, self._encoder = visits, settings, towers.encoder
        ids = visits.sessions.item_ids
        self.vectors, self.has_vector = towers.tower.embed(ids, [items.get(one, _BARE) for one in ids])
        self._lookup = VectorColumn(self.vectors, self.has_vector)
        self._ended = np.zeros((len(visits.sessions), towers.encoder.dim), np.float32)  # (s, d)
        wanted = visits.order
        self._ended[wanted] = self._queries(wanted, visits.sessions.lengths[wanted])

    def _queries(self, session: Longs, known: Longs) -> Float32s:
        """Return the query vectors (c, d) of sessions after so many clicks."""
        parts = [np.zeros((0, self._encoder.dim), np.float32)]
        for at in range(0, len(session), 4096):
            some = zip(session[at : at + 4096].tolist(), known[at : at + 4096].tolist(), strict=True)
            windows = [self._window(one, count) for one, count in some]
            parts.append(_asked(self._encoder, windows, self._lookup))
        return np.concatenate(parts)

    def _window(self, session: int, known: int) -> Clicks:
        sessions = self._visits.sessions
        end = int(sessions.starts[session]) + known
        begin = max(int(sessions.starts[session]), end - self._settings.last_clicks)
        window = np.zeros(end - begin, CLICK)
        window["item"], window["code"] = sessions.items[begin:end], sessions.codes[begin:end]
        return window

    def of(self, moments: Moments) -> Known:
        """Return what is known at moments."""
        visits, n = self._visits, len(self._visits.sessions.item_ids)
        profile = np.zeros((len(moments), self._encoder.dim), np.float32)
        facts = np.zeros((len(moments), FACTS), np.float32)
        history: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        session: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        for at, (one, known) in enumerate(zip(moments.session.tolist(), moments.known.tolist(), strict=True)):
            past = visits.history(one)[-self._settings.last_visits :]
            age_days = (visits.began_ms[one] - visits.ended_ms[past]) / DAY_MS
            weights = 0.5 ** (age_days / self._settings.half_life_days)
            profile[at] = weights @ self._ended[past]
            history.append(self._clicks(past, weights))
            start = int(visits.sessions.starts[one])
            so_far = visits.sessions.items[start : start + known].astype(np.int64)
            session.append((so_far, np.ones(known)))
            last = float(age_days.min(initial=1e3))
            counts = np.log1p([len(past), len(history[-1][0]), known, last])
            facts[at] = [*counts, known == ARRIVAL]
        return Known(
            visits.users[moments.session],
            _sparse(history, n),
            _sparse(session, n),
            _unit(profile),
            self._queries(moments.session, moments.known),
            facts,
        )

    def _clicks(self, past: Longs, weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        sessions = self._visits.sessions
        spans = [slice(int(sessions.starts[one]), int(sessions.starts[one + 1])) for one in past.tolist()]
        if not spans:
            return np.zeros(0, np.int64), np.zeros(0)
        items = np.concatenate([sessions.items[span] for span in spans]).astype(np.int64)
        return items, np.repeat(weights, [span.stop - span.start for span in spans])


def _asked(encoder: SessionEncoder, windows: list[Clicks], lookup: VectorColumn) -> Float32s:
    states, _ = encoder.encode(windows, lookup)
    return encoder.query(states)


def _sparse(rows: list[tuple[NDArray[np.int64], NDArray[np.float64]]], columns: int) -> csr_matrix:
    """Return rows of (columns, values) as one matrix; what is in a row twice adds up."""
    starts = np.concatenate([[0], np.cumsum([len(items) for items, _ in rows])]).astype(np.int64)
    items = np.concatenate([np.zeros(0, np.int64), *(items for items, _ in rows)])
    values = np.concatenate([np.zeros(0), *(values for _, values in rows)]).astype(np.float32)
    made = csr_matrix((values, items, starts), shape=(len(rows), columns))
    made.sum_duplicates()
    return made


def _unit(vectors: Float32s) -> Float32s:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)
