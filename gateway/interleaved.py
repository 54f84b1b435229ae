"""Pages that two variants made together, by team draft: whose each item is. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from experiments.interleaving import team_draft
from rerank.pipeline import Ranked, RankedItem


def mixed(first: Ranked, second: Ranked, limit: int, seed: int) -> tuple[Ranked, list[int]]:
    """Return one page of at most `limit` items, and whose each is: 0 of the first list, 1 of the second.

    What else an answer says is of the first list. The same `seed` gives the same page.
    """
    lists = (first, second)
    names = [[item.item_id for item in one.items] for one in lists]
    page, teams = team_draft(names[0], names[1], limit, np.random.default_rng(seed))
    places = [(team, names[team].index(item_id)) for item_id, team in zip(page, teams, strict=True)]
    items: list[RankedItem] = [lists[team].items[at] for team, at in places]
    degraded = list(dict.fromkeys((*first.degraded, *second.degraded)))
    changed: dict[str, Any] = {"items": items, "degraded": degraded, "scored": None, "positions": None}
    if first.explained and second.explained:
        changed["explained"] = [lists[team].explained[at] for team, at in places]
    if len(items) >= limit:
        changed["starved_by"] = {}
    return msgspec.structs.replace(first, **changed), teams
