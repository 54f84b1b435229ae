"""What units did in a recorded event log: counted for an experiment that has not begun. Reads files, counts in arrays.

Counts as `attribution.participants` does of an experiment's log, with one unit (session or user) a row: where the
recording holds pages, a unit takes part from its first page on; where it holds none, from its first event on.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from contracts.events import EventCode, Rejection
from contracts.plain_events import NO_TYPES, PlainEvent, decode_event, read_as
from eventlog.files import read_raw

UnitOf = Literal["session", "user"]
Progress = Callable[[int], None]
PROGRESS_EVERY: Final = 50_000
_ANY_TIME_MS: Final = 253_402_300_799_999
_CLICKS: Final = frozenset({EventCode.VIEW, EventCode.GLANCE, EventCode.LOOK})
_PAID: Final = frozenset({EventCode.PURCHASE, EventCode.RETURN})


class Column(IntEnum):
    """What is counted by unit. `clicks` are views of what a page showed at most the click window before."""

    views = 0
    pages = 1
    shown = 2
    clicks = 3
    carts = 4
    purchases = 5
    orders = 6
    revenue = 7


@dataclass(frozen=True, slots=True)
class Recorded:
    """Counts of a recording: of unit `unit` (m,), at `ts` (m,) in epoch ms, `amount` (m,) more of column `column` (m,).

    `units`: their ids (n,), UTF-8. `without`: events of nobody that is a unit; `unpaged`: units that never saw a page.
    """

    units: Sequence[bytes]
    unit: NDArray[np.int64]
    ts: NDArray[np.int64]
    column: NDArray[np.int64]
    amount: NDArray[np.float64]
    without: int
    unpaged: int
    currencies: Sequence[str]

    def totals(self) -> dict[str, float]:
        """Return the sum of each column that the recording has anything of."""
        sums = np.bincount(self.column, self.amount, len(Column))
        there = np.bincount(self.column, minlength=len(Column))
        return {one.name: float(sums[one]) for one in Column if there[one]}


def read_units(
    paths: Iterable[Path],
    *,
    unit: UnitOf = "session",
    click_ms: int = 30 * 60 * 1000,
    types: Mapping[str, str] = NO_TYPES,
    progress: Progress | None = None,
) -> Recorded:
    """Count recorded files (.jsonl.zst), in the order of their times. `types`: what a site's own types mean.

    Events that come twice count once. Of revenue, the currency that most lines are in. Raises ImportFormatError: a line
    that is no event, nothing of a unit.
    """
    counting, count = _Counting(unit, click_ms), 0
    for path in paths:
        for count_here, line in enumerate(read_raw(path), 1):
            event = decode_event(line, now_ms=_ANY_TIME_MS)
            if isinstance(event, Rejection):
                raise ImportFormatError(f"{path}: event {count_here}: {event}")
            counting.take(read_as(event, types) if types else event)
            count += 1
            if progress is not None and count % PROGRESS_EVERY == 0:
                progress(count)
    if progress is not None:
        progress(count)
    return counting.recorded()


class _Counting:
    """Grows with each event. Pages are kept for the click window alone."""

    def __init__(self, unit: UnitOf, click_ms: int) -> None:
        self._by_session, self._click_ms = unit == "session", click_ms
        self._codes: dict[str, int] = {}
        self._without = 0
        self._unit, self._ts, self._column, self._amount = array("q"), array("q"), array("b"), array("d")
        self._key = array("Q")
        self._paid_in = array("b")
        self._currencies: dict[str, int] = {}
        self._shown: dict[int, deque[tuple[int, frozenset[str]]]] = defaultdict(deque)
        self._pages: deque[tuple[int, int]] = deque()

    def take(self, event: PlainEvent) -> None:
        name = event.session_id if self._by_session else event.user_id
        if name is None:
            self._without += 1
            return
        unit = self._codes.setdefault(name, len(self._codes))
        if event.is_impression:
            self._take_page(unit, event)
            return
        code, key = event.code, xxhash.xxh3_64_intdigest(event.event_id.encode())
        if code in _CLICKS:
            self._add(unit, event.ts, Column.views, 1.0, key)
            if self._pages and self._was_shown(unit, event):
                self._add(unit, event.ts, Column.clicks, 1.0, key)
        elif code is EventCode.CART:
            self._add(unit, event.ts, Column.carts, 1.0, key)
        elif code in _PAID:
            self._take_paid(unit, event, key, back=code is EventCode.RETURN)

    def _take_page(self, unit: int, event: PlainEvent) -> None:
        page_id = event.event_id if event.request_id is None else event.request_id  # told by both, it is one page
        key, items = xxhash.xxh3_64_intdigest(page_id.encode()), event.items or ()
        self._add(unit, event.ts, Column.pages, 1.0, key)
        self._add(unit, event.ts, Column.shown, float(len(items)), key)
        while self._pages and self._pages[0][0] < event.ts - self._click_ms:
            _, old = self._pages.popleft()
            self._shown[old].popleft()
            if not self._shown[old]:
                del self._shown[old]
        self._pages.append((event.ts, unit))
        self._shown[unit].append((event.ts, frozenset(items)))

    def _was_shown(self, unit: int, event: PlainEvent) -> bool:
        since = event.ts - self._click_ms
        return any(ts >= since and event.item_id in items for ts, items in self._shown.get(unit, ()))

    def _take_paid(self, unit: int, event: PlainEvent, key: int, *, back: bool) -> None:
        if event.value is not None and event.value >= 0.0:
            self._add(unit, event.ts, Column.revenue, -event.value if back else event.value, key)
            self._paid_in[-1] = self._currencies.setdefault(event.currency or "", len(self._currencies)) % 127
        if not back:
            self._add(unit, event.ts, Column.purchases, 1.0, key)
            order = event.order_id
            self._add(unit, event.ts, Column.orders, 1.0, key if order is None else _order_key(unit, order))

    def _add(self, unit: int, ts: int, column: Column, amount: float, key: int) -> None:
        self._unit.append(unit)
        self._ts.append(ts)
        self._column.append(column)
        self._amount.append(amount)
        self._key.append(key)
        self._paid_in.append(0)

    def recorded(self) -> Recorded:
        if not self._unit:
            raise ImportFormatError(
                f"expected events of units to count, got none; {self._without:,} without a unit: name another --unit?"
            )
        unit, ts, column = (np.array(one, np.int64) for one in (self._unit, self._ts, self._column))
        amount, key, paid_in = np.array(self._amount), np.array(self._key), np.array(self._paid_in)
        mark = key * np.uint64(len(Column)) + column.astype(np.uint64)  # wraps: an event's columns stay apart
        _, kept = np.unique(mark, return_index=True)  # the first of each that came twice
        money = column[kept] == Column.revenue
        most = int(np.bincount(paid_in[kept][money]).argmax()) if money.any() else 0
        kept = kept[~money | (paid_in[kept] == most)]
        kept.sort()
        unit, ts, column, amount = unit[kept], ts[kept], column[kept], amount[kept]
        units, currencies = [name.encode(errors="surrogatepass") for name in self._codes], list(self._currencies)
        if (column == Column.pages).any():
            return _from_first_page(units, unit, ts, column, amount, self._without, currencies[most : most + 1])
        return Recorded(units, unit, ts, column, amount, self._without, 0, currencies[most : most + 1])


def _order_key(unit: int, order: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{unit} {order}".encode(errors="surrogatepass"))


def _from_first_page(
    units: Sequence[bytes],
    unit: NDArray[np.int64],
    ts: NDArray[np.int64],
    column: NDArray[np.int64],
    amount: NDArray[np.float64],
    without: int,
    currencies: Sequence[str],
) -> Recorded:
    never = np.iinfo(np.int64).max
    first = np.full(len(units), never)
    paged = column == Column.pages
    np.minimum.at(first, unit[paged], ts[paged])
    kept, seen = ts >= first[unit], first < never
    code = np.cumsum(seen) - 1
    return Recorded(
        [one for one, there in zip(units, seen.tolist(), strict=True) if there],
        code[unit[kept]],
        ts[kept],
        column[kept],
        amount[kept],
        without,
        int((~seen).sum()),
        currencies,
    )
