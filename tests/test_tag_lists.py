"""Lists of the browser tag: what they show, when they ask again, and what they make of odd items and answers."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, Route, expect

from contracts.settings import RedisSettings
from tests.browser import needs_chromium
from tests.console_gateway import ask
from tests.processes import wait_for
from tests.tag_site import (
    CARDS,
    HOSTILE,
    LIST,
    MARKUP,
    STUB,
    Site,
    call,
    context,
    html,
    page,
    redis,
    session_of,
    shop,
    sites,
    titles,
    url,
    wait_logged,
)

pytestmark = [needs_chromium, pytest.mark.slow]
__all__ = ["context", "page", "redis", "shop", "sites", "url"]


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
    events, asked, opened = list(ODD), list(ODD_LISTS), list[bool]()

    def odd(route: Route) -> None:
        """A later that is further away than a browser's timers reach comes at the end: again where the page gave up
        before it heard it.
        """
        later = {"Access-Control-Expose-Headers": "Retry-After", "Retry-After": "9" * 12} if not events[1:] else {}
        body = events.pop(0) if events else ODD[-1]
        route.fulfill(status=503 if later else 200, body=body, headers={**allowed, **later})

    page.route("**/api/events", lambda route: route.continue_() if opened else odd(route))
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
    opened.append(True)
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
