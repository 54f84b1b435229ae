"""Request bodies in, JSON out: the one place that knows content types. `gateway.bodies` reads their bytes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, BeforeValidator, ValidationError

from contracts.given_once import given_twice, twice
from contracts.pointers import MAX_FIELDS, pointer
from gateway.bodies import read_whole, too_large
from gateway.page_headers import NOSNIFF
from gateway.problems import FieldProblem, Refused, field_problems, malformed, out_of_range

JSON_TYPES = frozenset({"application/json"})
BEACON_TYPES = frozenset({"application/json", "text/plain"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

MOST_FIELDS = 1000
"""Fields of one object that may have none of the client's own."""

NOT_JSON = "the body is not JSON: "

MOST_BRACKETS = 100_000
"""Lists and objects of a body or line, brackets in texts among them: each costs a hundred times its two bytes."""

_DIGITS: Final = re.compile(r"-?[0-9]+")

Model = TypeVar("Model", bound=BaseModel)


def expect_type(request: web.Request, accepted: Collection[str], *, named: bool = False) -> None:
    """Refuse a body of another content type (415). One without a type is taken, unless it must be `named`."""
    given = request.headers.get("Content-Type")
    if given is None and not named:
        return
    if given not in accepted and request.content_type not in accepted:
        wanted, got = " or ".join(sorted(accepted)), "none" if given is None else request.content_type[:100]
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type {wanted}, got {got}")


async def read_json(
    request: web.Request, accepted: Collection[str] = JSON_TYPES, *, named: bool = False, written: bool = False
) -> Any:
    """Read and decode a JSON body. `written`: a person wrote it, so that no name may stand twice in one object.

    Raises Refused: 400 not JSON, 422 names that are given twice, and as `read_body`.
    """
    raw = await read_body(request, accepted, named=named)
    document = decoded(raw)
    if written and (places := given_twice(raw, document)[:MAX_FIELDS]):
        problems = [FieldProblem(pointer=pointer(place), detail=twice(place)) for place in places]
        raise out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems)
    return document


async def read_body(
    request: web.Request,
    accepted: Collection[str] = JSON_TYPES,
    *,
    named: bool = False,
    app: web.Application | None = None,
) -> bytes:
    """Read a body that is to be JSON, decompressed. `named`: its type must be. `app`: of a request without a route.

    Raises Refused: 400 none, or not what its encoding says, 408 too slow, 413 too large, 415 another type or encoding,
    503 where bodies that are still coming hold too much.
    """
    expect_type(request, accepted, named=named)
    content, most = request.content, request.client_max_size
    if content.is_eof() and not content.exception() and hdrs.CONTENT_ENCODING not in request.headers:
        raw = content.read_nowait()  # it came with the head
        if len(raw) > most:
            raise too_large(most)
    else:
        raw = await read_whole(request, app or request.app, most)
    if not raw:
        raise malformed("expected a JSON body, got an empty one")
    return raw


def decoded(raw: bytes) -> Any:
    """Decode a JSON body. Raises Refused: 400 not JSON, 422 too many lists and objects."""
    if len(raw) > MOST_BRACKETS and raw.count(b"[") + raw.count(b"{") > MOST_BRACKETS:
        raise out_of_range(f"expected at most {MOST_BRACKETS} lists and objects: send it in parts")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise malformed(f"{NOT_JSON}{error}") from error


async def read_object(request: web.Request, *, named: bool = False, written: bool = False) -> dict[str, Any]:
    """Read a JSON object. Raises Refused: as `read_json`, and 400 for another JSON value."""
    return expect_object(await read_json(request, named=named, written=written))


def expect_object(document: Any) -> dict[str, Any]:
    """Return a decoded document that is a JSON object. Raises Refused (400) for another."""
    if not isinstance(document, dict):
        raise malformed(f"expected a JSON object, got {type(document).__name__}")
    return document


def too_many_fields(document: Any) -> str | None:
    """Say that an object has more fields than any of ours: each that is unknown would be looked at, and named."""
    if isinstance(document, dict) and len(document) > MOST_FIELDS:
        return f"expected at most {MOST_FIELDS} fields, got {len(document)}"
    return None


def _in_digits(value: object) -> object:
    """Return a value that is no text but digits: not 1.0, 1_000 or +1. Raises ValueError."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError(f"expected a whole number such as 20, got {value[:40]!r}")
    return value


Whole = Annotated[int, BeforeValidator(_in_digits)]
"""A whole number in a query."""


def validated(document: Any, model: type[Model], under: Sequence[str | int] = ()) -> Model:
    """Validate a decoded document that stands at `under` in the body. Raises Refused (422) naming the fields."""
    if model.model_config.get("extra") == "forbid" and (problem := too_many_fields(document)):
        raise out_of_range(problem)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = field_problems(error, under, model)
        first = problems[0]
        raise out_of_range(f"{first.pointer or 'body'}: {first.detail}", problems) from error


def encoded(document: Any) -> bytes:
    """Encode a document as JSON."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(document: Any, status: int = HTTPStatus.OK) -> web.Response:
    return json_bytes(encoded(document), status)


def json_bytes(body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    """Answer a document that is encoded already."""
    return web.Response(body=body, status=status, content_type="application/json", headers=NOSNIFF)
