"""What a site says of a user: one JSON document by `user_id`, and what is never to be shown to that user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from contracts.events import Identifier
from contracts.formats import MARK, expect_mark
from contracts.items import a_number
from contracts.nesting import deeper_than

MAX_BYTES: Final = 65_536
"""Of a document, encoded."""
DEEPEST: Final = 10
"""Levels of `attributes`."""
MOST_HIDDEN: Final = 1000
"""Items of `do_not_show`; a fifth as many brands and categories."""

Text = Annotated[str, Field(min_length=1, max_length=300)]
_Short = Annotated[str, Field(min_length=1, max_length=64)]
_Names = Annotated[list[Text], Field(max_length=MOST_HIDDEN // 5)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DoNotShow(_Part):
    """What is never recommended to a user. A category holds whatever is below it too."""

    items: Annotated[list[Identifier], Field(max_length=MOST_HIDDEN)] = []
    brands: _Names = []
    categories: _Names = []


class Quiz(_Part):
    """What a user picked when asked."""

    items: Annotated[list[Identifier], Field(max_length=200)] = []
    tags: Annotated[list[Text], Field(max_length=200)] = []


class Consent(_Part):
    """What a user consented to. What is left out was never said."""

    personalisation: Annotated[bool, Field(strict=True)] | None = None
    marketing: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="To be written to: campaigns read it."
    )
    at_ms: Annotated[int, Field(ge=0, le=1 << 53), BeforeValidator(a_number)] | None = Field(
        default=None, description="When it was last said, epoch milliseconds; the gateway's clock."
    )


class UserDocument(_Part):
    """A user, as the site knows them. Every field is optional; what has no field of its own goes into `attributes`."""

    age: Annotated[int, Field(ge=0, le=150), BeforeValidator(a_number)] | None = None
    gender: _Short | None = None
    region: _Short | None = None
    style_tags: Annotated[list[Text], Field(max_length=200)] | None = None
    sizes: Annotated[dict[_Short, _Short], Field(max_length=100)] | None = Field(
        default=None, description='By what is worn: `{"shoes": "42"}`.'
    )
    wishlist: Annotated[list[Identifier], Field(max_length=1000)] | None = None
    quiz: Quiz | None = None
    do_not_show: DoNotShow | None = None
    consent: Consent | None = None
    attributes: dict[str, Any] | None = Field(
        default=None, description="Whatever else the site knows: `user.attributes.x`."
    )

    @model_validator(mode="after")
    def _is_not_too_deep(self) -> UserDocument:
        if self.attributes is not None and deeper_than(self.attributes, DEEPEST):
            raise ValueError(f"expected attributes nested at most {DEEPEST} deep")
        return self


class Hide(_Part):
    """One thing that is not to be shown, or (undone) to be shown again."""

    item_id: Identifier | None = None
    brand: Text | None = None
    category: Text | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Hide:
        if len([one for one in (self.item_id, self.brand, self.category) if one is not None]) != 1:
            raise ValueError("expected one of `item_id`, `brand` and `category`")
        return self

    @property
    def place(self) -> tuple[str, str]:
        """Return the list of DoNotShow that it belongs to, and its entry there."""
        for name, value in (("items", self.item_id), ("brands", self.brand), ("categories", self.category)):
            if value is not None:
                return name, value
        raise AssertionError("checked above")


class Hidden(msgspec.Struct, frozen=True):
    """What rules leave out for one user, as they look for it."""

    items: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


def document_of(user: UserDocument) -> dict[str, Any]:
    """Return a user as the JSON document that it was given as: what was not given is left out."""
    return user.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def encode_user(document: Mapping[str, Any]) -> bytes:
    """Encode a document as Redis keeps it. Raises ValueError where it is larger than MAX_BYTES."""
    try:
        raw = orjson.dumps(document)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ValueError(f"expected a document that JSON can hold: {error}") from error
    if len(raw) > MAX_BYTES:
        raise ValueError(
            f"expected a user of at most {MAX_BYTES:,} bytes, got {len(raw):,}: take fields away, or undo what is not "
            "to be shown"
        )
    return raw


def decode_user(raw: bytes) -> dict[str, Any]:
    """Decode what `encode_user` made. It was checked when it was written. Raises ValueError for what is no object, and
    NewerFormat. A mark is no field of a user, so it is not in what is returned.
    """
    document = orjson.loads(raw)
    if not isinstance(document, dict):
        raise ValueError(f"expected a user, a JSON object, got {type(document).__name__}")
    expect_mark("user", document)
    document.pop(MARK, None)
    return document


def hidden_of(document: Mapping[str, Any]) -> Hidden | None:
    """Return what a user is not to be shown; None for nothing. Raises ValueError where that is no such part."""
    part = document.get("do_not_show")
    if not part:
        return None
    try:
        return msgspec.convert(part, Hidden)
    except msgspec.ValidationError as error:
        raise ValueError(f"expected lists of texts in do_not_show: {error}") from error


def replaced(document: Mapping[str, Any] | None, user: UserDocument) -> dict[str, Any]:
    """Return the document that stands for a user once `user` was put over what is stored.

    What is not to be shown and what was consented to are the visitor's: they stay, unless `user` names them. What
    cannot be read goes.
    """
    put = document_of(user)
    if document is None:
        return put
    if "consent" not in user.model_fields_set and isinstance(document.get("consent"), dict):
        put = {**put, "consent": document["consent"]}
    if "do_not_show" in user.model_fields_set:
        return put
    try:
        hidden = hidden_of(document)
    except ValueError:
        return put
    return put if hidden is None else {**put, "do_not_show": document["do_not_show"]}


def with_hidden(document: Mapping[str, Any], hide: Hide, *, undo: bool = False) -> dict[str, Any]:
    """Return a document with one entry of `do_not_show` more, or less. Raises ValueError where there is no room."""
    name, value = hide.place
    part = dict(document.get("do_not_show") or {})
    entries = [one for one in part.get(name, []) if one != value]
    part[name] = entries if undo else [*entries, value]
    most = MOST_HIDDEN if name == "items" else MOST_HIDDEN // 5
    if len(part[name]) > most:
        raise ValueError(f"expected at most {most:,} {name} that are not to be shown: undo one first")
    kept = {one: values for one, values in part.items() if values}
    rest = {field: one for field, one in document.items() if field != "do_not_show"}
    return {**rest, "do_not_show": kept} if kept else rest
