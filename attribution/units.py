"""Units of visitors: what is known of one session, or of one user. Growing a unit is pure: a grown one is new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from attribution.cells import HOUR_MS
from attribution.facts import Outcome, Page, Seen, keys_in
from attribution.lives import Past, folded
from attribution.rows import Row
from contracts.formats import expect_known

MOST_USERS: Final = 8
"""Users that one session knows."""
MOST_SEEN: Final = 100
"""Items kept of those that a client says were seen of a page: no answer has more. Of more, those with the lowest keys:
whatever the order in which they come.
"""
UNIT_CODEC: Final = 1


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """`pages` by id, `outcomes` by event id, `seen`: by page id the item keys that a client says were seen (8 bytes
    each), `users` seen in the session. `of_users`: outcomes of a session that are counted with its users, for its row
    in an experiment; `past`: by experiment, what a unit did in it that is too old to be kept fact by fact, and `life`
    of itself.
    """

    codec: int = UNIT_CODEC
    pages: dict[str, Page] = {}
    outcomes: dict[str, Outcome] = {}
    seen: dict[str, bytes] = {}
    users: tuple[str, ...] = ()
    of_users: dict[str, Outcome] = {}
    past: dict[str, Row] = {}
    life: Past | None = None

    @property
    def did(self) -> dict[str, Outcome]:
        """All outcomes of a session, or of a user."""
        return {**self.outcomes, **self.of_users}


EMPTY: Final = Unit()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a unit is kept: pages, outcomes, and how long before its newest fact, milliseconds."""

    pages: int
    outcomes: int
    keep_ms: int

    @property
    def gap_ms(self) -> int:
        """How long a visitor may be away in one life: shorter than it is kept."""
        return self.keep_ms - HOUR_MS


class Grown(NamedTuple):
    """A unit with new facts. `before` is the old one without what is too old to matter; `pages` are those that are new;
    `repeated` and `left_out` count facts that were there already, and that a full unit did not take.
    """

    before: Unit
    after: Unit
    pages: list[Page]
    repeated: int
    left_out: int


def grown(
    unit: Unit,
    facts: Iterable[Page | Seen | Outcome],
    users: Iterable[str],
    bounds: Bounds,
    of_users: Iterable[Outcome] = (),
) -> Grown:
    """Add facts and users to a unit, and to a session the outcomes of its users."""
    facts, of_users = list(facts), list(of_users)
    before = _kept(unit, [*facts, *of_users], bounds)
    pages, outcomes, seen = dict(before.pages), dict(before.outcomes), dict(before.seen)
    fresh: list[Page] = []
    repeated = left_out = 0
    for fact in facts:
        if isinstance(fact, Seen):
            if fact.page_id in seen or len(seen) < bounds.pages:
                seen[fact.page_id] = _joined(seen.get(fact.page_id, b""), fact.items)
            else:
                left_out += 1
        elif isinstance(fact, Page):
            if fact.page_id in pages:
                repeated += 1
            elif len(pages) < bounds.pages:
                pages[fact.page_id] = fact
                fresh.append(fact)
            else:
                left_out += 1
        elif fact.event_id in outcomes:
            repeated += 1
        elif len(outcomes) < bounds.outcomes:
            outcomes[fact.event_id] = fact
        else:
            left_out += 1
    known = tuple(dict.fromkeys((*before.users, *users)))[:MOST_USERS]
    theirs = dict(before.of_users)
    for one in of_users:
        if len(theirs) < bounds.outcomes:
            theirs.setdefault(one.event_id, one)
    after = Unit(UNIT_CODEC, pages, outcomes, seen, known, theirs, before.past, before.life)
    return Grown(before, after, fresh, repeated, left_out)


def _kept(unit: Unit, facts: Iterable[Page | Seen | Outcome], bounds: Bounds) -> Unit:
    """Return a unit without what is more than `bounds.keep_ms` older than its newest fact, and half of it older
    than a new one.
    """
    stamps = [one.ts for kept in (unit.pages, unit.outcomes, unit.of_users) for one in kept.values()]
    if not stamps:
        return unit
    fresh = [fact.ts for fact in facts if not isinstance(fact, Seen)]
    oldest = max(*stamps, *fresh, 0) - bounds.keep_ms
    oldest = min([oldest, *(ts - bounds.keep_ms // 2 for ts in fresh)])  # what the oldest of a batch needs
    if min(stamps) >= oldest:
        return unit
    pages = {name: page for name, page in unit.pages.items() if page.ts >= oldest}
    outcomes = {name: outcome for name, outcome in unit.outcomes.items() if outcome.ts >= oldest}
    theirs = {name: outcome for name, outcome in unit.of_users.items() if outcome.ts >= oldest}
    gone = unit.pages.keys() - pages.keys()
    seen = {name: items for name, items in unit.seen.items() if name not in gone}
    life = folded(
        unit.life,
        [page for page in unit.pages.values() if page.ts < oldest],
        [outcome for outcome in unit.outcomes.values() if outcome.ts < oldest],
        bounds.gap_ms,
    )
    return Unit(UNIT_CODEC, pages, outcomes, seen, unit.users, theirs, unit.past, life)


def _joined(one: bytes, other: bytes) -> bytes:
    return b"".join(sorted({*keys_in(one), *keys_in(other)})[:MOST_SEEN])


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Unit).decode


class _Codec(msgspec.Struct, array_like=True):
    codec: int


_decode_codec: Final = msgspec.msgpack.Decoder(_Codec).decode


def encode_unit(unit: Unit) -> bytes:
    return _encode(unit)


def decode_unit(raw: bytes) -> Unit:
    """Decode what `encode_unit` made. Raises ValueError for anything else, NewerFormat."""
    try:
        unit = _decode(raw)
    except msgspec.DecodeError as error:
        expect_known("attribution_unit", _codec_of(raw))
        raise ValueError(f"expected a unit of attribution, got {raw[:40]!r}: {error}") from error
    expect_known("attribution_unit", unit.codec, "let its flow start afresh")
    return unit


def _codec_of(raw: bytes) -> int:
    """Return the version of a unit whose other elements may be anything; that of this release where it has none."""
    try:
        return _decode_codec(raw).codec
    except msgspec.DecodeError:
        return UNIT_CODEC
