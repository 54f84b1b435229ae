"""The ended-sessions table as arrays: which sessions held an item, what else they held, and what came around it.

Session-based nearest neighbours (Jannach and Ludewig, RecSys 2017; Kersbergen et al., "Serenade", SIGMOD 2022), with
every session that shares an item as a neighbour, so that a vote needs no search for the most similar ones: what all
neighbours say is counted at once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.codec import EndedSession
from retrieval.columns import grown
from retrieval.ended_sessions import KEPT_CLICKS, Slot
from retrieval.key_rows import KeyRows, Keys, Rows
from retrieval.session_order import TRANSITION_SCORES, SessionClicks, transition_scores

Float32s = NDArray[np.float32]

_FADE: Final = 0.85
"""What an item clicked before another one counts, beside it, when sessions vote."""
_ALIKE_BY: Final = 5
"""Of the visitor's distinct items beside the newest, how many say which sessions are alike."""

_AT_ONCE: Final = 200
"""More sessions applied together than this are a load: what they put out of order is sorted when it is first asked."""


@dataclass(frozen=True, slots=True)
class Votes:
    """What ended sessions say of c candidates; 0 where they say nothing. "The newest item" is the visitor's newest item
    that any ended session holds.
    """

    votes: Float32s
    """(c,) number of sessions that hold the candidate and an item of the visitor, each item weighed by its rarity and
    by how recently the visitor clicked it."""
    cosine_last: Float32s
    """(c,) sessions that hold both the candidate and the newest item, over the root of the product of their counts."""
    cosine: Float32s
    """(c,) the same for each of the visitor's items, summed."""
    next: Float32s
    """(c,) smoothed share of the clicks on the newest item that were followed by the candidate at once."""
    before: Float32s
    """(c,) smoothed share of them that came right after the candidate."""
    next_alike: Float32s
    """(c,) as `next`, each click weighed by the visitor's five other newest items that its session had clicked before:
    .85 for the newest of them, and .85 times as much for each older one."""
    next_exactly: Float32s
    """(c,) as `next`, of the clicks that came right after the item that the visitor clicked before the newest item."""
    later_alike: Float32s
    """(c,) log of the weights of `next_alike` over the distance, for the candidate anywhere after the click."""


_SCORES: Final = 3 + TRANSITION_SCORES


class SessionColumns:
    """The ended sessions as arrays: one row a session. For one thread, which applies between reads.

    What it says depends on the sessions held and not on the order in which they came, save that of two sessions which
    began in the same millisecond either may be the newer one.
    """

    def __init__(self) -> None:
        self._slots = KeyRows()
        self._items = KeyRows()
        self._held = 0
        self._clicks: Rows = np.zeros((0, KEPT_CLICKS + 1), np.int32)
        """(rows, KEPT_CLICKS + 1) numbers of items, oldest first, -1 for none, as the last one always."""
        self._sessions: Rows = np.zeros((0, KEPT_CLICKS), np.int32)
        """(rows, KEPT_CLICKS) the same, -1 as well where an item was clicked before."""
        self._started = np.zeros(0, np.int64)
        self._holders: list[array[int]] = []
        """By number of an item: rows of the sessions that hold it, the newest last unless it is in `_unsorted`."""
        self._unsorted: set[int] = set()
        self._holding = np.zeros(0, np.int32)
        """By number of an item, how many sessions hold it."""
        self._place: Rows = np.full(1, -1, np.int32)
        """By number of an item, its place among the candidates in hand; always -1 between calls, and at the end."""
        self._weight = np.zeros(1, np.float32)
        """By number of an item, what it says of which sessions are alike; always 0 between calls, and at the end."""

    def __len__(self) -> int:
        """How many sessions are held."""
        return self._held

    def slots(self) -> list[int]:
        """Return the slots that hold a session."""
        rows = np.flatnonzero((self._sessions[: len(self._slots)] >= 0).any(axis=1))
        keys, numbers = self._slots.slots
        held: list[int] = keys[np.isin(numbers, rows)].tolist()
        return held

    def apply(self, changes: Iterable[tuple[Slot, EndedSession | None]]) -> None:
        """Take table changes in order: a slot's session, or None. Changes are absolute: a slot's last one counts."""
        latest = dict(changes)
        if not latest:
            return
        rows = self._slots.add(np.fromiter(latest, np.uint64, len(latest)))
        self._clicks = grown(self._clicks, len(self._slots), fill=-1)
        self._sessions = grown(self._sessions, len(self._slots), fill=-1)
        self._started = grown(self._started, len(self._slots))
        self._forget(rows)
        kept = [
            (row, session)
            for row, session in zip(rows.tolist(), latest.values(), strict=True)
            if session is not None and len(session.items)
        ]
        if kept:
            self._hold(np.array([row for row, _ in kept], np.int32), [session for _, session in kept])

    def votes(self, clicked: Keys, candidates: Keys, starts: NDArray[np.intp], *, clicks: int, newest: int) -> Votes:
        """Return what the sessions say of the candidates (c,) of b requests, which begin at `starts` (b + 1,).

        `clicked` (b, w) are the items of each request's window, newest first, 0 for none. Of its `clicks` newest
        distinct items each asks the `newest` sessions that held it.
        """
        found = np.zeros((_SCORES, len(candidates)), np.float32)
        if self._held and clicks and newest:
            numbers = self._items.rows_of(candidates)
            windows = self._items.rows_of(clicked)
            windows[clicked == 0] = -1
            for at, window in enumerate(windows.tolist()):
                asked = [number for number in dict.fromkeys(window) if number >= 0 and self._holders[number]][:clicks]
                mine = slice(int(starts[at]), int(starts[at + 1]))
                if asked and mine.start < mine.stop:
                    before = next((number for number in window[window.index(asked[0]) :] if number != asked[0]), -1)
                    self._vote(found[:, mine], asked, before, numbers[mine], newest)
        return Votes(*found)

    def _vote(self, out: Float32s, asked: list[int], before: int, numbers: Rows, newest: int) -> None:
        """Write what the sessions of items `asked`, newest first, say of one request's candidates (c,); `before` is
        the visitor's click before the newest of them.
        """
        c = len(numbers)
        holders = [np.array(self._in_order(number)[-newest:], np.int32) for number in asked]
        sizes = np.array([len(rows) for rows in holders])  # (m,)
        sessions = self._sessions[np.concatenate(holders)]  # (t, KEPT_CLICKS)
        known = np.flatnonzero(numbers >= 0)
        self._place[numbers[known]] = known
        place = self._place[sessions]  # (t, KEPT_CLICKS)
        alike = self._alike(sessions[: sizes[0]], asked[1 : 1 + _ALIKE_BY])
        clicks = SessionClicks(self._clicks[holders[0]], alike)
        transition_scores(out[3:], clicks, asked[0], before, self._place)
        self._place[numbers[known]] = -1
        begin = np.repeat(np.arange(len(asked), dtype=np.int32) * np.int32(c), sizes)  # (t,)
        pairs = (place + begin[:, None])[place >= 0]
        together = np.bincount(pairs, minlength=len(asked) * c).reshape(len(asked), c).astype(np.float32)
        rare = np.log(np.float32(self._held) / self._holding[asked])  # (m,)
        out[0] = (rare * np.float32(_FADE) ** np.arange(len(asked), dtype=np.float32)) @ together
        together[np.array(asked)[:, None] == numbers] = 0  # of itself an item tells by its votes alone
        holding = np.where(numbers >= 0, self._holding[numbers], 1)  # (c,)
        cosines = together / np.sqrt(sizes[:, None] * np.maximum(holding, 1)).astype(np.float32)
        out[1], out[2] = cosines[0], cosines.sum(axis=0)

    def _alike(self, sessions: Rows, others: list[int]) -> Float32s:
        """Return how much of the items `others` sessions (n, KEPT_CLICKS) had held by each click, as their shape."""
        if not others:
            return np.zeros(sessions.shape, np.float32)
        self._weight[others] = np.float32(_FADE) ** np.arange(1, 1 + len(others), dtype=np.float32)
        alike = np.cumsum(self._weight[sessions], axis=1)
        self._weight[others] = 0
        return alike

    def _in_order(self, number: int) -> array[int]:
        """Return the rows of the sessions that hold an item, the newest last."""
        rows = self._holders[number]
        if number in self._unsorted:
            self._unsorted.remove(number)
            held = np.array(rows, np.int32)
            order = np.lexsort((held, self._started[held]))
            rows = self._holders[number] = array("i", held[order].tobytes())
        return rows

    def _age(self, row: int) -> tuple[int, int]:
        """Return what a session's row is ordered by, the oldest first."""
        return int(self._started[row]), row

    def _hold(self, rows: Rows, sessions: Sequence[EndedSession]) -> None:
        """Put sessions (n,) into rows (n,) that are empty."""
        keys = [session.items[-KEPT_CLICKS:] for session in sessions]
        distinct, position = np.unique(np.concatenate(keys), return_inverse=True)
        numbers = self._items.add(distinct)[position]
        self._holders.extend(array("i") for _ in range(len(self._items) - len(self._holders)))
        self._holding = grown(self._holding, len(self._items))
        self._place = grown(self._place, len(self._items) + 1, fill=-1)
        self._weight = grown(self._weight, len(self._items) + 1)
        lengths = np.array([len(one) for one in keys])
        owner = np.repeat(rows, lengths)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._clicks[owner, at] = numbers
        _, first = np.unique(owner.astype(np.int64) * len(self._items) + numbers, return_index=True)
        first.sort()
        owner, at, numbers = owner[first], at[first], numbers[first]
        self._sessions[owner, at] = numbers
        self._started[rows] = [session.started_ms for session in sessions]
        np.add.at(self._holding, numbers, 1)
        self._held += len(rows)
        at_once = len(rows) > _AT_ONCE
        for row, number in zip(owner.tolist(), numbers.tolist(), strict=True):
            holders = self._holders[number]
            if not holders or number in self._unsorted or self._age(row) >= self._age(holders[-1]):
                holders.append(row)
            elif at_once:
                self._unsorted.add(number)
                holders.append(row)
            else:
                holders.insert(bisect_left(holders, self._age(row), key=self._age), row)

    def _forget(self, rows: Rows) -> None:
        """Empty rows (n,)."""
        numbers = self._sessions[rows]  # (n, KEPT_CLICKS)
        at, place = np.nonzero(numbers >= 0)
        if not len(at):
            return
        gone = numbers[at, place]
        for row, number in zip(rows[at].tolist(), gone.tolist(), strict=True):
            holders = self._in_order(number)
            del holders[bisect_left(holders, self._age(row), key=self._age)]
        np.subtract.at(self._holding, gone, 1)
        self._held -= len(np.unique(at))
        self._clicks[rows] = self._sessions[rows] = -1
