"""Catalogue items as sites send them, and the changes to them that travel through the items log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from contracts.events import Identifier, Rejection
from contracts.nesting import DEEPEST, deeper_than

UNLIMITED_STOCK = 2**31 - 1
"""What an item without a `stock` field counts as having."""
MOST_PRICE: Final = 1e30
"""Far enough from the end of a float32 for sums and ratios."""
LINK: Final = "link"
"""The address of an item's page: feeds bring it, and answers show it, beside the fields of `Item`."""


def a_number(value: object) -> object:
    """Return a value that is no truth value: that is no number. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Stock = Annotated[int, Field(ge=0, le=UNLIMITED_STOCK), BeforeValidator(a_number)]
Price = Annotated[float, Field(ge=0, le=MOST_PRICE, allow_inf_nan=False), BeforeValidator(a_number)]
Margin = Annotated[float, Field(ge=-MOST_PRICE, le=MOST_PRICE, allow_inf_nan=False), BeforeValidator(a_number)]


class Item(BaseModel):
    """One catalogue item, without its id. Category is a path: `shoes/running/trail`.

    No `stock` means never out of stock; no `regions` means sold everywhere; no `price` is no price, not 0. `min_age`
    is in years.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    title: str = Field(min_length=1, max_length=1000)
    description: str | None = Field(default=None, max_length=20_000)
    category: str = Field(default="", max_length=300, description="Path, widest first: a/b/c.")
    brand: str | None = Field(default=None, max_length=200)
    supplier: str | None = Field(default=None, max_length=200)
    price: Price | None = None
    margin: Margin | None = Field(default=None, description="Share of the price, 0 to 1.")
    stock: Stock | None = None
    regions: list[str] | None = Field(default=None, max_length=64)
    min_age: Annotated[int, Field(ge=0, le=150), BeforeValidator(a_number)] | None = None
    image_url: str | None = Field(default=None, max_length=2000)
    image_vector: list[Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False, strict=True)]] | None = Field(
        default=None, max_length=4096
    )
    attributes: dict[str, Any] | None = None

    @property
    def category_path(self) -> tuple[str, ...]:
        """The category and its ancestors, widest first: ('a', 'a/b', 'a/b/c')."""
        parts = [part for part in self.category.split("/") if part]
        return tuple("/".join(parts[: depth + 1]) for depth in range(len(parts)))


_FIELDS: Final = frozenset(Item.model_fields)
_DEFAULTS: Final = {name: field.get_default() for name, field in Item.model_fields.items() if not field.is_required()}
_set = object.__setattr__


def item_of(document: Mapping[str, Any]) -> Item:
    """Build an item from fields that were validated before; the names that Item does not have are the client's own.

    `Item.model_construct` would take the names as keyword arguments, so that one called `cls` or `_fields_set` raises
    or is lost; it also takes four times as long. What is set here is what pydantic keeps an instance in. Raises
    ValueError without a title.
    """
    if "title" not in document:
        raise ValueError(f"expected a title, got the fields {', '.join(document) or 'of nothing'}"[:300])
    fields: dict[str, Any] = dict(_DEFAULTS)
    own: dict[str, Any] = {}
    for name, value in document.items():
        if name in _FIELDS:
            fields[name] = value
        else:
            own[name] = value
    item = Item.__new__(Item)
    _set(item, "__dict__", fields)
    _set(item, "__pydantic_extra__", own)
    _set(item, "__pydantic_fields_set__", set(document))
    _set(item, "__pydantic_private__", None)
    return item


def item_document(item_id: str, item: Item, *, without: set[str] | None = None) -> dict[str, Any]:
    """Return an item as one document, `item_id` first, nulls and the fields of Item `without` left out.

    The id is the one given: a field that the item holds under that name gives way.
    """
    document = {"item_id": item_id, **item.model_dump(exclude_none=True, exclude=without)}
    document["item_id"] = item_id
    return document


def patched(item: Item, patch: Mapping[str, Any]) -> Item:
    """Return an item with a merge patch applied. Stock that the patch does not name is not the item's to say: it is
    left out. Raises ValueError for a patch that is nested too deep, ValidationError where the result is no item.
    """
    if deeper_than(dict(patch), DEEPEST + 2):
        raise ValueError(f"expected a patch nested at most {DEEPEST} deep")
    document = item.model_dump(exclude_none=True, exclude={"stock"})
    whole = merged(document, patch)
    return Item.model_validate({name: value for name, value in whole.items() if value is not None})


def merged(document: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with a JSON merge patch (RFC 7396) applied. Recursive: look at the patch's depth first."""
    found = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value) if isinstance(value, Mapping) else value
    return found


def image_problem(item: Item, length: int) -> str | None:
    """Say what is wrong with an item's image vector for a model that was trained on vectors of `length` numbers; 0 is a
    model without images, which takes any."""
    given = 0 if item.image_vector is None else len(item.image_vector)
    if not given or not length or given == length:
        return None
    return f"image_vector: expected {length} numbers, as the model was trained with, got {given}"


class ItemPut(BaseModel):
    """The item is this now (created or replaced)."""

    model_config = ConfigDict(frozen=True)
    op: Literal["put"] = "put"
    item_id: Identifier
    item: Item


class ItemPatch(BaseModel):
    """These fields of the item are this now; null takes a field away (JSON merge patch, RFC 7396)."""

    model_config = ConfigDict(frozen=True)
    op: Literal["patch"] = "patch"
    item_id: Identifier
    patch: dict[str, Any]


class ItemDelete(BaseModel):
    """The item is gone."""

    model_config = ConfigDict(frozen=True)
    op: Literal["delete"] = "delete"
    item_id: Identifier


class StockSet(BaseModel):
    """The item's stock is this now."""

    model_config = ConfigDict(frozen=True)
    op: Literal["stock"] = "stock"
    item_id: Identifier
    stock: Stock


class ItemSeen(BaseModel):
    """A click named this item; create it bare if the catalogue does not know it."""

    model_config = ConfigDict(frozen=True)
    op: Literal["seen"] = "seen"
    item_id: Identifier
    ts: int = Field(ge=0, description="When it was first seen, epoch milliseconds.")


ItemChange = Annotated[ItemPut | ItemPatch | ItemDelete | StockSet | ItemSeen, Field(discriminator="op")]
_CHANGE: TypeAdapter[ItemPut | ItemPatch | ItemDelete | StockSet | ItemSeen] = TypeAdapter(ItemChange)


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One item as the catalogue table keeps it: what the site sent, its stock now, and its vector.

    `vector` is the item tower's output, float32 little-endian, unit norm; empty while no model is loaded.
    `model_version` names the tower that made it. `created_ms` is when the catalogue first saw the item.
    """

    item_id: str
    item: Item
    stock: int
    created_ms: int
    model_version: int
    vector: bytes


def encode_change(change: ItemPut | ItemPatch | ItemDelete | StockSet | ItemSeen) -> bytes:
    """Encode a change for the items log."""
    if isinstance(change, ItemPatch):
        return orjson.dumps(change.model_dump())  # null is what it says
    return orjson.dumps(change.model_dump(exclude_none=True))


def decode_change(raw: bytes) -> ItemPut | ItemPatch | ItemDelete | StockSet | ItemSeen | Rejection:
    """Decode one record of the items log. Reasons: `not_json`, `invalid`."""
    try:
        return _CHANGE.validate_python(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        return Rejection("not_json", str(error))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        return Rejection("invalid", f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
