"""The demo page in a real browser: what a click changes is in sight; pictures, prices, and what a visitor hides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from gateway.demo_page import STATIC
from nextclick.stack.client import Client
from tests.browser import needs_chromium, opened
from tests.demo_shop import DESKTOP, PHONE, click_card, items_of, recommended, shop_url

pytestmark = [needs_chromium, pytest.mark.slow]

GRID, RAIL = "#grid .card", "#recommendations .card"
PICTURE = (STATIC / "icon.svg").read_bytes()

__all__ = ["shop_url"]  # a fixture


class Pictures(BaseHTTPRequestHandler):
    """A host of pictures: /good... is one, and nothing else is there."""

    def do_GET(self) -> None:
        if not self.path.startswith("/good"):
            self.send_error(404)
            return
        assert "Referer" not in self.headers
        self.send_response(200)
        self.send_header("Content-Type", "image/svg+xml")
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, shop_url: str) -> Iterator[Page]:
    yield from shop_page(browser, shop_url, request.param)


@pytest.fixture
def phone(browser: Browser, shop_url: str) -> Iterator[Page]:
    yield from shop_page(browser, shop_url, PHONE)


def shop_page(browser: Browser, url: str, size: tuple[int, int]) -> Iterator[Page]:
    shop, problems = opened(browser, url, size=size)
    shop.wait_for_selector(GRID)
    yield shop
    shop.close()
    assert [one for one in problems if "404" not in one] == []  # a gateway may keep no users, or not know one


def put(shop_url: str, item_id: str, **fields: Any) -> None:
    with Client(shop_url) as client:
        item = {"item_id": item_id, "title": item_id, "category": "pictured/x", **fields}
        assert client.put_items([orjson.dumps(item)])["visible"] is True


def box_of(part: Locator) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what is shown."""
    box = part.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def covers(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_clicks_of_one_category_change_the_list(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#grid .card').forEach((card) => card.classList.add('of-before'))")
    page.locator("#categories button").nth(3).click()
    page.locator("#grid .card:not(.of-before)").nth(3).wait_for()  # the page's policy lets nothing be evaluated in it
    clicked = [click_card(page, GRID, place) for place in range(3)]
    shown = recommended(page)
    assert len(shown) >= 4
    assert not set(shown) & set(clicked)
    assert float(page.inner_text("#latency")) > 0
    assert "similar to" in page.inner_text("#recommendations") or "often viewed" in page.inner_text("#recommendations")
    assert page.locator("#stages dt").count() >= 6


def test_an_item_set_to_no_stock_leaves_the_list(page: Page) -> None:
    click_card(page, GRID, 0)
    gone = recommended(page)[0]
    page.locator("#recommendations .card").first.locator("[data-act=sold]").click()
    expect(page.locator(f'#recommendations [data-item="{gone}"]')).to_have_count(0)


def test_a_new_visitor_starts_afresh(page: Page) -> None:
    click_card(page, GRID, 0)
    page.locator("#new-visitor").click()
    expect(page.locator("#events")).to_have_text("0 clicks")


def test_nothing_sticks_out_sideways(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_keyboard_alone_can_click_a_product(page: Page) -> None:
    page.locator("#grid [data-act=view]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#events")).to_have_text("1 click")


def test_on_a_phone_the_point_of_the_page_stands_on_the_first_screen(phone: Page) -> None:
    for part in ("#latency", "#events", "#clicks-empty", "#recommendations"):
        assert box_of(phone.locator(part))[3] <= PHONE[1], part
    assert box_of(phone.locator(GRID).first)[1] <= PHONE[1]


def test_on_a_phone_a_click_changes_the_list_without_scrolling(phone: Page) -> None:
    before = recommended(phone)
    click_card(phone, RAIL, 0)
    assert recommended(phone) != before
    assert phone.evaluate("scrollY") == 0
    assert box_of(phone.locator("#recommendations"))[3] <= PHONE[1]
    assert box_of(phone.locator("#clicks li").first)[3] <= PHONE[1]


def test_a_click_far_down_shows_its_list_where_the_visitor_is(page: Page) -> None:
    expect(page.locator("#strip")).to_be_hidden()
    click_card(page, GRID, 40)
    before = page.evaluate("scrollY")
    expect(page.locator("#strip")).to_be_visible()
    expect(page.locator("#strip-list > span")).to_have_count(6)
    assert page.evaluate("scrollY") == before > 500
    page.locator("#strip").click()
    expect(page.locator("#strip")).to_be_hidden()


def test_what_the_page_says_covers_no_card(page: Page) -> None:
    for cards, place in ((RAIL, 0), (GRID, 0), (GRID, 30)):
        clicked = click_card(page, cards, place)
        expect(page.locator("#status")).to_contain_text("ms after the click")
        said = box_of(page.locator("#status"))
        assert said[1] >= 0
        if place == 30:  # far down it sticks above the card that was clicked
            assert not covers(said, box_of(page.locator(f'#grid [data-item="{clicked}"]')))
            continue
        page.evaluate("scrollTo(0, 0)")
        said = box_of(page.locator("#status"))
        assert not any(covers(said, box_of(card)) for card in page.locator(".card").all())


def test_targets_on_a_phone_are_large_enough_for_a_thumb(phone: Page) -> None:
    low = phone.locator("button:visible, summary:visible, input:visible").all()
    assert len(low) > 30
    assert [box for box in map(box_of, low) if box[3] - box[1] < 44] == []


def test_a_shops_own_pictures_and_currency_are_shown(browser: Browser, shop_url: str, pictures: str) -> None:
    put(shop_url, "own", price=12.5, image_url=f"{pictures}/good.svg", attributes={"currency": "usd"})
    put(shop_url, "gone", price=1200, image_url=f"{pictures}/none.png", attributes={"currency": "JPY"})
    put(shop_url, "odd", price=3, image_url="javascript:alert(1)", attributes={"currency": "<b>"})
    put(shop_url, "free", image_url="/relative.png")
    shop, problems = opened(browser, shop_url)
    shop.locator('#categories [value="pictured"]').click()
    own, gone, odd, free = (shop.locator(f'#grid [data-item="{name}"]') for name in ("own", "gone", "odd", "free"))
    image = own.locator("img")
    image.evaluate("one => one.decode()")
    assert image.evaluate("one => one.naturalWidth") > 0
    assert [image.get_attribute(name) for name in ("alt", "loading", "width", "height")] == [
        "own",
        "lazy",
        "300",
        "200",
    ]
    frames = [box_of(card.locator(".frame")) for card in (own, odd)]
    assert frames[0][3] - frames[0][1] == pytest.approx(frames[1][3] - frames[1][1])
    for drawn in (gone, odd, free):
        expect(drawn.locator("svg.picture")).to_be_visible()
        expect(drawn.locator("img")).to_have_count(0)
    assert [card.locator(".price").inner_text() for card in (own, gone, odd)] == ["$12.50", "¥1,200", "€3.00"]
    assert not any("Content Security Policy" in one for one in problems)
    assert [one for one in problems if "404" not in one] == []
    shop.close()


def test_what_a_visitor_hides_leaves_the_list_and_can_be_brought_back(page: Page) -> None:
    click_card(page, GRID, 3)
    gone = recommended(page)[1]
    hidden = page.locator(f'#hidden [data-item="{gone}"]')
    with page.expect_request("**/api/events") as sent:
        page.locator(RAIL).nth(1).locator("[data-act=hide]").click()
    expect(page.locator("#you-summary")).to_contain_text("1 hidden")
    expect(page.locator(f'#recommendations [data-item="{gone}"]')).to_have_count(0)
    expect(hidden).to_have_count(1)
    assert (sent.value.post_data_json["type"], sent.value.post_data_json["item_id"]) == ("hide", gone)
    with page.expect_request("**/api/recommendations/*") as asked:
        click_card(page, GRID, 5)
    assert asked.value.post_data_json["exclude"] == [gone]
    page.locator("#recommendations .card [data-act=hide]").first.click()
    expect(page.locator("#you-summary")).to_contain_text("2 hidden")
    with page.expect_request("**/api/recommendations/*") as asked:
        page.locator("#undo").click()
    assert asked.value.post_data_json["exclude"] == [gone]
    if page.locator("#hidden").is_hidden():
        page.locator("#you-summary").click()
    with page.expect_request("**/api/recommendations/*") as asked:
        hidden.locator("button").click()
    assert "exclude" not in asked.value.post_data_json
    expect(page.locator("#hidden li")).to_have_count(0)
    assert items_of(page, ".hidden-item") == []


def test_who_is_signed_in_goes_with_events_and_requests_and_survives_a_reload(page: Page) -> None:
    if page.locator("#user").is_hidden():
        page.locator("#you-summary").click()
    page.locator("#user").fill("anna")
    page.keyboard.press("Enter")
    expect(page.locator("#you-summary")).to_contain_text("signed in as anna")
    page.reload()
    page.wait_for_selector(GRID)
    expect(page.locator("#you-summary")).to_contain_text("signed in as anna")
    with page.expect_request("**/api/events") as sent, page.expect_request("**/api/recommendations/*") as asked:
        click_card(page, GRID, 0)
    assert (sent.value.post_data_json["user_id"], asked.value.post_data_json["user_id"]) == ("anna", "anna")


def test_what_was_hidden_before_the_sign_in_can_be_brought_back_after_it(page: Page) -> None:
    expect(page.locator("#events")).to_have_text("0 clicks")
    gone, user = recommended(page)[0], f"berta-{(page.viewport_size or DESKTOP)['width']}"
    page.locator(RAIL).first.locator("[data-act=hide]").click()
    expect(page.locator("#you-summary")).to_contain_text("not signed in · 1 hidden")
    click_card(page, "#grid .card", 2)
    expect(page.locator("#events")).to_have_text("1 click")  # a hide is none
    if page.locator("#user").is_hidden():
        page.locator("#you-summary").click()
    page.locator("#user").fill(user)
    page.locator("#sign-in button").first.click()
    expect(page.locator("#you-summary")).to_contain_text(f"signed in as {user} · 1 hidden")
    assert gone not in recommended(page)
    hidden = page.locator(f'#hidden [data-item="{gone}"]')
    with page.expect_request(
        lambda one: one.url.endswith("/api/events") and '"unhide"' in (one.post_data or "")
    ) as sent:
        hidden.locator("button").click()  # what was seen is told meanwhile
    assert sent.value.post_data_json["item_id"] == gone
    expect(page.locator("#you-summary")).to_contain_text(f"signed in as {user} · 0 hidden")
    expect(page.locator("#events")).to_have_text("1 click")
    page.locator(RAIL).first.locator("[data-act=hide]").click()
    expect(page.locator("#you-summary")).to_contain_text("1 hidden")
    page.locator("#sign-out").click()
    expect(page.locator("#you-summary")).to_contain_text("not signed in · 1 hidden")  # this session's as well
    page.locator("#new-visitor").click()
    expect(page.locator("#you-summary")).to_contain_text("not signed in · 0 hidden")
    expect(page.locator("#events")).to_have_text("0 clicks")


def test_what_a_user_hides_is_kept_for_the_user_where_the_gateway_keeps_users(browser: Browser, shop_url: str) -> None:
    """The addresses of users are answered here as docs/api.md has them, for a gateway with and without them."""
    for kept in (True, False):
        shop, _ = opened(browser, shop_url)
        calls: list[tuple[str, Any]] = []

        def answer(route: Route, *, kept: bool = kept, calls: list[tuple[str, Any]] = calls) -> None:
            calls.append((route.request.method, route.request.post_data_json))
            route.fulfill(status=200 if kept else 404, json={"visible": True} if kept else {"detail": "none"})

        shop.route("**/api/users/anna%20b/**", answer)
        shop.wait_for_selector(GRID)
        shop.locator("#user").fill("anna b")
        shop.locator("#sign-in button").first.click()
        expect(shop.locator("#you-summary")).to_contain_text("signed in as anna b")
        gone = recommended(shop)[0]
        shop.locator(RAIL).first.locator("[data-act=hide]").click()
        expect(shop.locator("#status")).to_contain_text("on every device" if kept else "in this session")
        shop.locator("#undo").click()
        expect(shop.locator("#you-summary")).to_contain_text("0 hidden")
        posted = ("POST", {"item_id": gone})
        assert calls == ([posted, ("DELETE", {"item_id": gone})] if kept else [posted])
        shop.close()
