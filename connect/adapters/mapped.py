"""What an adapter makes of a payload: our events, a refusal, or nothing; and how one is put together from parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connect.adapters.fields import Place, Problem, joined, named_id, quantity_of
from connect.prices import read_price
from contracts.events import Rejection, shown
from contracts.pointers import pointer

MOST_ITEMS: Final = 1000
"""Items of one event, as many as an impression may have."""
MOST_NAME: Final = 100
"""Characters that are kept of the vendor's name for an event."""

Document = dict[str, Any]
IMPRESSION: Final = "impression"
PAID: Final = frozenset(("purchase", "return"))
"""Types whose price counts as money: one that cannot be read refuses the event. Others go on without a price."""

MAY_BE_EMPTY: Final = frozenset((IMPRESSION, "return"))
"""Types that vendors also write without items: a list with nothing in it, an order that was refunded as a whole."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one event of a vendor: `events` of ours, or `refused`; neither where it says nothing of an item.

    `place` is where it stands in the payload, `name` what the vendor calls it. `notes` say which reading was chosen of
    a price that can be read both ways.
    """

    place: Place
    name: str
    raw: Any = None
    events: tuple[Document, ...] = ()
    refused: Rejection | None = None
    notes: tuple[str, ...] = ()
    consent: bool | None = None
    """What the vendor says of the visitor's consent; of events of ours it stands in each of them too."""

    @property
    def is_ignored(self) -> bool:
        return not self.events and self.refused is None


@dataclass(frozen=True, slots=True)
class Line:
    """An item of an event as the vendor writes it: what it is, what one of it costs, how many, and where it stands."""

    item: object
    place: Place
    price: object = None
    quantity: object = None
    currency: object = None


@dataclass(frozen=True, slots=True)
class Draft:
    """All of an event but its items. `key` makes its id: the same words, the same id."""

    vendor: str
    type: str
    key: tuple[object, ...]
    session_id: str
    ts: int
    user_id: str | None = None
    order_id: str | None = None
    currency: object = None
    request_id: str | None = None
    value: float | None = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def events(self, lines: Sequence[Line], notes: list[str]) -> list[Document]:
        """Return an event for each line; for an impression one with all of them. Raises Problem."""
        if not lines and self.type in MAY_BE_EMPTY:
            return []
        if not lines:
            raise Problem("no_item", (), f"expected at least one item of a {self.type}, got none")
        if len(lines) > MOST_ITEMS:
            raise Problem("too_many_items", lines[MOST_ITEMS].place, f"expected at most {MOST_ITEMS}, got {len(lines)}")
        ids = [named_id(line.item, line.place, "an item id") for line in lines]
        if self.type == IMPRESSION:
            return [self._filled(joined((self.vendor, *self.key)), {"items": list(dict.fromkeys(ids))})]
        met: dict[str, int] = {}
        found = []
        for line, item_id in zip(lines, ids, strict=True):
            at = met[item_id] = met.get(item_id, -1) + 1
            event_id = joined((self.vendor, *self.key, item_id, *((at,) if at else ())))
            found.append(self._filled(event_id, {"item_id": item_id, **self._money(line, notes)}))
        return found

    def _filled(self, event_id: str, own: Document) -> Document:
        event: Document = {"v": 1, "event_id": event_id, "type": self.type, "session_id": self.session_id}
        if self.user_id is not None:
            event["user_id"] = self.user_id
        event |= own
        event["ts"] = self.ts
        for name, value in (("value", self.value), ("order_id", self.order_id), ("request_id", self.request_id)):
            if value is not None:
                event[name] = value
        if self.context:
            event["context"] = dict(self.context)
        return event

    def _money(self, line: Line, notes: list[str]) -> Document:
        """Return quantity, value (the price of the whole line) and currency. Raises Problem where they are money."""
        if self.value is not None:
            return {}
        try:
            pieces = quantity_of(line.quantity, (*line.place, "quantity"))
            value = self._value(line, pieces or 1, notes)
        except Problem:
            if self.type in PAID:
                raise
            return {}
        return ({} if pieces is None else {"quantity": pieces}) | value

    def _value(self, line: Line, pieces: int, notes: list[str]) -> Document:
        if line.price is None or line.price == "":
            return {}
        place = (*line.place, "price")
        said = line.currency or self.currency
        if said is not None and not isinstance(said, str):
            raise Problem("unknown_currency", place, f"expected three letters such as EUR, got {shown(said, 40)}")
        price = read_price(line.price, currency=said or None)
        if isinstance(price, Rejection):
            raise Problem(price.reason, place, price.detail)
        if price.ambiguous:
            notes.append(f"{pointer(place)}: {shown(line.price, 40)} was read as {price}")
        found: Document = {"value": round(price.amount * pieces, 4)}
        return found if price.currency is None else found | {"currency": price.currency}


Opened = Iterable[tuple[Place, Any]]


def says_nothing(_part: Any) -> bool | None:
    """Return what a payload without a word of consent says of it."""
    return None


@dataclass(frozen=True, slots=True)
class Adapter:
    """One vendor's mapping.

    `opened` takes a payload apart into events, each with its place and with what the payload says of all of them;
    `name_of` says what the vendor calls one; `events_of` makes ours of it: given the event, its place, when it came
    (epoch ms, None in an import: then no clock is corrected) and a list for notes. None: it says nothing of an item.
    `opened` and `events_of` raise Problem. `consent_of` says what an event, or a payload, tells of consent; it takes
    anything.
    """

    vendor: str
    opened: Callable[[Any], Opened]
    name_of: Callable[[Any], str]
    events_of: Callable[[Any, Place, int | None, list[str]], list[Document] | None]
    consent_of: Callable[[Any], bool | None] = says_nothing

    def read(self, payload: object, received_ms: int | None) -> Iterator[Mapped]:
        """Yield what becomes of each event of a decoded payload."""
        try:
            for place, part in self.opened(payload):
                yield self._one(place, part, received_ms)
        except Problem as problem:
            yield Mapped(
                problem.place,
                self.vendor,
                payload,
                refused=problem.refusal(self.vendor),
                consent=self.consent_of(payload),
            )

    def _one(self, place: Place, part: Any, received_ms: int | None) -> Mapped:
        name, notes, consent = "", list[str](), self.consent_of(part)
        try:
            if not isinstance(part, dict):
                raise Problem("not_an_object", (), f"expected an object, got {shown(part, 40)}")
            name = self.name_of(part)[:MOST_NAME]
            events = self.events_of(part, place, received_ms, notes)
        except Problem as problem:
            refused = problem.under(place).refusal(f"{self.vendor} {name}".strip())
            return Mapped(place, name, part, refused=refused, consent=consent)
        told = {} if consent is None else {"consent": consent}
        made = tuple(event | told for event in events or ())
        return Mapped(
            place, name, part, made, notes=tuple(f"{pointer(place)}{note}" for note in notes), consent=consent
        )


def unknown(name: str) -> Problem:
    """Return the problem of an event that nothing is known of."""
    return Problem("unknown_event", (), f"{shown(name, 60)} is not an event that the adapter knows")
