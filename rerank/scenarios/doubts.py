"""What of a scenario that can be published will probably not do what it looks like: conditions that are never true,
words that no item of the catalogue has, limits and shares that no page can keep. Told as warnings; nothing is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, islice
from typing import Final, NamedTuple

import numpy as np

from contracts.ids import item_key
from contracts.items import Item
from contracts.scenarios import Limit, Scenario
from expressions.never import Mention, allowed, doubts, mentions, typed
from expressions.parse import compared_with
from expressions.tree import Node
from rerank.scenarios.fields import FIELDS
from rerank.scenarios.page import most_of
from retrieval.catalogue import CatalogueColumns

MOST_DOUBTS: Final = 20
_MOST_COMPARED: Final = 2000
"""Words that a wrong one is compared with by their letters, which takes 20 us each."""
_ITEM_ID: Final = "item_id"
_MANY: Final = {"category": "categories", "top_category": "top categories", "brand": "brands"}
_ITEMS: Final = "in the catalogue"


class Doubt(NamedTuple):
    """A warning. `pointer` says where in the document (RFC 6901); `detail` begins with line and column in a text."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the items of a catalogue say. `""` is among the words where an item says nothing."""

    words: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Of `category` and `brand`: every one that an item has. Without an entry nothing is known of them."""
    missing: Collection[str] = ()
    """Of the items that the document names, those that there are not."""
    sold_out: Collection[str] = ()
    """Of the items that the document names, those without stock."""


def items_named(scenario: Scenario) -> list[str]:
    """Return the ids of the items that a scenario pins or buries, or that an expression compares `item_id` with."""
    expressions = [text for text in (scenario.filter, *(boost.if_ for boost in scenario.boosts or ())) if text]
    named = (
        *(pin.item_id for pin in scenario.pins or ()),
        *(scenario.bury or ()),
        *(item_id for text in expressions if _ITEM_ID in text for item_id in compared_with(text, _ITEM_ID)),
    )
    return list(dict.fromkeys(named))


def known_of(catalogue: CatalogueColumns, named: Sequence[str]) -> Known:
    """Return what a catalogue knows now, of the named items too."""
    alive = catalogue.alive[: catalogue.count]
    if not alive.any():
        return Known()  # nothing is loaded yet: all would be missing
    words: dict[str, Collection[str]] = {}
    for name, vocabulary in (("category", catalogue.words.categories), ("brand", catalogue.words.brands)):
        held = np.bincount(getattr(catalogue, name)[: catalogue.count][alive], minlength=len(vocabulary)) > 0
        words[name] = [word for word, code in vocabulary.items() if held[code]]
    rows = catalogue.rows_of(np.array([item_key(item_id) for item_id in named], np.uint64))
    there = (rows >= 0) & catalogue.alive[np.maximum(rows, 0)]
    empty = there & (catalogue.stock[np.maximum(rows, 0)] <= 0)
    missing = [item_id for item_id, is_there in zip(named, there.tolist(), strict=True) if not is_there]
    sold_out = [item_id for item_id, is_empty in zip(named, empty.tolist(), strict=True) if is_empty]
    return Known(words, frozenset(missing), frozenset(sold_out))


def known_in(items: Mapping[str, Item], named: Sequence[str]) -> Known:
    """Return what items, by id, say; and which of the named items are not among them."""
    categories = {(item.category_path or ("",))[-1] for item in items.values()}
    brands = {item.brand or "" for item in items.values()}
    sold_out = frozenset(item_id for item_id in named if item_id in items and items[item_id].stock == 0)
    return Known({"category": categories, "brand": brands}, set(named) - items.keys(), sold_out)


def doubts_of(
    scenario: Scenario, whole: Scenario, known: Known, length: int = 10, now_ms: int | None = None
) -> list[Doubt]:
    """Return what is doubtful of a document, MOST_DOUBTS at most. Its expressions must be right.

    `whole` is it with what its bases say; `length` the items of a page. With `now_ms` what ended before is told too.
    """
    found = chain(_all(scenario, whole, known, length), () if now_ms is None else _ended(scenario, now_ms))
    return list(islice(found, MOST_DOUBTS))


def _all(scenario: Scenario, whole: Scenario, known: Known, length: int) -> Iterator[Doubt]:
    texts = {
        "/filter": scenario.filter,
        **{f"/boosts/{at}/if": one.if_ for at, one in enumerate(scenario.boosts or ())},
    }
    trees = {pointer: typed(text, FIELDS) for pointer, text in texts.items() if text}
    for pointer, tree in trees.items():
        for one in doubts(tree):
            yield Doubt(pointer, f"line {one.place.line}, column {one.place.column}: {one.detail}")
        for mention in mentions(tree):
            if (said := _of_mention(mention, known)) is not None:
                yield Doubt(pointer, f"line {mention.place.line}, column {mention.place.column}: {said}")
    for at, pin in enumerate(scenario.pins or ()):
        if (said := _of_pin(pin.item_id, whole, known)) is not None:
            yield Doubt(f"/pins/{at}/item_id", said)
    for at, item_id in enumerate(scenario.bury or ()):
        if item_id in known.missing:
            yield Doubt(f"/bury/{at}", f"{item_id!r} is not {_ITEMS}: nothing is buried")
    filter_ = trees.get("/filter") or (typed(whole.filter, FIELDS) if whole.filter else None)
    for at, limit in enumerate(scenario.limits or ()):
        if (said := _of_limit(limit, filter_, known, length)) is not None:
            yield Doubt(f"/limits/{at}", said)
    yield from _of_shares(scenario, whole)


def _of_pin(item_id: str, whole: Scenario, known: Known) -> str | None:
    if item_id in known.missing:
        return f"{item_id!r} is not {_ITEMS}: its position is filled as any other"
    if item_id in known.sold_out:
        return f"{item_id!r} is sold out: until it is in stock its position is filled as any other"
    return f"{item_id!r} is buried too: it stands where it is pinned" if item_id in (whole.bury or ()) else None


def _ended(scenario: Scenario, now_ms: int) -> Iterator[Doubt]:
    for name in ("boosts", "pins"):
        for at, one in enumerate(getattr(scenario, name) or ()):
            if one.until is not None and one.until.timestamp() * 1000 <= now_ms:
                yield Doubt(f"/{name}/{at}/until", f"it ended at {one.until.isoformat()}: it does nothing any more")


def _of_mention(mention: Mention, known: Known) -> str | None:
    if mention.field == _ITEM_ID:
        return f"{mention.text!r} is not {_ITEMS}" if mention.text in known.missing else None
    words = known.words.get(mention.field)
    if words is None or not mention.text:
        return None
    if mention.relation == "is":
        if mention.text in words:
            return None
        if mention.field == "category" and _is_held(mention.text, words):
            below = f'under(category, "{mention.text}")'
            return f'no item is of the category "{mention.text}" itself: for what is below it write {below}'
    elif _is_held(mention.text, words):
        return None
    near = nearest(mention.text, [word for word in words if word], paths=mention.field == "category")
    hint = f"did you mean {' or '.join(_quoted(near))}?" if near else "look at its letters, large and small"
    return f'no item {_ITEMS} has the {mention.field} "{mention.text}": {hint}'


def _is_held(category: str, words: Collection[str]) -> bool:
    below = "/".join(part for part in category.split("/") if part) + "/"
    return any(f"{word}/".startswith(below) for word in words)


def nearest(wrong: str, words: Sequence[str], *, paths: bool) -> list[str]:
    """Return the words that were probably meant by one that there is not, three at most: of other case, of a category
    path the one that ends or goes on so (`trail` for `shoes/trail`), else the likest by letters.
    """
    there = list(dict.fromkeys(_with_parents(words) if paths else words))
    meant = "/".join(part for part in wrong.lower().split("/") if part) if paths else wrong.lower()
    same = [word for word in there if word.lower() == meant]
    if not same and paths:
        same = sorted((word for word in there if f"/{word.lower()}".endswith(f"/{meant}")), key=len)
    if not same:
        alike = [word for word in there if abs(len(word) - len(meant)) <= max(3, len(meant) // 3)][:_MOST_COMPARED]
        lowered = {word.lower(): word for word in reversed(alike)}
        same = [lowered[one] for one in get_close_matches(meant, lowered, 1, 0.7)]
    if not same and paths and "/" in meant:  # what is below a category of another place
        same = nearest(meant.rpartition("/")[2], words, paths=True)
    return same[:3]


def _with_parents(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        parts = path.split("/")
        for depth in range(len(parts)):
            yield "/".join(parts[: depth + 1])


def _of_limit(limit: Limit, filter_: Node | None, known: Known, length: int) -> str | None:
    """Say that a page of so many items cannot keep a limit, as there are too few different words for it."""
    name = "category" if limit.field == "top_category" else limit.field
    if name not in known.words:
        return None
    words = set(known.words[name])
    left = None if filter_ is None else allowed(filter_, name)
    where = f"is {_ITEMS} is" if left is None else "the filter leaves is"
    if left is not None:
        words &= left
    if not words or "" in words:
        return None  # what says nothing is not limited
    if limit.field == "top_category":
        words = {word.partition("/")[0] for word in words}
    most = most_of(limit, length)
    if most * len(words) >= length:
        return None
    return (
        f"at most {most} of a page of {length} may be alike in {limit.field}, and all that {where} of "
        f"{len(words)} {_MANY[limit.field] if len(words) > 1 else limit.field}: no page can be filled within it, so it "
        f"gives way on every page. Allow {-(-length // len(words))} of {length} at least, or limit another field"
    )


def _of_shares(scenario: Scenario, whole: Scenario) -> Iterator[Doubt]:
    new, small = whole.new_share or 0.0, whole.small_supplier_share or 0.0
    own = [name for name in ("small_supplier_share", "new_share") if getattr(scenario, name) is not None]
    if own and new + small > 1 + 1e-9:
        yield Doubt(
            f"/{own[0]}",
            f"new_share {new:g} and small_supplier_share {small:g} are {new + small:g} of a page: only items that are "
            "new and of a small supplier count for both. Let both be 1 at most",
        )


def _quoted(words: Sequence[str]) -> list[str]:
    return [f'"{word}"' for word in words]
