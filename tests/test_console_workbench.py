"""Pages of the console that try things, in a real browser: a session and its answer without a click, items and who
shows them, scenarios that are edited, published and taken back.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from contracts.settings import LogSettings, RedisSettings
from state.embedded import EmbeddedRedis
from tests.browser import needs_chromium, opened
from tests.console_gateway import ask, console, gateway
from tests.gateway.streams import Streams

pytestmark = [needs_chromium, pytest.mark.slow]

DESKTOP, PHONE = (1280, 900), (390, 844)
WIDE = "document.documentElement.scrollWidth <= window.innerWidth"
CHANGED = ("no_candidate", "dropped", "outranked")
MARKUP = "<img src=x onerror=alert(1)>"
KINDS = {"shoes/trail": "Trail shoe", "tents": "Tent", "lamps": "Lamp"}
ITEMS: dict[str, dict[str, Any]] = {
    f"{kind[:4]}-{n}": {"title": f"{title} {n}", "category": kind, "brand": f"B{n % 2}", "price": 10.0 * n, "stock": 9}
    for kind, title in KINDS.items()
    for n in range(1, 7)
}
ITEMS |= {"gone": {"title": "Old tent", "category": "tents", "stock": 0}, "odd": {"title": MARKUP, "price": 3.0}}


def fresh(server: EmbeddedRedis) -> RedisSettings:
    return RedisSettings(url=server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)


@pytest.fixture(scope="module")
def url(redis_server: EmbeddedRedis) -> Iterator[str]:
    redis = fresh(redis_server)
    with gateway(redis) as address, Streams(LogSettings(partitions=4), redis):
        for item_id, item in ITEMS.items():
            assert ask(address, "PUT", f"/api/items/{item_id}", item)["visible"]
        yield address


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def either(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    yield from console(browser, url, request.param, "404", "422", "503")


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    yield from console(browser, url, PHONE, "404", "409", "422", "503")


def settled(page: Page, address: str) -> None:
    page.goto(address)
    page.locator('#main[aria-busy="false"]').wait_for()


def visitor(url: str, *items: str) -> str:
    """Click items as a new session, and ask for it once; returns its id."""
    session_id, now_ms = f"s-{uuid.uuid4().hex[:8]}", time.time_ns() // 1_000_000
    base = {"v": 1, "type": "view", "session_id": session_id}
    clicks = [
        {**base, "event_id": f"{session_id}-{at}", "item_id": item, "ts": now_ms - 90_000 + at}
        for at, item in enumerate(items)
    ]
    token = ask(url, "POST", "/api/events", clicks)["token"] if clicks else None
    after = {"after": token} if token else {}
    ask(url, "POST", "/api/recommendations/homepage", {"session_id": session_id, **after})
    return session_id


def scenario(url: str, **document: Any) -> str:
    name = f"s{uuid.uuid4().hex[:8]}"
    ask(url, "PUT", f"/api/scenarios/{name}", {"base": "homepage", **document})
    return name


def ranked(page: Page, which: str) -> list[str]:
    rows = page.locator(f"{which} .ranks > li")
    return [str(row.get_attribute("data-item")) for row in rows.all()]


# ── session ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_is_picked_and_a_click_is_forgotten_beside_the_answer_it_gets_now(either: Page, url: str) -> None:
    session_id = visitor(url, "odd", "shoe-1", "shoe-2")
    settled(either, f"{url}/console/session")
    either.locator(".chip", has_text=session_id).click()
    either.locator("#now .ranks > li").first.wait_for()
    clicks = either.locator(".clicked li")
    for row, title in zip(clicks.all(), ("Trail shoe 2", "Trail shoe 1", MARKUP), strict=True):
        expect(row).to_contain_text(title)
        expect(row).to_contain_text(" ago")
    now = ranked(either, "#now")
    assert len(now) == 10
    assert not {"shoe-2", "gone"} & set(now)
    expect(either.locator(".near li").first).to_be_visible()
    assert either.evaluate(WIDE)
    forget = clicks.nth(0).locator("button")
    forget.focus()
    either.keyboard.press("Enter")
    expect(either.locator("#without h3")).to_have_text("Without that click")
    expect(forget).to_have_attribute("aria-pressed", "true")
    assert "shoe-2" in ranked(either, "#without")
    expect(either.locator('#without [data-item="shoe-2"] .moved')).to_have_text("new")
    assert ranked(either, "#now") == now
    assert either.evaluate(WIDE)
    assert ask(url, "GET", f"/api/sessions/{session_id}")["events"] == 3
    forget.click()
    expect(either.locator("#without")).to_have_count(0)


def test_why_an_item_is_not_in_the_answer_is_said_of_any_item(page: Page, url: str) -> None:
    session_id = visitor(url, "shoe-1")
    name = scenario(url, filter="price < 50 or stock == 0")
    settled(page, f"{url}/console/session?id={session_id}&scenario={name}")
    page.locator("#now .ranks > li").first.wait_for()
    first, rest = ranked(page, "#now")[0], set(ITEMS) - set(ranked(page, "#now"))
    cheap = next(item for item in sorted(rest) if item not in ("shoe-1", "gone") and ITEMS[item].get("price", 99) < 50)
    for item, verdict, told in (
        (first, "shown", "place 1"),
        ("gone", "no_candidate", "stock"),
        ("shoe-1", "dropped", ""),
        ("tent-6", "no_candidate", "price < 50 or stock == 0"),
        (cheap, "outranked", ""),
        ("no-such-item", "unknown", "catalogue"),
    ):
        page.locator("#why-item").fill(item)
        page.locator("#why-form button").click()
        expect(page.locator(f'#why-told [data-verdict="{verdict}"]')).to_contain_text(told)
        expect(page.locator("#why-told")).to_contain_text("would show it" if verdict in CHANGED else "")
        page.locator("#why-told").evaluate("one => one.replaceChildren()")
    assert page.evaluate(WIDE)


def test_another_scenario_answers_with_what_its_items_are_worth(page: Page, url: str) -> None:
    session_id = visitor(url, "lamp-1")
    name = scenario(url, value={"match": 1, "fresh": 0.5}, boosts=[{"if": "true", "multiply": 2, "why": "Sale"}])
    settled(page, f"{url}/console/session?id={session_id}")
    expect(page.locator("#now .stages")).to_have_count(0)
    page.locator("#scenario").select_option(name)
    expect(page.locator("#now .ranks > li").first.locator(".stages dt")).to_have_text(["match", "fresh", "value"])
    expect(page.locator("#now .mark").first).to_have_text("× 2 Sale")
    assert page.url.endswith(f"scenario={name}")
    assert page.evaluate(WIDE)


def test_a_session_that_nothing_is_stored_of_is_said_and_answered(page: Page, url: str) -> None:
    settled(page, f"{url}/console/session")
    page.locator("#session-id").fill("nobody/at all")
    page.keyboard.press("Enter")
    expect(page.locator("#session")).to_contain_text("Nothing is stored of this session")
    expect(page.locator("#now .ranks > li")).to_have_count(10)


# ── catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_items_are_found_by_words_ids_and_conditions_and_a_wrong_one_is_told_at_its_field(
    either: Page, url: str
) -> None:
    settled(either, f"{url}/console/catalogue")
    titles = either.locator("#found tbody th")
    expect(titles).to_have_count(20)
    for words, condition, found in (
        ("trail SHOE", "price < 30", ["Trail shoe 1", "Trail shoe 2"]),
        ("lamp-3", "", ["Lamp 3"]),
        ("onerror", "", [MARKUP]),
    ):
        either.locator("#words").fill(words)
        either.locator("#filter").fill(condition)
        either.locator("form [type=submit]").first.click()
        expect(titles).to_have_text(found)
    either.locator("#filter").fill("pric < 30")
    either.locator("form [type=submit]").first.click()
    expect(either.locator("#filter-wrong")).to_contain_text("no field is called pric")
    expect(either.locator("#filter")).to_have_attribute("aria-invalid", "true")
    either.locator("#filter").fill("price > 99")
    either.locator("form [type=submit]").first.click()
    expect(either.locator("#found")).to_contain_text("No item is like that.")
    assert either.evaluate(WIDE)


def test_all_items_are_listed_a_page_at_a_time_with_their_whole_prices(page: Page, url: str) -> None:
    dear = {"title": "AAA dear tent", "price": 1234.5, "attributes": {"currency": "EUR"}}
    assert ask(url, "PUT", "/api/items/dear", dear)["visible"]
    settled(page, f"{url}/console/catalogue")
    expect(page.locator("#many")).to_have_text("20 found so far; more may follow.")
    page.locator("#more").click()
    expect(page.locator("#many")).to_have_text("21 found, that is all.")
    expect(page.locator("#found tbody tr", has_text="AAA dear tent")).to_contain_text("€1,234.50")
    ask(url, "DELETE", "/api/items/dear")


def test_an_item_says_who_shows_it_and_by_what_it_is_dropped(either: Page, url: str) -> None:
    name = scenario(url, filter="price < 30")
    buries = scenario(url, bury=["tent-5"])
    settled(either, f"{url}/console/catalogue?item=tent-5")
    expect(either.locator("h1")).to_have_text("Tent 5")
    rows = either.locator("[aria-label='Scenarios that show the item'] tbody tr")
    expect(rows.filter(has_text="homepage")).to_contain_text("of a page of 100.")
    expect(rows.filter(has_text=name)).to_contain_text("Never: the filter does not keep it: price < 30.")
    expect(rows.filter(has_text=buries)).to_contain_text("It buries the item at the end of a page.")
    near = either.locator("section", has_text="Nearest to it").locator(".near li .of")
    assert near.first.inner_text().startswith("Tent")
    assert either.evaluate(WIDE)
    settled(either, f"{url}/console/catalogue?item=gone")
    expect(either.locator("#main")).to_contain_text("It is sold out: no scenario shows it.")
    expect(rows.filter(has_text="homepage")).to_contain_text("Never: it is out of stock.")
    settled(either, f"{url}/console/catalogue?item=nothing")
    expect(either.locator("#main")).to_contain_text("The catalogue has no such item")


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────────────────────


def draft(page: Page, text: str) -> None:
    page.locator("#draft").fill(text)


def test_a_scenario_is_written_tried_published_compared_and_taken_back(page: Page, url: str) -> None:
    visitor(url, "shoe-2")
    name = f"s{uuid.uuid4().hex[:8]}"
    settled(page, f"{url}/console/scenarios")
    page.locator("#new").click()
    page.locator("#new-name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#which")).to_have_text("not published yet")
    draft(page, '{"base": "homepage",\n "filter": "pric < 50"}')
    expect(page.locator("#draft-errors .place-link")).to_have_text("Line 2, column 13")
    expect(page.locator("#draft-errors")).to_contain_text("no field is called pric")
    expect(page.locator("#publish")).to_be_disabled()
    draft(page, '{"base": "homepage",\n "filter": "price < 25"}')
    expect(page.locator("#preview-state")).to_have_text(re.compile(r"^\d+ items$"))
    assert {ITEMS[item]["price"] for item in ranked(page, "#drafted")} <= {3.0, 10.0, 20.0}
    expect(page.locator("#words")).to_contain_text("It keeps items where price < 25.")
    expect(page.locator("#words-of")).to_be_hidden()
    for wrong in ('{"base": "homepage",', '{"base": "homepage", "filter": "pric < 50"}'):
        draft(page, wrong)
        expect(page.locator("#words-of")).to_have_text("Not of this draft, but of the last one that was right:")
        draft(page, '{"base": "homepage",\n "filter": "price < 25"}')
        expect(page.locator("#words-of")).to_be_hidden()
    assert page.evaluate(WIDE)
    page.locator("#publish").click()
    expect(page.locator("#told")).to_have_text(f"Version 1 of {name} is published. Every process answers by it.")
    draft(page, '{"base": "homepage",\n "filter": "price > 25"}')
    expect(page.locator("#preview-state")).to_have_text(re.compile(r"^\d+ items$"))
    expect(page.locator("#published h3")).to_have_text("Published, version 1")
    expect(page.locator("#drafted .moved.new").first).to_be_visible()
    page.locator("#publish").click()
    expect(page.locator("#told")).to_contain_text(f"Version 2 of {name} is published.")
    page.locator('[data-version="2"] summary').click()
    expect(page.locator('[data-version="2"] .goes')).to_have_text('-   "filter": "price < 25"\n')
    expect(page.locator('[data-version="2"] .comes')).to_have_text('+   "filter": "price > 25"\n')
    page.locator('[data-version="1"] summary').click()
    page.locator('[data-back="1"]').click()
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("#told")).to_contain_text("Version 3 is as version 1 was.")
    assert ask(url, "GET", f"/api/scenarios/{name}")["scenario"]["filter"] == "price < 25"
    assert page.evaluate(WIDE)
    settled(page, f"{url}/console/scenarios")
    expect(page.locator(f'[data-scenario="{name}"]')).to_contain_text("It keeps items where price < 25.")
    assert page.evaluate(WIDE)


def test_a_draft_that_another_version_overtook_stays_beside_it_and_is_not_published(page: Page, url: str) -> None:
    name = scenario(url, filter="price < 25")
    settled(page, f"{url}/console/scenarios?name={name}")
    draft(page, '{"base": "homepage", "filter": "price < 35"}')
    expect(page.locator("#preview-state")).to_have_text(re.compile(r"^\d+ items$"))
    ask(url, "PUT", f"/api/scenarios/{name}", {"base": "homepage", "filter": "price < 15"})
    page.locator("#publish").click()
    expect(page.locator("#told")).to_contain_text("Version 2 was published since you began this draft.")
    expect(page.locator("#draft")).to_have_value('{"base": "homepage", "filter": "price < 35"}')
    expect(page.locator("#published h3")).to_have_text("Published, version 2")
    assert ask(url, "GET", f"/api/scenarios/{name}")["scenario"]["filter"] == "price < 15"
    page.locator("#publish").click()
    expect(page.locator("#told")).to_contain_text(f"Version 3 of {name} is published.")
    expect(page.locator("#published h3")).to_have_text("Published, version 3")
    draft(page, '{"base": "homepage", "filter": "price < 45"}')
    ask(url, "PUT", f"/api/scenarios/{name}", {"base": "homepage", "filter": "price < 15"})
    settled(page, f"{url}/console/scenarios?name={name}")  # the draft is of version 3 all the same
    expect(page.locator("#published h3")).to_have_text("Published, version 4")
    page.locator("#publish").click()
    expect(page.locator("#told")).to_contain_text("Version 4 was published since you began this draft.")
    page.locator("#publish").click()
    expect(page.locator("#told")).to_contain_text(f"Version 5 of {name} is published.")


def test_a_draft_outlives_a_reload_until_it_is_published_or_dropped(page: Page, url: str) -> None:
    name = scenario(url, filter="price < 25")
    settled(page, f"{url}/console/scenarios?name={name}")
    as_it_was = page.locator("#draft").input_value()
    expect(page.locator("#restore")).to_be_hidden()
    draft(page, '{"base": "homepage", "filter": "price < ')
    settled(page, f"{url}/console/figures")
    settled(page, f"{url}/console/scenarios?name={name}")
    expect(page.locator("#told")).to_have_text("Your draft is here again. It is not published.")
    expect(page.locator("#draft")).to_have_value('{"base": "homepage", "filter": "price < ')
    page.locator("#restore").click()
    expect(page.locator("#draft")).to_have_value(as_it_was)
    settled(page, f"{url}/console/scenarios?name={name}")
    expect(page.locator("#draft")).to_have_value(as_it_was)
    expect(page.locator("#restore")).to_be_hidden()


def test_examples_of_what_a_document_may_hold_are_put_into_the_draft(page: Page, url: str) -> None:
    name = scenario(url)
    settled(page, f"{url}/console/scenarios?name={name}")
    page.locator("#examples summary").click()
    assert page.evaluate(WIDE)
    fields = page.locator("[data-example]").evaluate_all("all => all.map((one) => one.dataset.example)")
    for field in fields:
        page.locator(f'[data-example="{field}"]').click()
        expect(page.locator("#draft")).to_have_value(re.compile(f'"{field}": '))
    expect(page.locator("#preview-state")).to_have_text(re.compile(r"^\d+ items$"))
    expect(page.locator("#draft")).to_have_attribute("aria-invalid", "false")
    page.locator('[data-example="filter"]').click()
    expect(page.locator("#told")).to_have_text("The draft has filter already.")
    draft(page, "{")
    page.locator('[data-example="filter"]').click()
    expect(page.locator("#told")).to_contain_text("The draft is not right yet")
    expect(page.locator("#draft")).to_have_value("{")
    page.locator("#restore").click()


def test_without_items_and_visitors_the_pages_say_how_to_begin(browser: Browser, redis_server: EmbeddedRedis) -> None:
    with gateway(fresh(redis_server)) as url:
        page, problems = opened(browser, f"{url}/console/catalogue", size=PHONE)
        expect(page.locator("#found")).to_contain_text("The catalogue is empty.")
        settled(page, f"{url}/console/session")
        expect(page.locator("#recent")).to_contain_text("Nobody asked this process for recommendations yet.")
        assert f"{url}/api/recommendations/homepage" in page.locator("pre").inner_text()
        settled(page, f"{url}/console/scenarios")
        expect(page.locator("#list")).to_contain_text("every placement answers as it is")
        assert page.evaluate(WIDE)
        assert problems == []
        page.close()
