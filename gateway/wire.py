"""Request bodies in, JSON out: the one place that reads a body and the one place that knows content types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.problems import Refused, field_problems, malformed, out_of_range

JSON_TYPES = frozenset({"application/json"})
BEACON_TYPES = frozenset({"application/json", "text/plain"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

Model = TypeVar("Model", bound=BaseModel)


def expect_type(request: web.Request, accepted: Collection[str]) -> None:
    """Refuse a body of another content type (415). A body that names none is taken."""
    named = request.headers.get("Content-Type")
    if named is not None and named not in accepted and request.content_type not in accepted:
        wanted = " or ".join(sorted(accepted))
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type {wanted}, got {request.content_type[:100]}"
        )


async def read_json(request: web.Request, accepted: Collection[str] = JSON_TYPES) -> Any:
    """Read and decode a JSON body. Raises Refused: 400 not JSON, 413 too large, 415 another type."""
    return decoded(await read_body(request, accepted))


async def read_body(request: web.Request, accepted: Collection[str] = JSON_TYPES) -> bytes:
    """Read a body that is to be JSON, as it came. Raises Refused: 400 none, 413 too large, 415 another type."""
    expect_type(request, accepted)
    try:
        if request.content.is_eof() and not request.content.exception():  # it came with the head
            raw = request.content.read_nowait()
            if len(raw) > request.client_max_size:
                raise too_large(request.client_max_size)
        else:
            raw = await request.read()
    except web.RequestPayloadError as error:
        raise malformed(f"the body could not be read: {error}") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(request.client_max_size) from error
    if not raw:
        raise malformed("expected a JSON body, got an empty one")
    return raw


def decoded(raw: bytes) -> Any:
    """Decode a JSON body. Raises Refused: 400 not JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error}") from error


def too_large(limit: int) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {limit} bytes: send it in parts")


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read a JSON object. Raises Refused: as `read_json`, and 400 for another JSON value."""
    return expect_object(await read_json(request))


def expect_object(document: Any) -> dict[str, Any]:
    """Return a decoded document that is a JSON object. Raises Refused (400) for another."""
    if not isinstance(document, dict):
        raise malformed(f"expected a JSON object, got {type(document).__name__}")
    return document


def validated(document: Any, model: type[Model], under: Sequence[str | int] = ()) -> Model:
    """Validate a decoded document that stands at `under` in the body. Raises Refused (422) naming the fields."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = field_problems(error, under)
        first = problems[0]
        raise out_of_range(f"{first.pointer or 'body'}: {first.detail}", problems) from error


async def read_lines(request: web.Request, max_line_bytes: int) -> AsyncIterator[tuple[int, bytes | None]]:
    """Yield (line index, line) of a body as it streams in; None stands for a line longer than `max_line_bytes`.

    Empty lines count but are not yielded. Holds at most one line and one network chunk.
    """
    index, rest, skipping = 0, b"", False
    try:
        async for chunk in request.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if skipping or len(line) > max_line_bytes:
                    yield index, None
                elif line.strip():
                    yield index, line
                index, skipping = index + 1, False
            if len(rest) > max_line_bytes:
                rest, skipping = b"", True
    except web.RequestPayloadError as error:
        raise malformed(f"the body could not be read on after line {index}: {error}") from error
    if skipping:
        yield index, None
    elif rest.strip():
        yield index, rest


def encoded(document: Any) -> bytes:
    """Encode a document as JSON."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(document: Any, status: int = HTTPStatus.OK) -> web.Response:
    return json_bytes(encoded(document), status)


def json_bytes(body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    """Answer a document that is encoded already."""
    return web.Response(body=body, status=status, content_type="application/json")
