"""The fields that expressions of scenarios and requests may name, and their values for one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from contracts.ids import item_key
from expressions.columns import Numbers, Open, Words
from expressions.types import Field, Fields, Scope, Type
from rerank.affinities import LEARNT, value_of
from rerank.feedback import wanted_in
from rerank.scenarios.seasons import season_at
from retrieval.catalogue import CatalogueColumns
from retrieval.item_columns import inner, plain_value
from retrieval.item_fields import HOUR_MS, ITEM_FIELDS, as_written
from retrieval.key_rows import Rows

if TYPE_CHECKING:
    from rerank.query import Query

_ASKED: Final = (
    Field("session.events", Type.NUMBER, Scope.REQUEST),
    Field("session.age_hours", Type.NUMBER, Scope.REQUEST),
    Field("session.items", Type.LIST, Scope.REQUEST),
    Field("session.categories", Type.LIST, Scope.REQUEST),
    Field("session.brands", Type.LIST, Scope.REQUEST),
    Field("page.item_id", Type.TEXT, Scope.REQUEST),
    Field("page.category", Type.TEXT, Scope.REQUEST),
    Field("page.brand", Type.TEXT, Scope.REQUEST),
    Field("page.price", Type.NUMBER, Scope.REQUEST),
    Field("clock.hour", Type.NUMBER, Scope.REQUEST),
    Field("clock.weekday", Type.NUMBER, Scope.REQUEST),
    Field("clock.month", Type.NUMBER, Scope.REQUEST),
    Field("clock.season", Type.TEXT, Scope.REQUEST),
    *(
        Field(f"user.{name}", type_, Scope.REQUEST, ("user", *name.split(".")))
        for type_, names in (
            (Type.NUMBER, ("age", "price", "clicks", "purchases")),
            (Type.TEXT, ("gender", "region", "device")),
            (Type.LIST, ("style_tags", "wishlist", "quiz.items", "quiz.tags", "brands", "categories")),
            (Type.LIST, ("do_not_show.items", "do_not_show.brands", "do_not_show.categories")),
        )
        for name in names
    ),
)
_CLOCK: Final = frozenset(("hour", "weekday", "month", "season"))
_OPEN_OF_USERS: Final = {"user.attributes": Scope.REQUEST, "user.sizes": Scope.REQUEST}
FIELDS: Final = Fields(
    {**ITEM_FIELDS, **{one.name: one for one in _ASKED}},
    {"attributes": Scope.ITEM, "context": Scope.REQUEST, **_OPEN_OF_USERS},
)
"""`clock` is UTC, Monday is 1, seasons are of the northern half; `page` is the item that the page shows; `context`:
what the request says, or else the clock, and what is known of region and age; `user`: what the site says of the user
(`contracts.users.UserDocument`), and what was learnt (`affinities.LEARNT`).
"""
FIELDS_OF_ITEMS: Final = Fields(
    {**ITEM_FIELDS, **{one.name: one for one in _ASKED if one.name.startswith("clock.")}},
    {"attributes": Scope.ITEM},
)
"""What an expression may read that is asked of the catalogue alone, without a visitor."""


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """Candidates (n,) of one request, as expressions are evaluated over them."""

    catalogue: CatalogueColumns
    rows: Rows
    query: Query
    _read: dict[str, Numbers | Words | Open] = field(default_factory=dict, compare=False)
    """What was read of these rows, by field: conditions of a scenario ask for the same again and again."""

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def now_ms(self) -> float:
        return float(self.query.now_ms)

    def column(self, field: Field) -> Numbers | Words | Open:
        found = self._read.get(field.name)
        if found is None:
            found = self._read[field.name] = self._column(field)
        return found

    def _column(self, field: Field) -> Numbers | Words | Open:
        if field.scope is not Scope.REQUEST:
            return self.catalogue.fields.column(self.catalogue, field, self.rows, self.now_ms)
        value = self._value(field)
        number = np.array([value if isinstance(value, float) else np.nan])
        if field.type is Type.NUMBER:
            return Numbers(number)
        code = np.array([-1 if value is None else 0], np.int32)
        words = [] if value is None else [value]
        return Open(number, code, words) if field.type is Type.ANY else Words(code, words)

    def _value(self, field: Field) -> object:
        query = self.query
        if field.path:
            if field.path[0] == "user":
                return self._of_user(field.path[1:])
            return self._of_context(field.path[1:])
        subject, _, name = field.name.partition(".")
        if subject == "clock":
            return _of_clock(name, query.now_ms)
        return self._of_page(name) if subject == "page" else self._of_session(name)

    def _of_context(self, path: Sequence[str]) -> object:
        """Return what the request says; where it does not say when or where it is, what is known of that otherwise."""
        query = self.query
        said = plain_value(inner(query.context, path))
        if said is not None or len(path) != 1:
            return said
        if path[0] in _CLOCK:
            return _of_clock(path[0], query.now_ms)
        if path[0] == "region":
            return query.region
        return float(query.age) if path[0] == "age" and query.age is not None else None

    def _of_user(self, path: Sequence[str]) -> object:
        """Return what the site says; where it says nothing, what was learnt."""
        query = self.query
        said = plain_value(inner(query.user, path))
        if said is None and query.learnt is not None and len(path) == 1 and path[0] in LEARNT:
            return value_of(query.learnt, path[0], self.catalogue, query.now_ms)
        return said

    def _of_session(self, name: str) -> object:
        session = self.query.session
        if name == "events":
            return float(session.events) if session is not None else 0.0
        if session is None:
            return () if name != "age_hours" else None
        if name == "age_hours":
            return max(0.0, (self.now_ms - session.last_ms) / HOUR_MS)
        rows = self._known(wanted_in(session.window)["item"][::-1].tolist())
        return tuple(dict.fromkeys(text for row in rows for text in self._texts(name, row) if text))

    def _of_page(self, name: str) -> object:
        rows = self._known([] if self.query.item_id is None else [item_key(self.query.item_id)])
        if not rows:
            return None
        if name == "price":
            price = float(as_written(self.catalogue.price[rows[:1]])[0])
            return None if np.isnan(price) else price
        return next(iter(self._texts(name, rows[0])), None) or None

    def _texts(self, name: str, row: int) -> Sequence[str]:
        """Return what an item says of `categories` and the like; of several words the plural and the singular."""
        item = self.catalogue.documents[row]
        if name in ("items", "item_id"):
            return [self.catalogue.item_ids[row]]
        if name in ("brands", "brand"):
            return [item.brand or ""]
        return [item.category_path[-1]] if item.category_path else []

    def _known(self, keys: Sequence[int]) -> list[int]:
        rows = self.catalogue.rows_of(np.array(keys, np.uint64))
        known: list[int] = rows[rows >= 0].tolist()
        return known


@dataclass(frozen=True, slots=True)
class BrowsedFrame:
    """Rows (n,) of the catalogue, as expressions over `FIELDS_OF_ITEMS` are evaluated."""

    catalogue: CatalogueColumns
    rows: Rows
    now_ms: float

    @property
    def size(self) -> int:
        return len(self.rows)

    def column(self, field: Field) -> Numbers | Words | Open:
        if field.scope is not Scope.REQUEST:
            return self.catalogue.fields.column(self.catalogue, field, self.rows, self.now_ms)
        value = _of_clock(field.name.partition(".")[2], int(self.now_ms))
        return Words(np.zeros(1, np.int32), [value]) if isinstance(value, str) else Numbers(np.array([value]))


def _of_clock(name: str, now_ms: int) -> float | str:
    if name == "season":
        return season_at(now_ms)
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return float({"hour": now.hour, "weekday": now.isoweekday(), "month": now.month}[name])
