"""GET /: the demo shop, when the settings ask for it."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from gateway.keys import SETTINGS
from gateway.page_headers import SHOP
from gateway.wire import json_response

STATIC = Path(__file__).parent / "static"
SCRIPTS = (
    "api.js",
    "cards.js",
    "draft.js",
    "editor.js",
    "elements.js",
    "explained.js",
    "hidden.js",
    "latest.js",
    "pictures.js",
    "places.js",
    "shop.js",
    "status.js",
)
FILES = {
    **dict.fromkeys(SCRIPTS, "text/javascript"),
    "shop.css": "text/css",
    "editor.css": "text/css",
    "icon.svg": "image/svg+xml",
}
OPTIONS = "settings.json"


async def get_shop(_request: web.Request) -> web.StreamResponse:
    """Show the shop."""
    return _file("shop.html", "text/html")


async def get_shop_file(request: web.Request) -> web.StreamResponse:
    """Serve one of the shop's own files, or what the settings say of the shop."""
    name = request.match_info["name"]
    if name == OPTIONS:
        return json_response({"currency": request.app[SETTINGS].gateway.demo_currency})
    if name not in FILES:
        raise web.HTTPNotFound
    return _file(name, FILES[name])


def _file(name: str, content_type: str) -> web.FileResponse:
    headers = {**SHOP, "Content-Type": f"{content_type}; charset=utf-8", "Cache-Control": "no-cache"}
    return web.FileResponse(STATIC / name, headers=headers)
