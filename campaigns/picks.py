"""What a campaign picked for a user: one document a user, and the rows that tables are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import xxhash

Pick = Mapping[str, Any]
"""`campaign`, `user_id`, `request_id`, `at_ms`, `scenario`, `version`, `variant`, `cold_start` and `items`, best first:
each has `item_id`, `position` from 1, `score`, `reason`, and the fields that were asked for, `price` among them."""

OF_USER: Final = (
    "campaign",
    "user_id",
    "request_id",
    "at_ms",
    "scenario",
    "version",
    "experiment",
    "variant",
    "cold_start",
)
OF_ITEM: Final = ("position", "item_id", "score", "reason")
PRICE: Final = "price"
"""Always among the fields: what the check at the time of sending compares."""


def request_id_of(campaign: str, at_ms: int, user_id: str) -> str:
    """Return the request id of a user's pick, 32 hex digits: the same whenever the pick is made again."""
    return xxhash.xxh3_128_hexdigest(f"{campaign}\0{at_ms}\0{user_id}".encode())


def fields_of(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of items that a campaign reads: those asked for, each once, and the price."""
    return tuple(dict.fromkeys((*asked, PRICE)))


def pick_of(
    campaign: str, at_ms: int, user_id: str, answer: Mapping[str, Any], fields: Sequence[str]
) -> dict[str, Any]:
    """Return what was picked, from the fields of a RecommendationAnswer."""
    scenario = answer["scenario"]
    return {
        "campaign": campaign,
        "user_id": user_id,
        "request_id": answer["request_id"],
        "at_ms": at_ms,
        "scenario": scenario["name"],
        "version": scenario["version"],
        "experiment": answer["experiment_id"],
        "variant": answer["variant"],
        "cold_start": answer["cold_start"],
        "items": [_item(one, fields) for one in answer["recommendations"]],
    }


def _item(recommended: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    document = recommended.get("item", {})
    own = {name: recommended[name] for name in OF_ITEM}
    return own | {name: document.get(name) for name in fields}


def rows_of(pick: Pick, fields: Sequence[str]) -> Iterator[list[Any]]:
    """Yield a row an item, of the columns that `columns_of` names."""
    of_user = [pick[name] for name in OF_USER]
    for item in pick["items"]:
        yield [*of_user, *(item[name] for name in OF_ITEM), *(item.get(name) for name in fields)]


def columns_of(fields: Sequence[str]) -> list[str]:
    """Return the columns of the tables that picks are written to."""
    return [*OF_USER, *OF_ITEM, *fields]
