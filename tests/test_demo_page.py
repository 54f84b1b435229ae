"""The demo page in a real browser: a click changes the list, and an item without stock leaves it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from rich.console import Console

from nextclick.stack.client import Client
from nextclick.stack.load_items import load_items
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop
from tests.browser import needs_chromium, opened

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("page"), demo_page=True)
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as stack:
        with Client(stack.url) as client:
            load_items(Console(quiet=True), list(default_shop().items[::4]), client)
        yield stack.url


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, shop_url: str) -> Iterator[Page]:
    shop, problems = opened(browser, shop_url, size=request.param)
    shop.wait_for_selector("#grid .card")
    yield shop
    shop.close()
    assert problems == []


def recommended(page: Page) -> list[str]:
    """Item ids on the rail, in order, once it has settled."""
    page.wait_for_selector('#recommendations[aria-busy="false"] .card')
    return [str(card.get_attribute("data-item")) for card in page.query_selector_all("#recommendations .card")]


def click_product(page: Page, place: int) -> str:
    """Click a product of the grid and wait until the page has counted it."""
    before = int(page.inner_text("#events").split()[0])
    card = page.locator("#grid .card").nth(place)
    item = str(card.get_attribute("data-item"))
    card.locator("[data-act=view]").click()
    expect(page.locator("#events")).to_have_text(f"{before + 1} click{'s' if before else ''}")
    return item


def test_clicks_of_one_category_change_the_list(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#grid .card').forEach((card) => card.classList.add('of-before'))")
    page.locator("#categories button").nth(3).click()
    page.locator("#grid .card:not(.of-before)").nth(3).wait_for()  # the page's policy lets nothing be evaluated in it
    clicked = [click_product(page, place) for place in range(3)]
    shown = recommended(page)
    assert len(shown) >= 4
    assert not set(shown) & set(clicked)
    assert float(page.inner_text("#latency")) > 0
    assert "similar to" in page.inner_text("#recommendations") or "often viewed" in page.inner_text("#recommendations")
    assert page.locator("#stages dt").count() >= 6


def test_an_item_set_to_no_stock_leaves_the_list(page: Page) -> None:
    click_product(page, 0)
    gone = recommended(page)[0]
    page.locator("#recommendations .card").first.locator("[data-act=sold]").click()
    expect(page.locator(f'#recommendations [data-item="{gone}"]')).to_have_count(0)


def test_a_new_visitor_starts_afresh(page: Page) -> None:
    click_product(page, 0)
    page.locator("#new-visitor").click()
    expect(page.locator("#events")).to_have_text("0 clicks")


def test_nothing_sticks_out_sideways(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_keyboard_alone_can_click_a_product(page: Page) -> None:
    page.locator("#grid [data-act=view]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#events")).to_have_text("1 click")
