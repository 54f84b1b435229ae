"""The checks: what is wrong with what was counted, and what to do about it.

A check is a function of what is seen and of the settings that returns one result, or one for each thing that it looks
at. CHECKS lists them all; a further one is a line there and its advice in ADVICE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.quality_settings import QualityOptions
from quality.catalogue import FIELDS, OFTEN_UNUSED, CatalogueFigures
from quality.series import Series
from quality.tally import (
    BOTS,
    BROKEN,
    CLICKS,
    DAY_MINUTES,
    DUPLICATE,
    EVENTS,
    FUTURE,
    HOUR_MINUTES,
    LATE,
    NO_VALUE,
    RECORDS,
    TYPE,
    UNKNOWN,
    VALUE,
)

WARNS_FROM: Final = 0.5
"""Of its threshold, a check warns."""
SILENT_WARNS: Final = 3
"""Times `silent_share`, a type warns."""
EARLIER_DAYS: Final = 7
WIDER: Final = (1, 2, 4, 8)
"""Times `silent_window`: a type that few events are of is looked at over a longer while."""
LONGEST_SILENCE: Final = 120
"""Minutes that are looked back for it, at most."""
RECENT_HOURS: Final = 24
VALUE_MINUTES: Final = 120
"""Values are looked at so far back: they are counted by hour."""
FEWER_VALUES: Final = 4
"""Times fewer values than `least_events` say something of what is now: few events have one."""
_USUAL: Final = 0.01
"""Share of earlier values on each side that says nothing of what is usual."""
_BEYOND: Final = 2
"""Half powers of two beyond the usual that a value may be."""


def hours_before(minute: int) -> list[int]:
    """Return the hours since 1970 whose cells the checks of a minute look at: a day, and the same hours of earlier
    days.
    """
    now = minute // HOUR_MINUTES
    days = [now - 24 * day - back for day in range(1, EARLIER_DAYS + 1) for back in range(LONGEST_SILENCE // 60 + 1)]
    return sorted({*range(now - RECENT_HOURS, now + 1), *days})


class State(StrEnum):
    """How a check came out, from nothing said to bad."""

    UNKNOWN = "not enough data"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


SEVERITY: Final = {state: number for number, state in enumerate(State, start=-1)}
"""As the gauge shows it: -1 not enough data, 0 ok, 1 warn, 2 bad."""


@dataclass(frozen=True, slots=True)
class Check:
    """`of` is what it looked at, where it looks at several things (a type of events). `figure` is None where there is
    none; `threshold` is what makes it bad. `says` is one sentence: what to do.
    """

    name: str
    of: str
    state: State
    figure: float | None
    threshold: float
    says: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.of}".strip()


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to judge, up to a minute since 1970 which is not in it any more.

    `behind`: records that are not counted yet, as far as that is known. `catalogue`: None where it is not known.
    """

    series: Series
    minute: int
    catalogue: CatalogueFigures | None = None
    behind: int = 0


ADVICE: Final = {
    "silent": "Look at what sends {of} events: the page's script, a consent banner, the last release, "
    "an API key that was revoked.",
    "broken": "`nextclick dead-letters list` shows them with the reason: mend what writes them to the log.",
    "future": "Set the sender's clock, and send `ts` in milliseconds: such events are dead letters.",
    "late": "Let the tracker send at once (sendBeacon), not in batches: what is late counts less, or not at all.",
    "duplicate": "Give each event an id of its own, and send again only what was not answered: repeats are left out.",
    "unknown": "Load the items that are clicked (`nextclick items load`), or send the same ids as the catalogue's.",
    "bots": "They are left out of trends: keep them off the site (robots.txt, a firewall), or raise "
    "`quality.bot_rate` if they are people.",
    "values": "Send `value` as the price of the whole line in its currency, not in cents: figures of money count it.",
    "title": "Send a `title` with each item: it is what shoppers and text models read.",
    "price": "Send a `price` with each item: filters and the ranking by price pass by items without one.",
    "category": "Send a `category` with each item: lists by category and the variety of pages need it.",
    "picture": "Send an `image_url` with each item: pages show a gap without one.",
    "stock": "Send `stock` with each item: without one it counts as never sold out.",
    "prices": "Look at the prices of the last import: 0, cents taken for whole units, or another currency.",
}
"""What to do, by check."""

Judged = Callable[[Seen, QualityOptions], Iterable[Check]]


def judge(seen: Seen, options: QualityOptions) -> list[Check]:
    """Return what all checks say, in the order of CHECKS."""
    return [check for looks in CHECKS for check in looks(seen, options)]


def worst(checks: Iterable[Check]) -> State:
    """Return the worst state of some checks."""
    return max((check.state for check in checks), key=SEVERITY.__getitem__, default=State.UNKNOWN)


def silent(seen: Seen, options: QualityOptions) -> Iterator[Check]:
    """Compare each type's events of a while with those of the same while on the quietest of seven earlier days: of the
    shortest while that enough events are expected in.
    """
    for name in seen.series.names:
        if not name.startswith(TYPE):
            continue
        state, share = State.UNKNOWN, None
        for length in _whiles(options.silent_minutes):
            now, before = _now_and_before(seen, name, length)
            least = min(before, default=0)
            share = now / least if least else None
            if share is not None and len(before) >= options.silent_days and least >= options.least_expected:
                state = _below(share, options.silent_share)
                break
        if seen.behind and state is not State.OK:
            state = State.UNKNOWN
        of = name.removeprefix(TYPE)
        says = _said("silent", state, of, f"the flow is {seen.behind} records behind" if seen.behind else "")
        yield Check("silent", of, state, share, options.silent_share, says)


def _whiles(length: int) -> list[int]:
    """Return the lengths that are tried, in minutes, shortest first."""
    return [length * times for times in WIDER if times == 1 or length * times <= LONGEST_SILENCE]


def _now_and_before(seen: Seen, name: str, length: int) -> tuple[int, list[int]]:
    """Return how many events of a name came in the last `length` minutes, and on each earlier day that is known."""
    ends = [seen.minute - day * DAY_MINUTES for day in range(1, EARLIER_DAYS + 1)]
    known = [end for end in ends if seen.series.between(RECORDS, end - length, end)]
    before = [seen.series.between(name, end - length, end) for end in known]
    return seen.series.between(name, seen.minute - length, seen.minute), before


def shares(seen: Seen, options: QualityOptions) -> Iterator[Check]:
    """Judge the shares of what is wrong with records, events and clicks."""
    asked = (
        ("broken", BROKEN, RECORDS, options.broken_share),
        ("future", FUTURE, RECORDS, options.future_share),
        ("late", LATE, EVENTS, options.late_share),
        ("duplicate", DUPLICATE, EVENTS, options.duplicate_share),
        ("unknown", UNKNOWN, CLICKS, options.unknown_share),
        ("bots", BOTS, EVENTS, options.bot_share),
    )
    first = seen.minute - options.window_minutes
    for name, part, whole, threshold in asked:
        count, total = (seen.series.between(what, first, seen.minute) for what in (part, whole))
        if name == "unknown" and (seen.catalogue is None or not seen.catalogue.items):
            total = 0
        yield _share(name, count, total, threshold, options.least_events)


def values(seen: Seen, options: QualityOptions) -> Iterator[Check]:
    """Judge the share of values that are not above 0, or twice beyond all but 1% of earlier ones on their side."""
    first = seen.minute - VALUE_MINUTES
    halves = {name: int(name[len(VALUE) :]) for name in seen.series.names if _is_half(name)}
    earlier = {half: seen.series.between(name, 0, first) for name, half in halves.items()}
    now = {half: seen.series.between(name, first, seen.minute) for name, half in halves.items()}
    none = seen.series.between(NO_VALUE, first, seen.minute)
    usual = _usual(earlier) if sum(earlier.values()) >= options.least_events else None
    outside = sum(count for half, count in now.items() if usual and not usual[0] <= half <= usual[1])
    total = sum(now.values()) + none if usual else 0
    yield _share("values", outside + none, total, options.value_share, options.least_events // FEWER_VALUES)


def catalogue(seen: Seen, options: QualityOptions) -> Iterator[Check]:
    """Judge the shares of items that lack a field, and of strange prices."""
    found = seen.catalogue or CatalogueFigures(0, 0)
    thresholds = (
        options.title_share,
        options.price_share,
        options.category_share,
        options.picture_share,
        options.stock_share,
    )
    for name, threshold in zip(FIELDS, thresholds, strict=True):
        count = found.lacking.get(name, 0)
        unused = name in OFTEN_UNUSED and count == found.looked_at
        yield _share(name, count, 0 if unused else found.looked_at, threshold, 1)
    yield _share("prices", found.strange_prices, found.prices, options.price_outlier_share, options.least_events)


CHECKS: Final[Sequence[Judged]] = (silent, shares, values, catalogue)


def _is_half(name: str) -> bool:
    return name.startswith(VALUE) and name[len(VALUE) :].removeprefix("-").isdigit()


def _usual(counts: dict[int, int]) -> tuple[int, int]:
    """Return the half powers of two between which values are usual."""
    total, seen, low, high = sum(counts.values()), 0, 0, 0
    for half in sorted(counts):
        if seen <= _USUAL * total:
            low = half
        seen += counts[half]
        high = half
        if seen >= (1 - _USUAL) * total:
            break
    return low - _BEYOND, high + _BEYOND


def _share(name: str, count: int, total: int, threshold: float, least: int) -> Check:
    if not total or total < least:
        return Check(name, "", State.UNKNOWN, None, threshold, _said(name, State.UNKNOWN))
    share = count / total
    state = State.BAD if share >= threshold else State.WARN if share >= WARNS_FROM * threshold else State.OK
    return Check(name, "", state, share, threshold, _said(name, state))


def _below(share: float, threshold: float) -> State:
    if share <= threshold:
        return State.BAD
    return State.WARN if share <= SILENT_WARNS * threshold else State.OK


def _said(name: str, state: State, of: str = "", why: str = "") -> str:
    if state is State.UNKNOWN:
        return f"Nothing to do yet: {why or 'too little was seen'}."
    if state is State.OK:
        return "Nothing to do."
    return ADVICE[name].format(of=of)
