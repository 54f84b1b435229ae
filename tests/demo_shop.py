"""A small shop with the demo page for tests that look at it: a quarter of the synthetic shop, on the real stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from rich.console import Console

from nextclick.stack.client import Client
from nextclick.stack.load_items import load_items
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop

DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("page"), demo_page=True)
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as stack:
        with Client(stack.url) as client:
            load_items(Console(quiet=True), list(default_shop().items[::4]), client)
        yield stack.url


def items_of(page: Page, cards: str) -> list[str]:
    """Return the item ids of cards or rows, in order."""
    return [str(card.get_attribute("data-item")) for card in page.query_selector_all(cards)]


def recommended(page: Page) -> list[str]:
    """Return the item ids on the rail, in order, once it has settled."""
    page.wait_for_selector('#recommendations[aria-busy="false"] .card')
    return items_of(page, "#recommendations .card")


def click_card(page: Page, cards: str, place: int) -> str:
    """Look at an item and wait until the page has counted it."""
    before = int(page.inner_text("#events").split()[0])
    card = page.locator(cards).nth(place)
    item = str(card.get_attribute("data-item"))
    card.locator("[data-act=view]").click()
    expect(page.locator("#events")).to_have_text(f"{before + 1} click{'s' if before else ''}")
    return item
