"""GET /docs: Swagger UI, served from the wheel that ships it. Nothing comes from the network."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from swagger_ui_bundle import swagger_ui_path

from gateway.demo_page import STATIC
from gateway.page_headers import DOCS

_SHIPPED = Path(str(swagger_ui_path))
FILES = {
    **{name: _SHIPPED / name for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")},
    **{name: STATIC / name for name in ("docs.css", "docs.js")},
}


async def get_docs(_request: web.Request) -> web.StreamResponse:
    """Show the OpenAPI document."""
    return web.FileResponse(STATIC / "docs.html", headers={**DOCS, "Content-Type": "text/html; charset=utf-8"})


async def get_docs_file(request: web.Request) -> web.StreamResponse:
    """Serve one of its files."""
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return web.FileResponse(FILES[name], headers={**DOCS, "Cache-Control": "max-age=3600"})
