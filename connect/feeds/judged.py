"""What a pull changes, whether it may, and how fast: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import orjson

DIGEST_BYTES: Final = 16
Change = Literal["same", "put", "stock"]


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue was told of an item: the digest of its document, and its stock (None: nothing)."""

    digest: bytes
    stock: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one pull: items that the feed named before, of these how many it lacks now, and how many it has."""

    known: int
    lost: int
    found: int


def digest_of(document: Mapping[str, Any]) -> bytes:
    """Return a document's digest, whatever the order of its fields."""
    raw = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return blake2b(raw, digest_size=DIGEST_BYTES).digest()


def change_of(before: Known | None, now: Known) -> Change:
    """Return what is to be done of an item. A feed that says nothing of stock changes none."""
    if before is None or before.digest != now.digest:
        return "put"
    return "same" if now.stock is None or now.stock == before.stock else "stock"


def stock_to_tell(before: Known | None, now: Known) -> int | None:
    """Return the stock that a put carries: None where it is what was told before, as others may have set it since."""
    return None if before is not None and now.stock == before.stock else now.stock


def why_held(counts: Counts, may_lose: float) -> str | None:
    """Say why a pull is not applied before somebody confirms it; None where it is."""
    if not counts.found:
        return f"the feed is empty; it had {counts.known:,} items" if counts.known else "the feed is empty"
    if counts.known and counts.lost > may_lose * counts.known:
        share = counts.lost / counts.known
        return f"{counts.lost:,} of {counts.known:,} items are gone ({share:.0%}, over {may_lose:.0%})"
    return None


class Pace(NamedTuple):
    """How changes are sent: `batch` of them together, `most_per_s` at most, and a gateway works at them at most `share`
    of the time.
    """

    batch: int
    most_per_s: float
    share: float


QUIET_PER_S: Final = 1.0
"""Recommendations a second below which a gateway counts as asked for nothing."""


def pace_of(asked_per_s: Sequence[float | None], busy: Pace, quiet: Pace) -> Pace:
    """Return the pace by what gateway processes said lately that they are asked for; None: one did not say."""
    known = [one for one in asked_per_s if one is not None]
    return quiet if known and len(known) == len(asked_per_s) and max(known) < QUIET_PER_S else busy


def pause_s(count: int, took_s: float, most_per_s: float, share: float) -> float:
    """Return how long to wait after a batch of `count` changes that the gateway answered in `took_s`.

    Changes then come at most at `most_per_s`, and the gateway works at them at most `share` of the time: a gateway
    that is slow, because it is busy, is asked less.
    """
    return max(0.0, count / most_per_s - took_s, took_s * (1.0 / share - 1.0))
