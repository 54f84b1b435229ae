"""The user paths of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from contracts.users import Consent, Hide, UserDocument
from gateway.erasure_pages import ErasureBegun
from gateway.export_pages import ExportAnswer
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, ref
from gateway.user_pages import ConsentSaid, UnknownTaste, UserAnswer

MODELS: Final = (ExportAnswer, UserDocument, Consent, ConsentSaid, Hide, UserAnswer, UnknownTaste)


USER: Final[Json] = {
    "age": 34,
    "region": "eu",
    "style_tags": ["outdoor"],
    "sizes": {"shoes": "42"},
    "wishlist": ["sku-7"],
    "do_not_show": {"brands": ["Acme"]},
    "attributes": {"club": True},
}
_DONE: Final[Json] = {"visible": True}
_SAID: Final[Json] = {"personalisation": False, "marketing": False}
_EXPORT: Final[Json] = {
    "user_id": "u-7",
    "at_ms": 1767225600000,
    "held": {"user": [USER], "profile": [], "clicks": []},
    "not_read": {"campaigns": "files that campaigns wrote: they are with who ran them"},
    "sessions": ["s-42"],
    "complete": True,
}
CONSENT: Final[Json] = {**_SAID, "at_ms": 1767225600000}
_ID: Final = path_parameter("user_id", {"type": "string", "minLength": 1, "maxLength": 256})
_WRITE = (400, 403, 408, 413, 415, 422, 503, 507)
_SEEN = "`visible: true`: every request from now on counts it, in every process."


def user_paths() -> Json:
    """Return the paths of users."""
    return {
        "/api/users/{user_id}": {
            "get": _operation("Show a user", {200: json_of(UserDocument, USER)} | problems(404, 422, 503)),
            "put": _operation(
                "Create or replace a user",
                {200: json_of(UserAnswer, _DONE)} | problems(*_WRITE),
                "What the site knows: 64 KB at most. Every field is optional. `do_not_show` stays as it is unless the "
                "body names it. " + _SEEN,
                requestBody=body_of({"application/json": {"schema": ref(UserDocument), "example": USER}}),
            ),
            "patch": _operation(
                "Change fields of a user",
                {200: json_of(UserAnswer, _DONE)} | problems(*_WRITE),
                "A JSON merge patch (RFC 7396). A user that is not there is created. " + _SEEN,
                requestBody=body_of(dict.fromkeys(("application/merge-patch+json", "application/json"), _PATCH)),
            ),
            "delete": _operation(
                "Erase a user",
                {200: json_of(ErasureBegun)} | problems(403, 422, 503),
                "What the site said and what was learnt at once; within a minute their sessions, records, files and "
                "all else that is held of them. The answer is the receipt, `running`: ask `GET "
                "/api/erasures/{erasure_id}` later.",
            ),
        },
        "/api/users/{user_id}/export": {
            "get": _operation(
                "Export a user",
                {200: json_of(ExportAnswer, _EXPORT)} | problems(422, 503),
                "All that is held of the user: by place, streamed, with what sessions did that are tied to the user. "
                "One at a time in a process: it reads the whole log.",
            )
        },
        "/api/users/{user_id}/consent": {
            "get": _operation(
                "Show what a user consented to", {200: json_of(Consent, CONSENT)} | problems(404, 422, 503)
            ),
            "put": _operation(
                "Say what a user consents to",
                {200: json_of(UserAnswer, _DONE)} | problems(*_WRITE),
                "`personalisation: false` holds at once: no answer uses what is kept, nothing is kept of events and "
                "answers, nothing is learnt. What was kept before stays until it is erased (`DELETE`). It is kept in "
                "the user's document as `consent`, with when it was said. What is left out stays as it was.",
                requestBody=body_of({"application/json": {"schema": ref(ConsentSaid), "example": _SAID}}),
            ),
        },
        "/api/users/{user_id}/do-not-show": {
            "post": _operation(
                "Never show this again",
                {200: json_of(UserAnswer, _DONE)} | problems(*_WRITE),
                "One of `item_id`, `brand`, `category`. It holds on every device of the user, in every list.",
                requestBody=_HIDE,
            ),
            "delete": _operation(
                "Show it again",
                {200: json_of(UserAnswer, _DONE)} | problems(*_WRITE),
                "Undoes what was hidden; the same answer when it was not.",
                requestBody=_HIDE,
            ),
        },
    }


_PATCH: Final[Json] = {"schema": {"type": "object"}, "example": {"age": 35, "wishlist": None}}
_HIDE: Final = body_of({"application/json": {"schema": ref(Hide), "example": {"item_id": "sku-7"}}})


def _operation(summary: str, answers: dict[int, Json], about: str | None = None, **more: Any) -> Json:
    if about is not None:
        more["description"] = about
    return operation(summary, "users", answers, parameters=[_ID], **more)
