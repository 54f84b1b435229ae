"""What a field that a document does not have was meant to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel


def told(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return what one of pydantic's errors says of a document; of an unknown field also the name that was meant."""
    message = str(problem["msg"])
    if problem["type"] != "extra_forbidden":
        return message
    *above, name = problem["loc"]
    near = get_close_matches(str(name), names_at(model, above), 1, 0.6)
    return f"{message}: did you mean {near[0]}?" if near else message


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
