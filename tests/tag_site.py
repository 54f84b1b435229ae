"""A shop's own pages with the tag on them, of two origins, and what a browser and the log show of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from state.embedded import EmbeddedRedis
from tests.browser import PATIENT_MS
from tests.console_gateway import ask, gateway
from tests.gateway.streams import Streams
from tests.gateway.test_events import logged
from tests.processes import wait_for

LOG = LogSettings(partitions=4)


MARKUP = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"


HOSTILE: dict[str, dict[str, Any]] = {
    "markup": {
        "title": MARKUP,
        "image_url": "javascript:window.hacked=1",
        "attributes": {"url": "javascript:window.hacked=1"},
    },
    "shouting": {
        "title": "s",
        "image_url": " JaVaScRiPt:1",
        "attributes": {"url": "\u0001jAvAsCrIpT\n:window.hacked=1"},
    },
    "data": {"title": "d", "image_url": "data:text/html,x", "attributes": {"url": "data:text/html,<script>1</script>"}},
    'quote" onclick="window.hacked=1': {
        "title": '" onmouseover="window.hacked=1',
        "attributes": {"url": '/x" onclick="1'},
    },
}


ITEMS: dict[str, dict[str, Any]] = {
    f"tent-{n}": {"title": f"Tent {n}", "category": "tents", "price": 10.5 * n, "attributes": {"url": f"/p/tent-{n}"}}
    for n in range(1, 13)
}


LIST = """<nextclick-list scenario="homepage" limit="6" currency="EUR"><p>nothing yet</p><ul><template>
  <li class="card"><a nc-href="/item?id={item_id}"><img nc-src="{image_url}" nc-alt="{title}">
  <b nc-text="{title}"></b></a>
  <i nc-text="{price}"></i><button nc-act="cart">Add</button></li>
</template></ul></nextclick-list>"""


STUB = "window.nextclick=window.nextclick||function(){(nextclick.q=nextclick.q||[]).push(arguments)};"


CARDS = "nextclick-list .card"


class Site(ThreadingHTTPServer):
    """A shop on an origin of its own. `pages`: HTML by path; what a query says is the page's own affair."""

    pages: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Pages(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        found = self.server.pages.get(self.path.partition("?")[0])
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture(scope="module")
def sites() -> Iterator[list[Site]]:
    """A shop, and a page of somebody else."""
    found = [Site(("127.0.0.1", 0), _Pages) for _ in range(2)]
    for site in found:
        site.pages = {}
        threading.Thread(target=site.serve_forever, daemon=True).start()
    yield found
    for site in found:
        site.shutdown()
        site.server_close()


@pytest.fixture(scope="module")
def redis(redis_server: EmbeddedRedis) -> RedisSettings:
    return RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)


@pytest.fixture(scope="module")
def url(redis: RedisSettings, sites: list[Site]) -> Iterator[str]:
    with gateway(redis, cors_origins=(sites[0].url, "null")) as address, Streams(LOG, redis):
        for item_id, item in ITEMS.items():
            assert ask(address, "PUT", f"/api/items/{item_id}", item)["visible"]
        yield address


@pytest.fixture
def shop(sites: list[Site], url: str) -> Site:
    site = sites[0]
    site.pages = {
        "/": html(url, LIST),
        "/left": "<!doctype html>",
        "/item": html(url, LIST, "nextclick('view', new URLSearchParams(location.search).get('id'))"),
    }
    return site


def html(url: str, body: str, calls: str = "", **options: str) -> str:
    more = "".join(f' data-{name}="{value}"' for name, value in options.items())
    return (
        f"<!doctype html><meta name=viewport content='width=device-width'><title>shop</title>"
        f"<script>{STUB}{calls}</script>"
        f'<script async src="{url}/nextclick.js"{more}></script>{body}'
    )


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 900, "height": 700})
    opened.set_default_timeout(PATIENT_MS)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def call(page: Page, *given: Any) -> Any:
    return page.evaluate("(given) => nextclick(...given)", list(given))


def session_of(page: Page) -> str:
    page.wait_for_function("window.nextclick && nextclick.calls")
    return str(call(page, "session"))


def wait_logged(redis: RedisSettings, session: str, many: int, topic: Topic = Topic.CLICKS) -> list[dict[str, Any]]:
    """Return a session's events once there are so many."""

    def found() -> list[dict[str, Any]]:
        return [one for one in logged(redis, topic, LOG) if one["session_id"] == session]

    wait_for(lambda: len(found()) >= many)
    return found()


def seen_by(redis: RedisSettings, session: str) -> list[dict[str, Any]]:
    """Return what the pages of a session said that was seen."""
    shown = logged(redis, Topic.IMPRESSIONS, LOG)
    return [one for one in shown if one["session_id"] == session and one["context"] == {"seen": True}]


def titles(page: Page) -> list[str]:
    page.wait_for_selector("nextclick-list[state=ready]")
    return page.locator(f"{CARDS} b").all_inner_texts()


def stored(page: Page) -> dict[str, Any]:
    """Return all that a page's origin has stored."""
    found: dict[str, Any] = page.evaluate(
        "async () => ({ cookie: document.cookie, local: {...localStorage}, session: {...sessionStorage}, "
        "databases: (await indexedDB.databases()).length, caches: window.caches ? (await caches.keys()).length : 0 })"
    )
    return found
