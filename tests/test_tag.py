"""The browser tag on a shop's own pages, in a real browser: what it sends, keeps and shows, and what it must not."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from contracts.settings import RedisSettings
from eventlog.contract import Topic
from tests.browser import CHROMIUM, PATIENT_MS, QUIET, needs_chromium
from tests.gateway.test_events import logged
from tests.processes import wait_for
from tests.tag_site import (
    CARDS,
    LIST,
    LOG,
    Site,
    call,
    context,
    html,
    page,
    redis,
    seen_by,
    session_of,
    shop,
    sites,
    stored,
    titles,
    url,
    wait_logged,
)

pytestmark = [needs_chromium, pytest.mark.slow]
__all__ = ["context", "page", "redis", "shop", "sites", "url"]


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
