"""The items of an answer, as they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from contracts.ids import ItemKey
from contracts.items import item_document
from rerank.pipeline import RankedItem
from rerank.scenarios.compiled import Compiled
from retrieval.catalogue import CatalogueColumns
from retrieval.item_columns import inner


def recommended(
    columns: CatalogueColumns,
    scenario: Compiled,
    fields: Sequence[str] | None,
    items: Sequence[RankedItem],
    keys: Sequence[ItemKey],
) -> list[dict[str, Any]]:
    """Return a page's items as an answer tells them. `fields`: those of the request, before the scenario's."""
    told: list[dict[str, Any]] = [
        {"item_id": item_id, "product_id": item_id, "score": score, "reason": reason, "position": position}
        for position, (item_id, score, reason, _) in enumerate(items, 1)
    ]
    if scenario.placement.defaults.page_leads:
        for one, item in zip(told, items, strict=True):
            one["group"] = item.group
    fields = scenario.scenario.fields if fields is None else fields
    if fields:
        rows = columns.rows_of(np.array(keys, np.uint64))
        for one, row in zip(told, rows.tolist(), strict=True):
            one["item"] = _fields_of(item_document(one["item_id"], columns.documents[row]), fields)
    return told


def _fields_of(document: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the named fields of an item, `attributes.x` among them, those that it has."""
    found = {name: inner(document, name.split(".")) for name in fields}
    return {name: value for name, value in found.items() if value is not None}


def without_margins(explained: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is told of items, without what a key for recommendations does not open."""
    for told in explained:
        told.get("terms", {}).get("margin", {}).pop("value", None)
    return explained
