"""Rows of a small made-up shop, as the arrays that expressions read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.columns import Numbers, Open, Words
from expressions.types import Field, Fields, Scope, Type

NAMED = (
    Field("price", Type.NUMBER, Scope.ITEM),
    Field("stock", Type.NUMBER, Scope.ITEM),
    Field("category", Type.TEXT, Scope.ITEM),
    Field("brand", Type.TEXT, Scope.ITEM),
    Field("regions", Type.LIST, Scope.ITEM),
    Field("created", Type.TIME, Scope.ITEM),
    Field("age_hours", Type.NUMBER, Scope.CLOCK),
    Field("session.brands", Type.LIST, Scope.REQUEST),
)
FIELDS = Fields(
    {field.name: field for field in NAMED},
    {"attributes": Scope.ITEM, "context": Scope.REQUEST},
)


@dataclass(frozen=True)
class RowsFrame:
    """Rows of fields by name, lists as tuples; what a row leaves out is unknown. `shared` counts for all rows."""

    rows: Sequence[Mapping[str, Any]]
    shared: Mapping[str, Any]
    now_ms: float = 1_790_000_000_000.0

    @property
    def size(self) -> int:
        return len(self.rows)

    def column(self, field: Field) -> Numbers | Words | Open:
        rows = [self.shared] if field.scope is Scope.REQUEST else self.rows
        values = [row.get(field.name) for row in rows]
        numbers = np.array([value if isinstance(value, float) else np.nan for value in values], np.float64)
        if field.type in (Type.NUMBER, Type.TIME):
            return Numbers(numbers)
        words: list[object] = [value for value in values if value is not None]
        codes = np.array([-1 if value is None else place(words, value) for value in values], np.int32)
        return Words(codes, words) if field.type is not Type.ANY else Open(numbers, codes, words)


def place(words: Sequence[object], value: object) -> int:
    """Return where a value stands; True is not 1."""
    return next(at for at, word in enumerate(words) if type(word) is type(value) and word == value)
