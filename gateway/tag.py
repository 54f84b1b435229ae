"""GET /nextclick.js: the browser tag for a shop's own pages. docs/tag.md says what it does."""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from gateway.demo_page import STATIC
from gateway.page_headers import NOSNIFF

SOURCE: Final = STATIC / "nextclick.js"
MADE: Final = STATIC / "nextclick.min.js"
"""What is served: SOURCE, minified by `make tag`."""
_SHORT: Final = "public, max-age=600, stale-while-revalidate=86400"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_OPEN: Final = {
    **NOSNIFF,
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}
"""Pages of any origin may load the script, and compare its hash (`integrity`). It says nothing about anybody."""


class Tag(NamedTuple):
    """The script, plain and compressed, and 16 hex digits of its SHA-256."""

    plain: bytes
    gzipped: bytes
    hash: str


@cache
def tag() -> Tag:
    """Return the script of this release, read once."""
    plain = MADE.read_bytes()
    return Tag(plain, gzip.compress(plain, 9, mtime=0), sha256(plain).hexdigest()[:16])


async def get_tag(request: web.Request) -> web.StreamResponse:
    """Serve the tag under the address that stays; browsers ask again after ten minutes."""
    return _script(request, _SHORT)


async def get_tag_of_hash(request: web.Request) -> web.StreamResponse:
    """Serve the tag under the address of its content, for ever. That of another release leads to the one that stays."""
    if request.match_info["hash"] != tag().hash:
        headers = {**_OPEN, hdrs.CACHE_CONTROL: "no-store", hdrs.LOCATION: "/nextclick.js"}
        return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)
    return _script(request, _FOR_EVER)


def _script(request: web.Request, cached: str) -> web.Response:
    made = tag()
    etag = f'"{made.hash}"'
    headers = {
        **_OPEN,
        hdrs.CACHE_CONTROL: cached,
        hdrs.ETAG: etag,
        hdrs.CONTENT_LOCATION: f"/nextclick-{made.hash}.js",
    }
    asked = request.headers.get(hdrs.IF_NONE_MATCH, "")
    if any(one.strip().removeprefix("W/") in (etag, "*") for one in asked.split(",")):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers[hdrs.CONTENT_TYPE] = "text/javascript; charset=utf-8"
    if _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        return web.Response(body=made.gzipped, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=made.plain, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding names gzip, and not with a weight of 0 (RFC 9110)."""
    for one in accepted.split(","):
        name, _, weight = one.strip().partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
