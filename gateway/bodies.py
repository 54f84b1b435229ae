"""The bytes of a request's body, within bounds while they are read: size, lines, time, and turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from gateway.held import HELD, HeldBody
from gateway.inflate import inflater_of
from gateway.keys import SETTINGS
from gateway.pace import PACE
from gateway.problems import Refused, malformed

MOST_EMPTY: Final = 1000
"""Empty lines of a body beyond one for each that is not empty."""

_SLOWEST_BYTES_S: Final = 10_000
"""Whoever sends so many bytes a second is waited for, however long that takes."""


def too_large(limit: int) -> Refused:
    """Return the 413 of a body that is larger than `limit` bytes, decompressed or as it came."""
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {limit} bytes: send it in parts")


async def read_pieces(request: web.Request, app: web.Application, most: int) -> AsyncIterator[bytes]:
    """Yield a body as it streams in, decompressed, `most` bytes of it.

    Raises Refused: 400 cut short or not what its encoding says, 408 too slow, 413 too large, 415 another encoding.
    """
    inflater, pace = inflater_of(request), app[PACE]
    if (request.content_length or 0) > most:
        raise too_large(most)
    came = made = 0
    async for raw in _as_it_comes(request, app[SETTINGS].gateway.body_timeout_s):
        came += len(raw)
        for piece in (raw,) if inflater is None else inflater.pieces(raw):
            made += len(piece)
            if max(came, made) > most:
                raise too_large(most)
            if piece:
                yield piece
            if pace.is_over:
                await pace.turn()
    if inflater is not None:
        inflater.finish()


async def read_whole(request: web.Request, app: web.Application, most: int) -> bytes:
    """Read a body of at most `most` bytes. Raises Refused as `read_pieces`, and 503 where bodies hold too much."""
    pieces, size = [], 0
    with HeldBody(app[HELD]) as body:
        async for piece in read_pieces(request, app, most):
            size += len(piece)
            body.holds(size)
            pieces.append(piece)
        return b"".join(pieces)


async def read_lines(request: web.Request) -> AsyncIterator[tuple[int, bytes | None]]:
    """Yield (line index, line) of a body as it streams in; None stands for a line that is longer than a body may be.

    Empty lines count but are not yielded. Holds at most one line and one piece. Raises Refused as `read_pieces`, and
    413 for too many lines, 422 for too many empty ones, 503 where bodies hold too much.
    """
    with HeldBody(request.app[HELD]) as body:
        async for line in _lines(request, body):
            yield line


async def _lines(request: web.Request, body: HeldBody) -> AsyncIterator[tuple[int, bytes | None]]:
    options, pace = request.app[SETTINGS].gateway, request.app[PACE]
    longest = options.max_body_bytes
    index, full, skipping, held = 0, 0, False, bytearray()
    async for piece in read_pieces(request, request.app, options.max_bulk_bytes):
        first, *others = piece.split(b"\n")
        held += first
        for nxt in others:
            too_long = skipping or len(held) > longest
            if too_long or held.strip():
                full += 1
                yield index, None if too_long else bytes(held)
            index, skipping, held = index + 1, False, bytearray(nxt)
            _expect_few(index, full, options.max_bulk_lines)
            if pace.is_over:
                await pace.turn()
        if len(held) > longest:
            held, skipping = bytearray(), True
        body.holds(len(held))
    if skipping:
        yield index, None
    elif held.strip():
        yield index, bytes(held)


def _expect_few(lines: int, full: int, most: int) -> None:
    if lines - full > full + MOST_EMPTY:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"expected one item a line, got {lines - full} empty lines among the first {lines}",
        )
    if lines > most:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {most} lines in one body: send it in parts"
        )


async def _as_it_comes(request: web.Request, patience_s: float) -> AsyncIterator[bytes]:
    """Yield what has come of a body, and wait for more: longer for whoever has sent much."""
    loop, content = asyncio.get_running_loop(), request.content
    waited, came = 0.0, 0
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(patience_s + came / _SLOWEST_BYTES_S - waited):
                raw = await content.readany()
        except TimeoutError as error:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the body came too slowly: waited {patience_s:g} s for more than the {came} bytes that had come",
            ) from error
        except web.RequestPayloadError as error:
            raise malformed(f"the body could not be read on after {came} bytes: {error}") from error
        except ConnectionError as error:  # nobody reads the answer, and it is no fault of ours
            raise malformed(f"the connection ended after {came} bytes of the body") from error
        if not raw:
            return
        waited, came = waited + loop.time() - began, came + len(raw)
        yield raw
