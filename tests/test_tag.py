"""The browser tag on a shop's own pages, in a real browser: what it sends, keeps and shows, and what it must not."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from state.embedded import EmbeddedRedis
from tests.browser import CHROMIUM, PATIENT_MS, QUIET, needs_chromium
from tests.console_gateway import ask, gateway
from tests.gateway.streams import Streams
from tests.gateway.test_events import logged
from tests.processes import wait_for

pytestmark = [needs_chromium, pytest.mark.slow]

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


NOTHING = {"cookie": "", "local": {}, "session": {}, "databases": 0, "caches": 0}


def test_a_click_in_a_list_is_a_view_of_its_answer_and_the_list_follows(
    page: Page, shop: Site, redis: RedisSettings
) -> None:
    asked: list[dict[str, Any]] = []
    page.on(
        "request", lambda request: asked.append(request.post_data_json) if "/recommendations/" in request.url else None
    )
    page.goto(shop.url)
    before = titles(page)
    assert len(before) == 6
    assert page.locator(f"{CARDS} i").first.inner_text().startswith("€")
    assert (
        page.locator(f"{CARDS} a")
        .first.get_attribute("href", timeout=PATIENT_MS)
        .startswith(f"{shop.url}/item?id=tent-")
    )  # type: ignore[union-attr]
    page.evaluate(
        "document.querySelectorAll('a').forEach((one) => one.addEventListener('click', (e) => e.preventDefault()))"
    )
    page.locator(f"{CARDS} a").nth(2).click()
    expect(page.locator(CARDS, has_text=before[2])).to_have_count(0)
    [view] = wait_logged(redis, session_of(page), 1)
    assert (view["type"], f"Tent {view['item_id'].split('-')[1]}") == ("view", before[2])
    assert asked[0].keys() == {"session_id", "limit", "fields"}
    assert asked[0]["fields"] == ["image_url", "title", "price", "attributes.currency"]
    assert asked[-1]["after"].startswith("p")
    kept = page.locator(CARDS).first
    kept.locator("button").focus()
    kept.locator("button").click()
    [_, cart] = wait_logged(redis, session_of(page), 2)
    assert (cart["type"], cart["request_id"] == view["request_id"]) == ("cart", False)


@pytest.mark.parametrize(("own", "price"), [("USD", "$99.50"), ("dollars", "€99.50"), (None, "€99.50")])
def test_a_price_is_in_the_currency_of_its_item_or_else_of_the_list(
    page: Page, shop: Site, url: str, own: str | None, price: str
) -> None:
    item = f"overseas-{own}"
    attributes = {} if own is None else {"currency": own}
    ask(url, "PUT", f"/api/items/{item}", {"title": "Overseas", "price": 99.5, "attributes": attributes})
    asked = json.dumps({"candidates": [item]})
    shop.pages["/one"] = html(url, LIST.replace("<nextclick-list", f"<nextclick-list request='{asked}'"))
    page.goto(f"{shop.url}/one")
    try:
        expect(page.locator(f"{CARDS} i")).to_have_text([price])
    finally:
        ask(url, "DELETE", f"/api/items/{item}")


def test_the_page_of_what_was_clicked_says_the_same_view_and_counts_once(
    page: Page, shop: Site, redis: RedisSettings
) -> None:
    page.goto(shop.url)
    clicked = titles(page)[0]
    page.locator(f"{CARDS} a").first.click()
    page.wait_for_url("**/item?id=*")
    assert clicked not in titles(page)
    call(page, "view", "tent-x")
    events = wait_logged(redis, session_of(page), 2)
    assert len({one["event_id"] for one in events}) == 2
    assert {one["item_id"] for one in events} == {f"tent-{clicked.split()[1]}", "tent-x"}
    [first] = {one["request_id"] for one in events if one["item_id"] != "tent-x"}
    assert first


def test_what_was_in_the_viewport_is_said_and_nothing_else(page: Page, shop: Site, redis: RedisSettings) -> None:
    shop.pages["/"] += "<style>li{height:300px}</style>"
    page.goto(shop.url)
    names = titles(page)
    session = session_of(page)
    wait_for(lambda: len(seen_by(redis, session)) == 1)
    [first] = seen_by(redis, session)
    assert [f"Tent {one.split('-')[1]}" for one in first["items"]] == names[:2]
    page.evaluate("scrollTo(0, 1e6)")
    wait_for(lambda: sum(len(one["items"]) for one in seen_by(redis, session)) >= 4)
    more = seen_by(redis, session)[1:]
    assert {one["request_id"] for one in more} == {first["request_id"]}
    assert {f"Tent {item.split('-')[1]}" for one in more for item in one["items"]} == set(names[4:])


def test_what_is_in_view_of_a_hidden_page_was_not_seen(page: Page, shop: Site, redis: RedisSettings) -> None:
    page.add_init_script("window.away = true; Object.defineProperty(document, 'hidden', { get: () => window.away })")
    page.clock.install()
    page.goto(shop.url)
    page.clock.run_for(100)
    titles(page)
    page.clock.run_for(30_000)
    came_ms = page.evaluate(
        "() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); return Date.now() }"
    )
    session = session_of(page)
    wait_for(lambda: page.clock.run_for(500) or bool(seen_by(redis, session)))
    assert min(one["ts"] for one in seen_by(redis, session)) >= came_ms + 1000


def test_hostile_items_become_text_and_their_addresses_nothing(page: Page, shop: Site, url: str) -> None:
    page.goto(shop.url)
    titles(page)
    found = [
        {
            "item_id": item_id,
            "position": at,
            "score": 1,
            "reason": MARKUP,
            "item": {**item, "attributes.url": item["attributes"]["url"]},
        }
        for at, item_id, item in ((at, *one) for at, one in enumerate(HOSTILE.items(), start=1))
    ]
    answer = {"request_id": "r", "recommendations": found, "stale": None}
    page.route(
        "**/api/recommendations/*",
        lambda route: route.fulfill(json=answer, headers={"Access-Control-Allow-Origin": "*"}),
    )
    page.evaluate(
        """() => {
          const list = document.createElement('nextclick-list')
          list.innerHTML = `<template><div>
            <a nc-href="{attributes.url}" nc-title="{title}" nc-onclick="{title}" nc-style="{title}"
              nc-data-id="{item_id}" nc-text="{title}"></a>
            <img nc-src="{image_url}" nc-alt="{title}" nc-onerror="{title}">
            <iframe nc-src="{attributes.url}" nc-srcdoc="{title}"></iframe><form nc-action="{attributes.url}"></form>
            <b nc-href="{attributes.url}"></b><script nc-text="window.hacked=1" nc-src="{image_url}"></${'script'}>
            <i nc-text="{reason}"></i><u><a nc-href="/item?id={item_id}">more</a></u></div></template>`
          list.id = 'attacked'
          document.body.append(list)
        }"""
    )
    page.wait_for_selector("#attacked[state=ready]")
    attacked = page.locator("#attacked > div")
    assert attacked.count() == len(HOSTILE)
    assert attacked.locator("> a").all_inner_texts() == [item["title"] for item in HOSTILE.values()]
    hrefs = [one.get_attribute("href") for one in attacked.locator("> a").all()]
    assert hrefs == [None, None, None, f"{shop.url}/x%22%20onclick=%221"]
    assert [one.get_attribute("src") for one in attacked.locator("img").all()] == [None] * 4
    more = [one.get_attribute("href") for one in attacked.locator("u a").all()]
    assert more[-1] == f"{shop.url}/item?id=quote%22%20onclick%3D%22window.hacked%3D1"
    names = (
        "[...document.querySelectorAll('#attacked > div, #attacked > div *')].flatMap((one) => one.getAttributeNames())"
    )
    given = {name for name in page.evaluate(names) if not name.startswith("nc-")}
    assert given == {"href", "title", "data-id", "alt"}
    attacked.locator("> a").last.hover()
    assert page.evaluate("window.hacked") is None


def test_events_of_a_lost_network_wait_and_are_sent_once_it_is_back(
    page: Page, context: BrowserContext, shop: Site, redis: RedisSettings
) -> None:
    page.goto(shop.url)
    titles(page)
    session = session_of(page)
    context.set_offline(True)
    for n in range(25):
        page.evaluate(f"void nextclick('view', 'lost-{n}')")
    page.wait_for_function(
        "JSON.parse(localStorage['nextclick-left'] || '[]').filter((one) => one.type === 'view').length === 25"
    )
    assert session not in {one["session_id"] for one in logged(redis, Topic.CLICKS, LOG)}
    context.set_offline(False)
    events = wait_logged(redis, session, 25)
    assert [one["item_id"] for one in sorted(events, key=lambda one: int(one["item_id"][5:]))] == [
        f"lost-{n}" for n in range(25)
    ]
    page.wait_for_function("localStorage['nextclick-left'] === undefined")


def test_what_could_not_be_sent_before_the_page_was_left_is_sent_by_the_next_one(
    page: Page, shop: Site, redis: RedisSettings
) -> None:
    page.goto(shop.url)
    titles(page)
    page.route("**/api/events", lambda route: route.abort())
    call(page, "cart", "tent-3")
    page.unroute("**/api/events")
    page.goto(f"{shop.url}/item?id=tent-4")
    events = wait_logged(redis, session_of(page), 2)
    assert {(one["type"], one["item_id"]) for one in events} == {("cart", "tent-3"), ("view", "tent-4")}
    assert len({one["event_id"] for one in events}) == 2


def test_the_queue_is_bounded_and_so_is_what_is_stored(page: Page, shop: Site) -> None:
    page.goto(shop.url)
    titles(page)
    page.route("**/api/events", lambda route: route.abort())
    page.evaluate("() => { for (let n = 0; n < 500; n++) nextclick('view', 'i-' + n) }")
    page.wait_for_function("(localStorage['nextclick-left'] || '').includes('i-499')")
    kept = orjson.loads(page.evaluate("localStorage['nextclick-left']"))
    views = [one["item_id"] for one in kept if one["type"] == "view"]
    assert len(kept) <= 200
    assert views == [f"i-{n}" for n in range(500 - len(views), 500)]
    assert len(views) > 190


def test_what_happened_last_is_sent_as_the_page_is_left(page: Page, shop: Site, redis: RedisSettings) -> None:
    page.goto(shop.url)
    titles(page)
    session = session_of(page)
    page.evaluate("() => { nextclick('cart', 'tent-9'); location.href = '/left' }")
    page.wait_for_url("**/left")
    [cart] = wait_logged(redis, session, 1)
    assert (cart["type"], cart["item_id"]) == ("cart", "tent-9")


def test_two_tabs_are_one_session_and_each_follows_the_other(
    context: BrowserContext, page: Page, shop: Site, redis: RedisSettings
) -> None:
    other = context.new_page()
    for tab in (page, other):
        tab.goto(shop.url)
        titles(tab)
    assert session_of(page) == session_of(other)

    def shows(tab: Page, title: str, *, times: int) -> None:
        card = tab.locator(f"{CARDS} b", has_text=title).and_(tab.get_by_text(title, exact=True))
        expect(card).to_have_count(times)

    call(page, "view", "tent-1")
    shows(page, "Tent 2", times=1)  # one like it: the tab has asked again, before the other one says more
    call(other, "view", "tent-2")
    shows(other, "Tent 3", times=1)  # the newest come first; now what is like both tabs' tents
    shows(other, "Tent 2", times=0)
    shows(page, "Tent 2", times=1)  # a tab asks again when it says something itself
    call(page, "view", "tent-3")
    for gone in ("Tent 1", "Tent 2", "Tent 3"):
        shows(page, gone, times=0)
    assert [one["item_id"] for one in wait_logged(redis, session_of(page), 3)] == ["tent-1", "tent-2", "tent-3"]


def test_without_any_storage_the_page_works_from_memory(page: Page, shop: Site, url: str, redis: RedisSettings) -> None:
    """A sandboxed frame has no origin: cookies and localStorage raise errors there."""
    inner = html(url, LIST, "nextclick('view', 'tent-5')").replace('"', "&quot;")
    shop.pages["/framed"] = (
        f'<!doctype html><iframe sandbox="allow-scripts" width=800 height=600 srcdoc="{inner}"></iframe>'
    )
    page.goto(f"{shop.url}/framed")
    frame = page.frames[1]
    frame.wait_for_selector("nextclick-list[state=ready]")
    session = frame.evaluate("nextclick('session')")
    assert frame.evaluate("async () => { await nextclick('view', 'tent-6'); return nextclick('session') }") == session
    assert [one["item_id"] for one in wait_logged(redis, session, 2)] == ["tent-5", "tent-6"]
    assert stored(page) == NOTHING


def test_memory_alone_stores_nothing(page: Page, shop: Site, url: str, redis: RedisSettings) -> None:
    shop.pages["/"] = html(url, LIST, "nextclick('view', 'tent-5')", storage="memory")
    page.goto(shop.url)
    page.locator(f"{CARDS} button").first.click()
    wait_logged(redis, session_of(page), 2)
    page.route("**/api/events", lambda route: route.abort())
    call(page, "view", "tent-6")
    assert stored(page) == NOTHING


def test_without_consent_nothing_is_stored_and_nothing_that_writes_is_sent(
    page: Page, context: BrowserContext, shop: Site, url: str, redis: RedisSettings
) -> None:
    calls = "nextclick('view', 'tent-5');nextclick('user', 'anna');nextclick('consent', false)"
    shop.pages["/"] = html(url, LIST, calls)
    sent: list[tuple[str, Any]] = []

    def note(request: Request) -> None:
        if "/api/" in request.url:
            sent.append((request.url.partition("/api/")[2], orjson.loads(request.post_data or "null")))

    page.on("request", note)
    page.route(
        "**/api/recommendations/*",
        lambda route: route.fulfill(
            json={"request_id": "r", "recommendations": [{"item_id": "tent-1", "item": {"title": "Tent 1"}}]},
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )
    page.clock.install()
    page.goto(shop.url)
    page.clock.run_for(100)
    assert titles(page) == ["Tent 1"]
    page.evaluate("document.querySelectorAll('a').forEach((one) => one.removeAttribute('href'))")
    page.locator(f"{CARDS} button").click()
    page.clock.run_for(20_000)
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    wait_for(lambda: len(sent) >= 2)
    assert {path for path, _ in sent} == {"recommendations/homepage"}
    assert all(body["consent"] is False and not body.keys() & {"user_id", "after"} for _, body in sent)
    assert [(one["type"], one["item_id"]) for one in sent[-1][1]["recent_events"]] == [
        ("view", "tent-5"),
        ("cart", "tent-1"),
    ]
    assert stored(page) == NOTHING
    assert context.cookies() == []
    refused = session_of(page)

    page.unroute("**/api/recommendations/*")
    call(page, "consent", True)
    page.evaluate("void nextclick('view', 'tent-7')")
    page.clock.run_for(2000)
    [view] = wait_logged(redis, session_of(page), 1)
    assert view["item_id"] == "tent-7"  # what happened under the refusal stays unsaid
    assert stored(page)["cookie"].startswith(f"nextclick={refused}")
    page.route("**/api/events", lambda route: route.abort())
    page.evaluate("void nextclick('view', 'tent-8')")
    wait_for(lambda: page.clock.run_for(500) or bool(stored(page)["local"]))
    call(page, "consent", False)
    assert stored(page) == NOTHING
    assert session_of(page) != refused


def test_where_consent_is_required_nothing_is_stored_before_and_the_page_counts_after(
    page: Page, shop: Site, url: str, redis: RedisSettings
) -> None:
    shop.pages["/"] = html(url, "", "nextclick('view', 'tent-5')", consent="required")
    page.goto(shop.url)
    session_of(page)
    assert stored(page) == NOTHING
    call(page, "consent", True)
    [view] = wait_logged(redis, session_of(page), 1)
    assert view["item_id"] == "tent-5"
    assert stored(page)["cookie"].startswith(f"nextclick={session_of(page)}")


def test_a_page_that_comes_back_from_the_cache_shows_what_was_done_meanwhile(
    browser: Browser, shop: Site, redis: RedisSettings
) -> None:
    switch = ["--disable-back-forward-cache"]  # what Playwright turns off
    caching = browser.browser_type.launch(
        executable_path=CHROMIUM, args=QUIET, ignore_default_args=switch, timeout=PATIENT_MS
    )
    page = caching.new_page()
    page.goto(shop.url)
    clicked = titles(page)[0]
    page.evaluate("() => { window.same = true; addEventListener('pageshow', (e) => { window.back = e.persisted }) }")
    page.locator(f"{CARDS} a").first.click()
    page.wait_for_url("**/item?id=*")
    titles(page)
    page.evaluate("void setTimeout(() => history.back())")
    page.wait_for_function("window.back === true && window.same === true")
    page.wait_for_function(f"![...document.querySelectorAll('b')].some((one) => one.innerText === '{clicked}')")
    assert len({one["event_id"] for one in wait_logged(redis, session_of(page), 1)}) == 1
    caching.close()


def test_a_page_of_another_origin_is_told_why_its_events_are_refused(page: Page, sites: list[Site], url: str) -> None:
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text))
    sites[1].pages = {"/": html(url, LIST, "nextclick('view', 'tent-1')")}
    page.goto(sites[1].url)
    page.wait_for_selector("nextclick-list[state=failed]")
    told = f"nextclick: expected a page of an origin that may call this gateway, got '{sites[1].url}'"
    wait_for(lambda: page.evaluate("1") and sum(told in one for one in said) >= 2)
    assert page.evaluate("localStorage['nextclick-left']") is None  # it would be refused again


def test_a_clock_that_is_hours_wrong_is_put_right_by_the_gateways(page: Page, shop: Site, redis: RedisSettings) -> None:
    for hours in (-3, 5):
        page.add_init_script(f"const now = Date.now; Date.now = () => now() + {hours * 3_600_000}")
        page.goto(f"{shop.url}/item?id=tent-{hours + 4}")
        titles(page)
        page.evaluate("void nextclick('view', 'tent-2')")
    events = wait_logged(redis, session_of(page), 4)
    now_ms = time.time() * 1000
    assert all(abs(one["ts"] - now_ms) < 600_000 for one in events)


def test_a_confirmation_that_is_loaded_again_is_the_same_purchase(
    page: Page, shop: Site, url: str, redis: RedisSettings
) -> None:
    lines = "[{item_id: 'tent-1', value: 21, quantity: 2}, {item_id: 'tent-2', value: 21}]"
    shop.pages["/thanks"] = html(url, "", f"nextclick('purchase', {lines}, {{order_id: 'o-7', currency: 'EUR'}})")
    for _ in range(2):
        page.goto(f"{shop.url}/thanks")
        session_of(page)
    events = wait_logged(redis, session_of(page), 4)
    assert {one["event_id"] for one in events} == {"purchase-o-7-tent-1", "purchase-o-7-tent-2"}
    assert {(one["item_id"], one["value"], one.get("quantity")) for one in events} == {
        ("tent-1", 21, 2),
        ("tent-2", 21, None),
    }


def test_calls_before_the_tag_is_there_are_made_when_it_is(page: Page, shop: Site, url: str) -> None:
    calls = (
        "nextclick('view','tent-1');nextclick('recommend','homepage',{limit:3},(answer) => { window.answer = answer })"
    )
    shop.pages["/"] = html(url, "", calls)
    page.goto(shop.url)
    page.wait_for_function("window.answer && window.answer.recommendations.length === 3")
    assert page.evaluate("window.answer.session.events") == 1


def test_a_list_asks_again_when_its_attributes_change_and_teaches_what_it_needs(
    page: Page, shop: Site, url: str
) -> None:
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text))
    page.goto(shop.url)
    titles(page)
    page.evaluate("document.querySelector('nextclick-list').setAttribute('limit', '3')")
    expect(page.locator(CARDS)).to_have_count(3)
    page.evaluate("document.querySelector('nextclick-list').setAttribute('scenario', 'nowhere')")
    page.wait_for_selector("nextclick-list[state=failed]")
    wait_for(lambda: page.evaluate("1") and any("there is no scenario 'nowhere'" in one for one in said))
    page.evaluate("document.body.append(document.createElement('nextclick-list'))")
    wait_for(lambda: page.evaluate("1") and any("expected a <template> in <nextclick-list>" in one for one in said))


def test_lists_of_a_page_ask_together_and_show_no_item_twice(page: Page, shop: Site, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.removeprefix(url)) if one.method == "POST" else None)
    second = LIST.replace('scenario="homepage" limit="6"', 'scenario="product" limit="5" item-id="tent-1"')
    shop.pages["/two"] = html(url, LIST + second)
    page.goto(f"{shop.url}/two")
    expect(page.locator("nextclick-list[state=ready]")).to_have_count(2)
    assert asked == ["/api/pages"]
    found = page.locator(f"{CARDS} b").all_inner_texts()
    assert (len(found), len(set(found))) == (11, 11)
    answers = page.evaluate("[...document.querySelectorAll('.card')].map((one) => one.nextclick.request_id)")
    assert len({*answers[:6]}) == len({*answers[6:]}) == 1
    assert answers[0] != answers[6]  # each list has an answer of its own
    with page.expect_response(f"{url}/api/pages"):
        call(page, "view", "tent-7")
    assert asked == ["/api/pages", "/api/events", "/api/pages"]


ODD = [
    "null",
    "[]",
    "{}",
    '"x"',
    '{"rejected": 5}',
    '{"accepted": 1, "rejected": [null]}',
    "<html>",
    '{"accepted": 1, "rej',
]
ODD_LISTS = [*ODD, '{"lists": 5}', '{"lists": [null]}', '{"recommendations": 5}', '{"recommendations": [null]}']


def test_what_no_gateway_answers_loses_no_event_and_throws_nothing_into_the_page(
    page: Page, shop: Site, url: str, redis: RedisSettings
) -> None:
    """The page's policy allows no code but the tag's and its own file's: the tag needs no more."""
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    shop.pages["/stub.js"] = STUB + "addEventListener('unhandledrejection', (one) => console.error(one.reason))"
    policy = f"default-src 'none';script-src 'self' {url};connect-src {url};require-trusted-types-for 'script'"
    shop.pages["/odd"] = (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<script src="/stub.js"></script><script async src="{url}/nextclick.js"></script>{LIST}{LIST}'
    )
    allowed = {"Access-Control-Allow-Origin": "*"}
    events, asked = list(ODD), list(ODD_LISTS)

    def odd(route: Route, left: list[str]) -> None:
        """A later that is further away than a browser's timers reach comes once, at the end."""
        later = {"Access-Control-Expose-Headers": "Retry-After", "Retry-After": "9" * 12} if not left[1:] else {}
        route.fulfill(status=503 if later else 200, body=left.pop(0), headers={**allowed, **later})

    page.route("**/api/events", lambda route: odd(route, events) if events else route.continue_())
    for path in ("recommendations/*", "pages"):
        page.route(
            f"**/api/{path}",
            lambda route: route.fulfill(body=asked.pop(0), headers=allowed) if asked else route.continue_(),
        )
    page.clock.install()
    page.goto(f"{shop.url}/odd")
    session = session_of(page)
    page.evaluate("void nextclick('cart', 'tent-11')")
    # one of the answers takes what it was asked about: more happens meanwhile. In small steps, as a request is given up
    # after ten seconds of the page
    wait_for(lambda: page.evaluate("void nextclick('cart', 'tent-11')") or page.clock.run_for(5_000) or not events, 120)
    page.clock.run_for(600_000)  # within the hour that is the longest rest
    assert "tent-11" in page.evaluate("localStorage['nextclick-left']")
    page.clock.run_for(3_600_000)
    assert "tent-11" in {one.get("item_id") for one in wait_logged(redis, session, 1)}
    wait_for(lambda: page.evaluate("void nextclick('view', 'tent-12')") or page.clock.run_for(5000) or not asked)
    page.evaluate("void nextclick('__proto__', 'tent-12')")
    page.evaluate("nextclick('init', JSON.parse('{\"__proto__\": {\"polluted\": 1}}'))")
    assert page.evaluate("({}).polluted") is None
    assert thrown == []


def test_a_list_that_is_refused_fails_alone_and_one_with_a_request_of_its_own_asks_alone(
    page: Page, shop: Site, url: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.removeprefix(url)) if one.method == "POST" else None)
    wrong = LIST.replace('scenario="homepage"', 'scenario="no-such"')
    own = LIST.replace('limit="6"', """limit="3" request='{"context":{"region":"AT"}}'""")
    shop.pages["/three"] = html(url, LIST + wrong + own)
    page.goto(f"{shop.url}/three")
    expect(page.locator("nextclick-list[state=failed]")).to_have_count(1)
    expect(page.locator("nextclick-list[state=ready]")).to_have_count(2)
    expect(page.locator("nextclick-list[state=failed]")).to_have_attribute("scenario", "no-such")
    alone = ["/api/recommendations/homepage", "/api/recommendations/homepage", "/api/recommendations/no-such"]
    assert sorted(asked) == sorted([*alone, "/api/pages"])
