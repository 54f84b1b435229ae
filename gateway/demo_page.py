"""GET /: the demo shop, when the settings ask for it."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from gateway.page_headers import SHOP

STATIC = Path(__file__).parent / "static"
FILES = {
    "shop.css": "text/css",
    "shop.js": "text/javascript",
    "pictures.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


async def get_shop(_request: web.Request) -> web.StreamResponse:
    """Show the shop."""
    return _file("shop.html", "text/html")


async def get_shop_file(request: web.Request) -> web.StreamResponse:
    """Serve one of the shop's own files."""
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return _file(name, FILES[name])


def _file(name: str, content_type: str) -> web.FileResponse:
    headers = {**SHOP, "Content-Type": f"{content_type}; charset=utf-8", "Cache-Control": "no-cache"}
    return web.FileResponse(STATIC / name, headers=headers)
