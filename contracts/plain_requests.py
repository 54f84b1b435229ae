"""Recommendation requests as the gateway uses them: decoded in one pass where their shape is plain.

The schema is `contracts.api.RecommendationRequest`. As with events (`contracts.plain_events`), a compiled decoder says
yes to the plain shape, never where the schema says no; whatever it does not take is for the schema, and so is what is
to be said of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec

from contracts.api import MOST_CAPSULE, RecommendationRequest

_Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Identifiers = Annotated[list[_Identifier], msgspec.Meta(max_length=1000)]
_FieldNames = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=50)]
_is_token = re.compile(r"p[0-9]{1,4}:[0-9]{1,18}").fullmatch


class PlainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checked request, without `recent_events`, which the gateway checks one by one."""

    session_id: _Identifier
    user_id: _Identifier | None = None
    item_id: _Identifier | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    context: Any = None
    """A JSON object, or None."""
    exclude: _Identifiers | None = None
    after: str | None = None
    candidates: _Identifiers | None = None
    explain: bool = False
    filter: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None
    fields: (
        Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=50)] | None
    ) = None
    cursor: Annotated[str, msgspec.Meta(max_length=22_000)] | None = None
    consent: bool | None = None
    capsule: Annotated[str, msgspec.Meta(max_length=MOST_CAPSULE)] | None = None


_decode: Final = msgspec.json.Decoder(PlainRequest).decode


def plain_request(body: bytes) -> PlainRequest | None:
    """Decode a body that is plain, without a context and without events of its own; None for any other."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if request.context is not None or (request.after is not None and not _is_token(request.after)):
        return None
    return request


def plain(request: RecommendationRequest) -> PlainRequest:
    """Return what the gateway uses of a request that the schema took."""
    return PlainRequest(
        request.session_id,
        request.user_id,
        request.item_id,
        request.limit,
        request.context,
        request.exclude,
        request.after,
        request.candidates,
        request.explain,
        request.filter,
        request.fields,
        request.cursor,
        request.consent,
        request.capsule,
    )
