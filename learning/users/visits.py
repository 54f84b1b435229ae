"""A recorded log as visits: whose each session is, and which event each click is. No other module of the room reads it.

A visit's visitor is the user of its first click. One who signs in later in the visit counts as unknown in it: what is
known only later is never used earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event, EventCode
from evaluation.sessions import Click, Ints, Longs, Sessions, from_clicks

ARRIVAL = 0
"""`known` of a moment before the first click of a visit."""


@dataclass(frozen=True, slots=True)
class Visits:
    """s sessions of n clicks.

    `users` (s,) are visitors' numbers, -1 for one without a `user_id`; `user_count` how many there are; `numbers` (n,)
    the clicks' places in the log. `order` (s,) are the sessions by visitor, as they ended, those of visitor u from
    `begins[u]` on; `earlier` (s,) how many of the same visitor's ended before this one began.
    """

    sessions: Sessions
    users: Longs
    user_count: int
    numbers: Longs
    order: Longs
    begins: Longs
    earlier: Longs

    @property
    def began_ms(self) -> Longs:
        """(s,) time of each session's first click."""
        return self.sessions.ts_ms[self.sessions.starts[:-1]]

    @property
    def ended_ms(self) -> Longs:
        """(s,) time of each session's last click."""
        return self.sessions.ts_ms[self.sessions.starts[1:] - 1]

    def history(self, session: int) -> Longs:
        """Return the sessions of the same visitor that ended before this one began, oldest first."""
        if self.users[session] < 0:
            return self.order[:0]
        begin = int(self.begins[self.users[session]])
        return self.order[begin : begin + int(self.earlier[session])]


@dataclass(frozen=True, slots=True)
class Moments:
    """c moments at which a visitor is shown a list: `session` (c,), how many of its clicks are `known` (c,), and
    `targets` (c,), the item that is clicked next.
    """

    session: Longs
    known: Longs
    targets: Ints

    def __len__(self) -> int:
        return len(self.session)

    def pick(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Moments:
        return Moments(self.session[which], self.known[which], self.targets[which])

    def sample(self, most: int, rng: np.random.Generator) -> Moments:
        """Return `most` moments drawn without replacement, in their order; all when there are no more."""
        return self if most >= len(self) else self.pick(np.sort(rng.choice(len(self), most, replace=False)))


def read_visits(events: Iterable[Event], idle_gap_ms: int) -> Visits:
    """Build visits from events in time order. Raises ImportFormatError when there is no click."""
    places: dict[str, int] = {}
    people: dict[str, int] = {}
    clicks: list[Click] = []
    columns: list[tuple[int, int, int]] = []
    for number, event in enumerate(events):
        if event.item_id is None or event.is_impression or event.code == EventCode.OTHER:
            continue
        user = people.setdefault(event.user_id, len(people)) if event.user_id is not None else -1
        clicks.append(Click(event.session_id, len(columns), event.ts, int(event.code)))
        columns.append((places.setdefault(event.item_id, len(places)), user, number))
    by_row = from_clicks((), clicks, idle_gap_ms=idle_gap_ms)
    item, user_of, number_of = np.array(columns, np.int64)[by_row.items].T
    sessions = replace(by_row, item_ids=tuple(places), items=item.astype(np.int32))
    return _with_histories(sessions, np.ascontiguousarray(user_of[sessions.starts[:-1]]), len(people), number_of)


def _with_histories(sessions: Sessions, users: Longs, user_count: int, numbers: Longs) -> Visits:
    order = np.lexsort((np.arange(len(users)), users))
    order = order[np.searchsorted(users[order], 0) :]
    begins = np.searchsorted(users[order], np.arange(user_count + 1))
    ended_ms = sessions.ts_ms[sessions.starts[1:] - 1]
    began_ms = sessions.ts_ms[sessions.starts[:-1]]
    earlier = np.zeros(len(users), np.int64)
    for user in range(user_count):
        mine = order[begins[user] : begins[user + 1]]
        earlier[mine] = np.searchsorted(ended_ms[mine], began_ms[mine], side="left")
    return Visits(sessions, users, user_count, numbers, order, begins, earlier)


def moments_between(visits: Visits, from_ms: int, to_ms: int) -> Moments:
    """Return the moments before each click of the sessions that lie between two times, half open, of visitors with an
    earlier visit. A click on the item clicked just before is not asked for: no page recommends the item that it shows.
    """
    sessions = visits.sessions
    owners = sessions.owners
    asked = (visits.earlier > 0) & (visits.began_ms >= from_ms) & (visits.ended_ms < to_ms)
    known = np.arange(len(owners)) - sessions.starts[owners]
    repeated = np.zeros(len(owners), np.bool_)
    repeated[1:] = (sessions.items[1:] == sessions.items[:-1]) & (known[1:] > 0)
    at = np.flatnonzero(asked[owners] & ~repeated)
    return Moments(owners[at], known[at], sessions.items[at])


def learnt_sessions(visits: Visits, to_ms: int) -> Sessions:
    """Return the sessions that ended before a time: what may be learnt from at it."""
    return visits.sessions.part(0, int(np.searchsorted(visits.ended_ms, to_ms, side="left")))
