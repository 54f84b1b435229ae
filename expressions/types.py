"""Types of the filter language, and which fields an expression may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """What a part of an expression is."""

    NUMBER = "a number"
    TEXT = "text"
    BOOL = "true or false"
    LIST = "a list of texts"
    TIME = "a time"
    ANY = "anything"
    """What an open document holds: what stands beside it says what it is taken for."""


class Scope(StrEnum):
    """Of what a field is read."""

    ITEM = "item"
    CLOCK = "clock"
    """Of the item and the time of the request, or of what is not worth looking up of every item."""
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Field:
    """A field that an expression may name."""

    name: str
    type: Type
    scope: Scope
    path: tuple[str, ...] = ()
    """Within an open document, its own name first."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a place where expressions are written: named ones, and open documents by their prefix."""

    named: Mapping[str, Field]
    open: Mapping[str, Scope]
    """`attributes` for `attributes.colour`, `user.attributes` for `user.attributes.club`: what such a document holds is
    known per document only.
    """

    def find(self, path: tuple[str, ...]) -> Field | None:
        """Return the field of a path; None for one that there is not."""
        name = ".".join(path)
        found = self.named.get(name)
        if found is not None:
            return found
        for depth in range(1, len(path)):
            scope = self.open.get(".".join(path[:depth]))
            if scope is not None:
                return Field(name, Type.ANY, scope, path)
        return None
