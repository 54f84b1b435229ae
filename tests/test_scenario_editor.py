"""The scenario editor of the demo page in a real browser: errors at their place, a preview beside what is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from nextclick.stack.client import Client
from tests.browser import needs_chromium, opened
from tests.demo_shop import DESKTOP, PHONE, click_card, items_of, shop_url

pytestmark = [needs_chromium, pytest.mark.slow]

PUBLISHED, PREVIEW = "#published li", "#preview li"

__all__ = ["shop_url"]  # a fixture


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, shop_url: str) -> Iterator[Page]:
    shop, problems = opened(browser, shop_url, size=request.param)
    shop.wait_for_selector("#grid .card")
    click_card(shop, "#grid .card", 2)
    shop.locator("#open-editor").click()
    expect(shop.locator("#preview-state")).to_have_text("as published")
    yield shop
    shop.close()
    assert [one for one in problems if "422" not in one] == []  # Chromium tells of each answer that refuses


def draft(page: Page, document: Any) -> None:
    page.locator("#draft").fill(document if isinstance(document, str) else json.dumps(document, indent=2))


def expect_previewed(page: Page) -> None:
    expect(page.locator("#preview-state")).to_contain_text(" items")


def titles(page: Page, rows: str) -> list[str]:
    return page.locator(f"{rows} .title").all_text_contents()


def prices(shop_url: str, ids: list[str]) -> list[float]:
    with Client(shop_url) as client:
        answer = client.recommend("search", "nobody", limit=len(ids), candidates=ids, fields=["price"])
    return [one["item"]["price"] for one in answer["recommendations"]]


def test_a_draft_is_previewed_beside_what_is_published_and_publishes_nothing(page: Page, shop_url: str) -> None:
    before = items_of(page, PUBLISHED)
    assert before == items_of(page, PREVIEW)
    assert len(before) == 8
    dear = max(prices(shop_url, before))
    pin = {"item_id": before[6], "position": 1}
    with page.expect_response("**/preview") as answered:
        draft(page, {"filter": f"price < {dear / 2}", "value": "fashion", "pins": [pin]})
    expect_previewed(page)
    assert items_of(page, PUBLISHED) == before
    shown = items_of(page, PREVIEW)
    assert shown != before
    assert shown[0] == before[6]
    assert all(price < dear / 2 for price in prices(shop_url, shown[1:]))  # a pin need not meet the filter
    assert page.locator(f"{PREVIEW} .stages dt", has_text="match").count() >= 1
    assert page.locator(f"{PREVIEW} .stages .total dd").first.inner_text() != ""
    dropped = answered.value.json()["dropped"]
    assert sorted(page.locator("#dropped dd").all_text_contents()) == sorted(str(count) for count in dropped.values())
    with Client(shop_url) as client:
        assert client.recommend("homepage", "nobody", limit=1)["scenario"] == {"name": "homepage", "version": 0}


def test_what_boosts_pins_and_moves_did_is_told_of_each_item(page: Page) -> None:
    last = items_of(page, PUBLISHED)[7]
    boost = {"if": "price > 0", "multiply": 2, "why": "all"}
    draft(page, {"boosts": [boost], "pins": [{"item_id": last, "position": 2}]})
    expect_previewed(page)
    row = page.locator(f'#preview [data-item="{last}"]')
    expect(row.locator(".mark", has_text="pinned")).to_have_count(1)
    expect(row.locator(".moved")).to_contain_text("6 up")
    expect(row.locator(".place")).to_have_text("2")
    expect(page.locator(f"{PREVIEW} .boost").first).to_have_text("× 2 all")


@pytest.mark.parametrize(
    ("text", "line", "place", "told"),
    [
        ('{\n  "filter": "price <",,\n}', 2, "Line 2, column 23", 'expected a name in double quotes, got ","'),
        ('{\n  "base": "homepage",\n  "diversity": 7\n}', 3, "Line 3, column 16", "/diversity"),
        ('{\n  "filter": "stock > 0 and colour == 3"\n}', 2, "Line 2, column 28", "no field is called colour"),
        ('{\n  "fliter": "price < 3"\n}', 2, "Line 2, column 3", "/fliter"),
        ('{\n  "filter": "true",\n  "filter": "stock > 0"\n}', 3, "Line 3, column 3", 'expected "filter" once'),
        ('{"fields": ["title",\n"titel"]}', 2, "Line 2, column 1", "did you mean title?"),
        ("[]", 1, "Line 1, column 1", "expected an object"),
    ],
)
def test_an_error_is_shown_at_its_line_and_column(page: Page, text: str, line: int, place: str, told: str) -> None:
    before = titles(page, PREVIEW)
    draft(page, text)
    expect(page.locator("#draft-errors .place-link")).to_have_text(place)
    expect(page.locator("#draft-errors")).to_contain_text(told)
    expect(page.locator("#gutter .wrong")).to_have_text(f"{line}")
    expect(page.locator("#marks mark")).to_have_count(1)
    expect(page.locator("#publish")).to_be_disabled()
    assert titles(page, PREVIEW) == before
    page.locator("#draft-errors .place-link").click()
    caret = page.locator("#draft").evaluate("one => one.value.slice(0, one.selectionStart).split('\\n')")
    assert place == f"Line {len(caret)}, column {len(caret[-1]) + 1}"
    draft(page, "{}")
    expect(page.locator("#draft-errors li")).to_have_count(0)


def test_all_that_is_wrong_with_a_draft_is_listed_at_once(page: Page) -> None:
    boost = '{"if": "true", "multiply": 2, "from": "2026-02-01", "until": "2026-01-01"}'
    draft(page, f'{{\n"filter": "pric < 5",\n"diversity": 2,\n"boosts": [{boost}],\n"fields": ["titel"]\n}}')
    listed = page.locator("#draft-errors .place-link")
    expect(listed).to_have_count(4)
    assert listed.all_text_contents() == [
        "Line 2, column 12",
        "Line 3, column 14",
        "Line 4, column 12",
        "Line 5, column 12",
    ]


def test_what_is_doubtful_is_warned_of_at_its_line_and_can_be_published(page: Page) -> None:
    first = items_of(page, PUBLISHED)[0]
    pins = f'[{{"item_id": "{first}", "position": 1}}, {{"item_id": "no-such-item", "position": 2}}]'
    second = len('"pins": ') + pins.index('"no-such-item') + 1
    draft(page, f'{{\n"pins": {pins},\n"bury": ["gone"],\n"filter": "price < 900 and price > 950 or stock >= 0"\n}}')
    expect_previewed(page)
    told = page.locator("#draft-errors .warns")
    expect(told).to_have_count(3)
    assert [one.split("Warning:")[0].strip() for one in told.all_inner_texts()] == [
        f"Line 2, column {second}",
        "Line 3, column 10",
        "Line 4, column 28",
    ]
    expect(told.nth(0)).to_contain_text("'no-such-item' is not in the catalogue")
    expect(told.nth(1)).to_contain_text("'gone' is not in the catalogue: nothing is buried")
    expect(told.nth(2)).to_contain_text("`price > 950` is never true together with `price < 900`")
    expect(page.locator("#gutter .wrong")).to_have_count(0)
    expect(page.locator("#draft")).to_have_attribute("aria-invalid", "false")
    expect(page.locator("#publish")).to_be_enabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    draft(page, "{}")
    expect(told).to_have_count(0)


def test_a_scenario_is_published_rolled_back_and_deleted(page: Page, shop_url: str) -> None:
    page.locator("#scenario").select_option(label="a new one …")
    page.locator("#scenario-name").fill("deals")
    draft(page, {"base": "homepage", "filter": "price < 40"})
    expect_previewed(page)
    expect(page.locator("#published-version")).to_have_text("not yet")
    page.locator("#publish").click()
    expect(page.locator("#editor-told")).to_contain_text("of deals is published. Every process answers by it.")
    first = int(page.locator("#editor-told").inner_text().split()[1])
    expect(page.locator("#preview-state")).to_have_text("as published")
    draft(page, {"base": "homepage", "filter": "price > 40"})
    expect_previewed(page)
    page.locator("#publish").click()
    expect(page.locator("#editor-told")).to_contain_text(f"Version {first + 1} of deals is published")
    page.locator("#editor details summary").click()
    page.locator("#versions button", has_text="Roll back").first.click()
    expect(page.locator("#editor-told")).to_contain_text(f"Version {first + 2} is as version {first} was")
    with Client(shop_url) as client:
        assert client.recommend("deals", "s", limit=1)["scenario"] == {"name": "deals", "version": first + 2}
    page.locator("#delete").click()
    expect(page.locator("#delete")).to_have_text("Delete deals: sure?")
    page.locator("#delete").click()
    expect(page.locator("#editor-told")).to_contain_text("deals is deleted")
    assert "deals" not in page.locator("#scenario").inner_text()


def test_one_question_is_asked_for_what_was_typed_and_none_where_nothing_changed(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/preview" in request.url else None)
    page.locator("#draft").fill("")
    page.locator("#draft").press_sequentially('{"diversity": 0.5}', delay=10)
    expect_previewed(page)
    draft(page, '{ "diversity":   0.5 }')
    page.wait_for_timeout(800)
    assert [json.loads(one)["scenario"] for one in asked] == [{"diversity": 0.5}]
    expect(page.locator("#publish")).to_be_enabled()  # as its answer is known


def test_the_keyboard_alone_opens_and_closes_the_editor(page: Page) -> None:
    assert page.evaluate("document.querySelector('#editor').contains(document.activeElement)")
    page.locator("#scenario").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "draft"
    page.keyboard.press("Escape")
    expect(page.locator("#editor")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "open-editor"


def test_nothing_of_the_editor_sticks_out_sideways(page: Page) -> None:
    draft(page, {"filter": " and ".join(f"price > {n}" for n in range(60)), "value": "margin"})
    page.wait_for_timeout(600)
    assert page.locator("#editor").evaluate("one => one.scrollWidth <= one.clientWidth")
