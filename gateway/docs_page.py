"""GET /docs: Swagger UI, served from the wheel that ships it. Nothing comes from the network."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from swagger_ui_bundle import swagger_ui_path

FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nextclick gateway API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
<style>body { margin: 0 }</style>
<div id="document"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
  SwaggerUIBundle({ url: "/openapi.json", dom_id: "#document", deepLinking: true, docExpansion: "list" })
</script>
</html>
"""


async def get_docs(_request: web.Request) -> web.Response:
    """Show the OpenAPI document."""
    return web.Response(text=PAGE, content_type="text/html")


async def get_docs_file(request: web.Request) -> web.StreamResponse:
    """Serve one of Swagger UI's own files."""
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return web.FileResponse(Path(str(swagger_ui_path)) / name, headers={"Cache-Control": "max-age=3600"})
