"""GET /console: pages for those who run a shop. They are files; what they show comes from the API, by its own keys."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.demo_page import STATIC
from gateway.page_headers import CONSOLE

FOLDER: Final = STATIC / "console"
PAGES: Final = {
    "overview": "Overview",
    "experiments": "Experiments",
    "figures": "Figures",
    "session": "Session",
    "catalogue": "Catalogue",
    "scenarios": "Scenarios",
    "live": "Live",
    "feeds": "Feeds",
    "webhooks": "Webhooks",
    "models": "Models",
    "quality": "Quality",
    "system": "System",
}
"""By the name of a page, which is that of its script too: its title."""
ONE_OF: Final = {"scenarios": "name", "experiments": "name", "session": "id", "catalogue": "item"}
"""Pages that show one thing of theirs, and the parameter that names it."""
MISSING: Final = "missing"
SCRIPTS: Final = (
    *(f"{name}.js" for name in PAGES),
    "answers.js",
    "charts.js",
    "decide.js",
    "diff.js",
    "elements.js",
    "examples.js",
    "experiment.js",
    "frame.js",
    "live_words.js",
    "missing.js",
    "new_experiment.js",
    "numbers.js",
    "report.js",
    "scenario.js",
    "tables.js",
    "uplot.js",
    "why_not.js",
    "words.js",
)
SHARED: Final = ("draft.js", "explained.js", "icon.svg", "latest.js", "places.js")
"""Files of the demo page that the console loads too: their own imports are served from either place."""
FILES: Final = {
    **dict.fromkeys((*SCRIPTS, *SHARED), "text/javascript"),
    **dict.fromkeys(("console.css", "uplot.css", "workbench.css"), "text/css"),
    "icon.svg": "image/svg+xml",
}
_SHELL: Final = (FOLDER / "console.html").read_text()


async def get_console(_request: web.Request) -> web.StreamResponse:
    """Show which pages there are."""
    return _page("overview")


async def get_console_file(request: web.Request) -> web.StreamResponse:
    """Show a page, or serve one of the files that pages load."""
    name = request.match_info["name"]
    if name in PAGES:
        return _page(name)
    if name not in FILES:
        return _nothing(request)
    headers = {**CONSOLE, "Content-Type": f"{FILES[name]}; charset=utf-8", "Cache-Control": "no-cache"}
    return web.FileResponse((STATIC if name in SHARED else FOLDER) / name, headers=headers)


async def get_console_one(request: web.Request) -> web.StreamResponse:
    """Lead from a typed /console/scenarios/homepage to /console/scenarios?name=homepage."""
    name, one = request.match_info["name"], request.match_info["one"].rstrip("/")
    if name not in (ONE_OF if one else PAGES):
        return _nothing(request)
    query = f"?{urlencode({ONE_OF[name]: one})}" if one else ""
    headers = {**CONSOLE, "Location": f"/console/{name}{query}"}
    return web.Response(status=HTTPStatus.FOUND, headers=headers)


def _nothing(request: web.Request) -> web.StreamResponse:
    """Return a page in words for a browser that opens a page. Raises HTTPNotFound for everybody else."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return _page(MISSING, HTTPStatus.NOT_FOUND)


def _page(name: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    text = _SHELL.replace("{title}", PAGES.get(name, "No such page")).replace("{page}", name)
    headers = {**CONSOLE, "Cache-Control": "no-cache"}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)
