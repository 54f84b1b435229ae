"""Segments: conditions on a request alone, by which visitors take part in something or not."""

from __future__ import annotations

from typing import Final

import numpy as np

from expressions.errors import ExpressionError
from expressions.program import Condition, condition
from expressions.types import Fields
from rerank.affinities import LEARNT
from rerank.query import Query
from rerank.scenarios.compiled import ScenarioError
from rerank.scenarios.fields import FIELDS, RequestFrame
from retrieval.catalogue import CatalogueColumns

_OF: Final = ("context", "user", "clock")
SEGMENT_FIELDS: Final = Fields(
    {
        name: field
        for name, field in FIELDS.named.items()
        if name.partition(".")[0] in _OF and name.removeprefix("user.") not in LEARNT
    },
    {name: scope for name, scope in FIELDS.open.items() if name.partition(".")[0] in _OF},
)
"""What a request says, and what the site says of the user. What was learnt is left out: it changes with each click, and
a visitor would go in and out."""
_ONE: Final = np.zeros(1, np.int32)


def compile_segment(text: str, pointer: str = "/segment") -> Condition:
    """Compile a segment. Raises ScenarioError with the place in it."""
    try:
        return condition(text, SEGMENT_FIELDS)
    except ExpressionError as error:
        raise ScenarioError(pointer, str(error)) from error


def is_in(segment: Condition, catalogue: CatalogueColumns, query: Query) -> bool:
    """Say whether a request certainly meets a segment."""
    return bool(segment.keeps(RequestFrame(catalogue, _ONE, query))[0])
