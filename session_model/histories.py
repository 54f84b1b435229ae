"""Recorded events as arrays of finished sessions: what training reads.

The rules are those of the live path: a session ends after the idle gap, an event id counts once, impressions and
events of unknown type are not clicks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from contracts.events import INTEREST, Event, EventCode
from contracts.ids import event_key
from session_model.encoder import GATE_ROWS
from session_model.passed_over import Pages, PassedOver

PROGRESS_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Histories:
    """n sessions in order of their last click.

    `items` (clicks,) are places in `item_ids`, `codes` (clicks,) EventCodes; session s is
    `starts[s]:starts[s + 1]`, oldest click first. `ended_ms` (n,) is the time of each session's last click.
    `pages` (clicks,) are the lists in `passed_over` of items that were shown above each click, -1 for none.
    """

    item_ids: tuple[str, ...]
    items: NDArray[np.int32]
    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ended_ms: NDArray[np.int64]
    pages: NDArray[np.int32] | None = None
    passed_over: PassedOver = field(default_factory=PassedOver.none)

    def __len__(self) -> int:
        return len(self.ended_ms)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def pick(self, sessions: NDArray[np.intp]) -> Histories:
        """Return the named sessions, in the order given."""
        lengths = self.lengths[sessions]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        clicks = np.repeat(self.starts[sessions] - starts[:-1], lengths) + np.arange(starts[-1])
        return replace(
            self,
            items=self.items[clicks],
            codes=self.codes[clicks],
            starts=starts,
            ended_ms=self.ended_ms[sessions],
            pages=self.pages[clicks] if self.pages is not None else None,
        )

    def targets(self) -> NDArray[np.bool_]:
        """Return which clicks are to be predicted (clicks,): not a session's first, and not the cart or purchase
        of the very item clicked just before, which is no new choice.
        """
        wanted = np.ones(len(self.items), np.bool_)
        wanted[1:] = (self.items[1:] != self.items[:-1]) | (self.codes[1:] == EventCode.VIEW)
        wanted[self.starts[:-1]] = False
        return wanted


def from_events(
    events: Iterable[Event], *, idle_gap_ms: int, max_clicks: int, progress: Callable[[int], None] | None = None
) -> Histories:
    """Build sessions from events in any order; a session keeps its last `max_clicks` clicks.

    `progress` hears the number of events read, now and then.
    """
    sessions: dict[str, int] = {}
    items: dict[str, int] = {}
    seen: set[int] = set()
    columns = (array("q"), array("q"), array("q"), array("B"), array("i"))  # session, time, item, code, page
    pages = Pages()
    count = 0
    for count, event in enumerate(events, start=1):
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(count)
        if event.is_impression:
            pages.show(event)
            continue
        key = event_key(event.event_id)
        meaning = event.code
        if event.item_id is None or meaning not in INTEREST or key in seen:
            continue
        seen.add(key)
        owner = sessions.setdefault(event.session_id, len(sessions))
        columns[0].append(owner)
        columns[1].append(event.ts)
        columns[2].append(items.setdefault(event.item_id, len(items)))
        columns[3].append(int(GATE_ROWS[meaning]))
        columns[4].append(pages.follow(event, owner))
    if progress is not None:
        progress(count)
    session, ts_ms, item, code, page = (np.array(column) for column in columns)
    whole = from_arrays(
        tuple(items), session, ts_ms, item, code, idle_gap_ms=idle_gap_ms, max_clicks=max_clicks, page=page
    )
    return replace(whole, passed_over=pages.passed_over(items, session, item))


def from_arrays(
    item_ids: tuple[str, ...],
    session: NDArray[np.int64],
    ts_ms: NDArray[np.int64],
    item: NDArray[np.int64],
    code: NDArray[np.uint8],
    *,
    idle_gap_ms: int,
    max_clicks: int,
    page: NDArray[np.int32] | None = None,
) -> Histories:
    """Build sessions from click columns (clicks,): session's number, time, place in `item_ids`, EventCode, and `page`,
    the list of what was passed over.
    """
    order = np.lexsort((ts_ms, session))
    session, ts_ms, item, code = session[order], ts_ms[order], item[order], code[order]
    cuts = (session[1:] != session[:-1]) | (np.diff(ts_ms) > idle_gap_ms)
    begins = np.concatenate([np.zeros(min(len(session), 1), np.int64), np.flatnonzero(cuts) + 1])
    ends = np.append(begins, len(session))[1:] if len(begins) else begins
    by_end = np.argsort(ts_ms[ends - 1], kind="stable")
    whole = Histories(
        item_ids=item_ids,
        items=item.astype(np.int32),
        codes=code.astype(np.uint8),
        starts=np.append(begins, len(session)).astype(np.int64),
        ended_ms=ts_ms[ends - 1],
        pages=page[order] if page is not None else None,
    )
    return _last_clicks(whole.pick(by_end), max_clicks)


def _last_clicks(histories: Histories, max_clicks: int) -> Histories:
    lengths = histories.lengths
    to_end = np.repeat(histories.starts[1:], lengths) - np.arange(len(histories.items))  # (clicks,)
    kept = to_end <= max_clicks
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.minimum(lengths, max_clicks))])
    return replace(
        histories,
        items=histories.items[kept],
        codes=histories.codes[kept],
        starts=starts,
        pages=histories.pages[kept] if histories.pages is not None else None,
    )
