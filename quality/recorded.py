"""Judging a recording: the same checks at the end of each while of it, and what each of them said at its worst."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median_low
from typing import Final

from contracts.events import MAX_FUTURE_MS, Rejection
from contracts.plain_events import PlainEvent, decode_event
from contracts.quality_settings import QualityOptions
from quality.catalogue import CatalogueFigures
from quality.checks import SEVERITY, Check, Seen, judge
from quality.series import Series
from quality.tally import Cells, Tally, TallyRules

MOST_LOOKS: Final = 10_000
"""At the latest whiles of a recording; at 15 minutes, 104 days."""
_TOGETHER: Final = 5_000
_AROUND: Final = 25
"""Records on each side of one that say what time it was when it came."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The cells of a recording, and the sessions that no human has, each with its last moment."""

    cells: Cells
    bots: dict[str, int]


@dataclass(frozen=True, slots=True)
class Worst:
    """What a check said at its worst, and at which minute since 1970 it first did so; None for one that says nothing
    of time.
    """

    check: Check
    minute: int | None


def as_they_came(lines: Iterable[bytes], now_ms: int) -> Iterator[PlainEvent | Rejection]:
    """Decode a recording's lines in the order in which they came. What is further ahead than a gateway takes is
    rejected, as it was then: ahead of the median of the times around it.
    """
    waiting, around = deque[PlainEvent | Rejection](), deque[int](maxlen=2 * _AROUND + 1)
    for line in lines:
        one = decode_event(line, now_ms=now_ms)
        waiting.append(one)
        if isinstance(one, PlainEvent):
            around.append(one.ts)
        if len(waiting) > _AROUND:
            yield _in_time(waiting.popleft(), around)
    while waiting:
        one = waiting.popleft()
        while len(around) > 2 * len(waiting) + 1:  # as many before it as behind it
            around.popleft()
        yield _in_time(one, around)


def _in_time(one: PlainEvent | Rejection, around: deque[int]) -> PlainEvent | Rejection:
    if isinstance(one, Rejection):
        return one
    ahead_ms = one.ts - median_low(around)
    return one if ahead_ms <= MAX_FUTURE_MS else Rejection("future_timestamp", f"ts is {ahead_ms // 1000} s ahead")


def counted(
    records: Iterable[PlainEvent | Rejection], rules: TallyRules, now_ms: int, held: Container[str] | None = None
) -> Recorded:
    """Count a recording. `now_ms` is the time of what cannot be read where there is no event; `held`: see `Tally`."""
    tally, cells, bots, newest_ms = Tally(rules), Cells(), dict[str, int](), 0
    reader = iter(records)
    while some := list(islice(reader, _TOGETHER)):
        if not newest_ms:
            now_ms = next((one.ts for one in some if isinstance(one, PlainEvent)), now_ms)
        found = tally.count(some, newest_ms, now_ms, held)
        cells.update(found.cells)
        bots.update(found.bots)
        newest_ms = found.newest_ms
    return Recorded(cells, bots)


def judge_recording(cells: Cells, options: QualityOptions, catalogue: CatalogueFigures | None = None) -> list[Worst]:
    """Return each check at its worst, in the order of the first look. Whiles that are not over are not looked at."""
    series = Series(cells)
    extent = series.extent()
    if extent is None:
        return [Worst(check, None) for check in judge(Seen(series, 0, catalogue), options)]
    first, end = extent
    step = options.silent_minutes
    ends = range(end - (end - first) // step * step, end + 1, step)[-MOST_LOOKS:]
    found: dict[tuple[str, str], Worst] = {}
    for minute in ends:
        for check in judge(Seen(series, minute, catalogue), options):
            key = check.name, check.of
            held = found.get(key)
            if held is None or _badness(check) > _badness(held.check):
                found[key] = Worst(check, minute)
    return list(found.values())


def _badness(check: Check) -> tuple[int, float]:
    """Return what is more the worse a check came out: a share that is high, a silence that is low."""
    figure = check.figure or 0.0
    return SEVERITY[check.state], -figure if check.name == "silent" else figure
