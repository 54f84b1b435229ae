"""What a field that a document or an item does not have was meant to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel

from contracts.items import LINK, Item

_OF_ITEMS: Final = ("item_id", *Item.model_fields, LINK)
_IS_OF_ITEMS: Final = frozenset(_OF_ITEMS).__contains__


def told(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return what one of pydantic's errors says of a document; of an unknown field also the name that was meant."""
    message = str(problem["msg"])
    if problem["type"] != "extra_forbidden":
        return message
    *above, name = problem["loc"]
    near = get_close_matches(str(name), names_at(model, above), 1, 0.6)
    return f"{message}: did you mean {near[0]}?" if near else message


def not_of_items(names: Sequence[str]) -> list[tuple[int, str]]:
    """Return the places of names in `fields` that no item can have, and what is wrong with each.

    Names are those of `Item`, `link`, and `attributes.NAME`: whatever a shop keeps of its own is there.
    """
    return [(at, _expected(name)) for at, name in enumerate(names) if not (_IS_OF_ITEMS(name) or _is_open(name))]


def _is_open(name: str) -> bool:
    return name.startswith("attributes.") and len(name) > len("attributes.")


def _expected(name: str) -> str:
    near = get_close_matches(name, _OF_ITEMS, 1, 0.6)
    meant = f": did you mean {near[0]}?" if near else ""
    return f"expected {', '.join(_OF_ITEMS)} or attributes.NAME, got {name[:100]!r}{meant}"


def names_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the names that fields may have at a place of a model's document."""
    here = [model]
    for part in place:
        parts = [_models(field.annotation) for name, field in _fields(here) if part == name]
        here = [one for found in parts for one in found] or here  # a number, or which of several kinds it was taken for
    return [name for name, _ in _fields(here)]


def _fields(models: Sequence[type[BaseModel]]) -> Iterator[tuple[str, Any]]:
    for model in models:
        yield from ((field.alias or name, field) for name, field in model.model_fields.items())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in _models(part)]
