"""The ended-sessions table as arrays: which sessions held an item, what else they held, and what came around it.

Session-based nearest neighbours (Jannach and Ludewig, RecSys 2017; Kersbergen et al., "Serenade", SIGMOD 2022), with
every session that shares an item as a neighbour, so that a vote needs no search for the most similar ones: what all
neighbours say is counted at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.lookups import row_of
from contracts.codec import EndedSession, encode_ended
from retrieval.columns import grown
from retrieval.ended_sessions import KEPT_CLICKS, Slot
from retrieval.key_rows import KeyRows, Keys, Rows
from retrieval.session_holders import SessionHolders
from retrieval.session_order import FADE, TRANSITION_SCORES, transition_scores
from retrieval.session_rows import ReadSessions, read_sessions

Float32s = NDArray[np.float32]

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


_VOTES: Final = 3
_SCORES: Final = _VOTES + TRANSITION_SCORES


class SessionColumns:
    """The ended sessions as arrays: one row a session. For one thread, which applies between reads.

    What it says depends on the sessions held and not on the order in which they came, save that of two sessions which
    began in the same millisecond either may be the newer one.
    """

    def __init__(self) -> None:
        self._slots = KeyRows()
        self._items = KeyRows()
        """Numbers of the items that a session holds: that of one that none holds any more is given to another."""
        self._item_keys = np.zeros(0, np.uint64)
        """By number of an item, its key."""
        self._held = 0
        self._clicks: Rows = np.zeros((0, KEPT_CLICKS), np.int32)
        """(rows, KEPT_CLICKS) numbers of items, oldest first, -1 for none; -2 - number where the session had clicked
        the item before."""
        self._started = np.zeros(0, np.int64)
        self._taken = np.zeros(0, np.uint32)
        """(rows,) see `EndedSession.taken`: by place in `_clicks`."""
        self._holders = SessionHolders()
        self._place: Rows = np.full(0, np.int32(-1))
        """By number of an item, its place among the candidates in hand; always -1 between calls."""
        self._weight = np.zeros(0, np.float32)
        """By number of an item, what it says of which sessions are alike; always 0 between calls."""

    def __len__(self) -> int:
        """How many sessions are held."""
        return self._held

    def slots(self) -> list[int]:
        """Return the slots that hold a session."""
        rows = np.flatnonzero(self._clicks[: len(self._slots), 0] >= 0)
        keys, numbers = self._slots.slots
        held: list[int] = keys[np.isin(numbers, rows)].tolist()
        return held

    def apply(self, changes: Iterable[tuple[Slot, EndedSession | None]]) -> None:
        """`apply_rows` for sessions that are not encoded."""
        self.apply_rows([(slot, encode_ended(session) if session is not None else None) for slot, session in changes])

    def apply_rows(self, changes: Sequence[tuple[int, bytes | None]]) -> None:
        """Take table changes in order: a slot and its session's row, or None. Changes are absolute: a slot's last one
        counts.

        Raises ValueError for a row that is no session such as the trends flow writes, OverflowError for a number that
        is no slot; nothing is taken then.
        """
        latest = dict(changes)
        if not latest:
            return
        if len(latest) < len(changes):  # what a later row replaces is looked at too
            read_sessions([row for _, row in changes if row is not None])
        taken = np.fromiter((row is not None for row in latest.values()), np.bool_, len(latest))
        sessions = read_sessions([row for row in latest.values() if row is not None])
        rows = self._slots.add(np.fromiter(latest, np.uint64, len(latest)))
        self._clicks = grown(self._clicks, len(self._slots), fill=-1)
        self._started = grown(self._started, len(self._slots))
        self._taken = grown(self._taken, len(self._slots))
        self._forget(rows)
        if len(sessions.items):
            self._hold(rows[taken], sessions)

    def votes(self, clicked: Keys, candidates: Keys, starts: NDArray[np.intp], *, clicks: int, newest: int) -> Votes:
        """Return what the sessions say of the candidates (c,) of b requests, which begin at `starts` (b + 1,).

        `clicked` (b, w) are the items of each request's window, newest first, 0 for none. Of its `clicks` newest
        distinct items each asks the `newest` sessions that held it.
        """
        found = np.zeros((_SCORES, len(candidates)), np.float32)
        if not (self._held and clicks and newest and len(candidates)):
            return Votes(*found)
        held, numbers = self._holders, self._items.rows_of(candidates)
        starts = np.ascontiguousarray(starts, np.intp)
        asked = np.full((len(clicked), clicks), np.int32(-1))
        before = np.full(len(clicked), np.int32(-1))
        _ask(*self._items.slots, np.ascontiguousarray(clicked, np.uint64), held.counts, asked, before)
        held.sort(asked, self._started)
        lists = (self._clicks, held.rows, held.begins, held.counts, newest)
        _vote(*lists, asked, numbers, starts, self._held, self._place, found[:_VOTES])
        sums = np.zeros((TRANSITION_SCORES, len(candidates)))
        told = (self._place, self._weight, sums, found[_VOTES:])
        transition_scores(*lists, asked, before, numbers, starts, *told)
        return Votes(*found)

    def bought_with(
        self, baskets: Keys, *, most: int, newest: int
    ) -> tuple[NDArray[np.int32], Keys, NDArray[np.int32]]:
        """Return what was taken together with the items of `baskets` (b, w), 0 for none: for every request at most
        `most` items, those of most sessions first, as requests, ItemKeys and numbers of sessions, (n,) each.

        Of each item of a basket the `newest` sessions that held it are asked; a session counts once for each item of
        the basket that it put in the cart or bought.
        """
        request, items = np.empty(len(baskets) * most, np.int32), np.empty(len(baskets) * most, np.int32)
        counts = np.empty(len(baskets) * most, np.int32)
        if not self._held or not request.size:
            return request[:0], np.zeros(0, np.uint64), counts[:0]
        shape = baskets.shape
        asked = self._items.rows_of(np.ascontiguousarray(baskets, np.uint64).ravel()).reshape(shape)
        asked[baskets == 0] = -1
        held = self._holders
        held.sort(asked, self._started)
        lists = (self._clicks, self._taken, held.rows, held.begins, held.counts, newest)
        together = np.zeros(len(self._items), np.int32)
        n = _bought_with(*lists, asked, most, together, request, items, counts)
        return request[:n], self._item_keys[items[:n]], counts[:n]

    def _hold(self, rows: Rows, sessions: ReadSessions) -> None:
        """Put sessions (n,) into rows (n,) that are empty. One without clicks is none."""
        distinct, position = np.unique(sessions.items, return_inverse=True)
        given = self._items.add(distinct)
        numbers = given[position]
        self._holders.extend_to(len(self._items))
        self._item_keys = grown(self._item_keys, len(self._items))
        self._item_keys[given] = distinct
        self._place = grown(self._place, len(self._items), fill=-1)
        self._weight = grown(self._weight, len(self._items))
        self._started[rows] = sessions.started_ms
        self._taken[rows] = sessions.taken
        self._held += int(np.count_nonzero(sessions.clicks))
        holds = np.empty(len(numbers), np.int32), np.empty(len(numbers), np.int32)
        n = _write_clicks(rows, np.cumsum(sessions.clicks), numbers, self._clicks, *holds)
        self._holders.add(holds[0][:n], holds[1][:n], self._started, may_wait=len(rows) > _AT_ONCE)

    def _forget(self, rows: Rows) -> None:
        """Empty rows (n,)."""
        numbers = self._clicks[rows]  # (n, KEPT_CLICKS)
        at, place = np.nonzero(numbers >= 0)
        if len(at):
            self._holders.remove(rows[at], numbers[at, place], self._started)
            left = np.unique(numbers[at, place])
            self._items.remove(self._item_keys[left[self._holders.counts[left] == 0]])
            self._held -= len(np.unique(at))
            self._clicks[rows] = -1


@kernel(reads("i4"), reads("i8"), reads("i4"), writes("i4", 2), writes("i4"), writes("i4"))
def _write_clicks(rows: Rows, ends: NDArray[np.int64], numbers: Rows, clicks: Rows, holder: Rows, held: Rows) -> int:
    """Write the clicks of sessions (n,) on items `numbers` (t,), and which row holds which item; return how many."""
    n = begin = 0
    for at in range(rows.shape[0]):
        row = rows[at]
        for click in range(begin, ends[at]):
            is_new = True
            for earlier in range(begin, click):
                is_new = is_new and numbers[earlier] != numbers[click]
            clicks[row, click - begin] = numbers[click] if is_new else -2 - numbers[click]
            if is_new:
                holder[n], held[n] = row, numbers[click]
                n += 1
        begin = ends[at]
    return n


@kernel(reads("u8"), reads("i4"), reads("u8", 2), reads("i4"), writes("i4", 2), writes("i4"))
def _ask(slot_keys: Keys, slot_rows: Rows, clicked: Keys, holding: Rows, asked: Rows, before: Rows) -> None:
    """Write the newest distinct items of each window that a session holds, and what was clicked before the first: -1
    for none, and for an item that no session ever held."""
    for request in range(clicked.shape[0]):
        n, is_before = 0, False
        for at in range(clicked.shape[1]):
            number = -1
            if clicked[request, at] != 0:
                number = row_of(slot_keys, slot_rows, clicked[request, at])
            if n > 0 and not is_before and number != asked[request, 0]:
                before[request], is_before = number, True
            if number < 0 or holding[number] == 0 or n == asked.shape[1]:
                continue
            is_new = True
            for newer in range(n):
                is_new = is_new and asked[request, newer] != number
            if is_new:
                asked[request, n] = number
                n += 1


@kernel(
    *(reads("i4", 2), reads("i4"), reads("i8"), reads("i4"), "i8"),
    *(reads("i4", 2), reads("i4"), reads("i8"), "i8", writes("i4"), writes("f4", 2)),
)
def _vote(
    clicks: Rows,
    holders: Rows,
    begins: NDArray[np.int64],
    counts: Rows,
    newest: int,
    asked: Rows,
    numbers: Rows,
    starts: NDArray[np.intp],
    sessions: int,
    place: Rows,
    out: Float32s,
) -> None:
    """Write `votes`, `cosine_last` and `cosine` (3, c) of all requests' candidates. See `transition_scores`."""
    votes = np.zeros(numbers.shape[0])
    together = np.empty(numbers.shape[0], np.int32)
    for request in range(asked.shape[0]):
        begin, end = starts[request], starts[request + 1]
        for at in range(begin, end):
            if numbers[at] >= 0:
                place[numbers[at]] = at
        for turn in range(asked.shape[1]):
            item = asked[request, turn]
            if item < 0 or begin == end:
                break
            together[begin:end] = 0
            last = begins[item] + counts[item]
            size = min(newest, counts[item])
            _count(clicks, holders[last - size : last], place, together)
            rare = np.log(np.float64(sessions) / counts[item]) * np.float32(FADE) ** np.float32(turn)
            for at in range(begin, end):
                votes[at] += rare * together[at]
                if together[at] and numbers[at] != item:  # of itself an item tells by its votes alone
                    cosine = np.float32(together[at]) / np.float32(np.sqrt(np.float64(size * counts[numbers[at]])))
                    out[2, at] += cosine
                    if turn == 0:
                        out[1, at] = cosine
        for at in range(begin, end):
            out[0, at] = votes[at]
            if numbers[at] >= 0:
                place[numbers[at]] = -1


@kernel(
    *(reads("i4", 2), reads("u4"), reads("i4"), reads("i8"), reads("i4"), "i8", reads("i4", 2), "i8"),
    *(writes("i4"), writes("i4"), writes("i4"), writes("i4")),
)
def _bought_with(
    clicks: Rows,
    taken: NDArray[np.uint32],
    holders: Rows,
    begins: NDArray[np.int64],
    counts: Rows,
    newest: int,
    asked: Rows,
    most: int,
    together: NDArray[np.int32],
    request: NDArray[np.int32],
    items: Rows,
    sessions: NDArray[np.int32],
) -> int:
    """Write requests, numbers of items and of sessions; return how many. `together` (items,) is 0 between requests."""
    n = 0
    for mine in range(asked.shape[0]):
        first = n
        for turn in range(asked.shape[1]):
            item = asked[mine, turn]
            if item < 0:
                continue
            last = begins[item] + counts[item]
            for at in range(last - min(newest, counts[item]), last):
                session = holders[at]
                bits, was_taken = taken[session], False
                for place in range(clicks.shape[1]):
                    if clicks[session, place] == item and (bits >> np.uint32(place)) & np.uint32(1):
                        was_taken = True
                if not was_taken:
                    continue
                for place in range(clicks.shape[1]):
                    other = clicks[session, place]
                    if other >= 0 and other != item and (bits >> np.uint32(place)) & np.uint32(1):
                        together[other] += 1
        for turn in range(asked.shape[1]):
            if asked[mine, turn] >= 0:
                together[asked[mine, turn]] = 0
        for turn in range(asked.shape[1]):
            item = asked[mine, turn]
            if item < 0:
                continue
            last = begins[item] + counts[item]
            for at in range(last - min(newest, counts[item]), last):
                session = holders[at]
                for place in range(clicks.shape[1]):
                    other = clicks[session, place]
                    if other >= 0 and together[other] > 0:
                        count = together[other]
                        together[other] = 0
                        room = n - first < most
                        if not room and sessions[n - 1] >= count:
                            continue
                        if room:
                            n += 1
                        to = n - 1
                        while to > first and sessions[to - 1] < count:
                            items[to], sessions[to], request[to] = items[to - 1], sessions[to - 1], mine
                            to -= 1
                        items[to], sessions[to], request[to] = other, count, mine
    return n


@inlined
def _count(clicks: Any, sessions: Any, place: Any, together: Any) -> None:
    """Count the sessions that hold each candidate."""
    for session in sessions:
        for at in range(clicks.shape[1]):
            number = clicks[session, at]
            if number == -1:
                break
            if number >= 0 and place[number] >= 0:
                together[place[number]] += 1
