"""Scripts that somebody planted in items, in a real browser: pages show them as text, and none runs.

The pages' policy is looked at as well: what if a page took text for markup all the same?
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from contracts.pages import page as file_page
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from replay.report.page import report_page
from tests.browser import needs_chromium, opened
from tests.replay.test_report import result

pytestmark = [needs_chromium, pytest.mark.slow]

RUN = "window.planted=(window.planted||0)+1"
SCRIPTS = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"'\"><img src=x onerror='{RUN}'>",
    f'" onmouseover="{RUN}" onfocus="{RUN}" autofocus x="',
    f"javascript:{RUN}",
    f"data:text/html,<script>opener.{RUN}</script>",
    f"</style><style>@import 'data:text/css,*{{display:none}}';</style><details open ontoggle={RUN}>",
    "{{constructor.constructor('" + RUN + "')()}}",
    f"<a href=javascript:{RUN}>x</a><base href=javascript:{RUN}//>",
    "<template id=forms></template><form id=grid></form>",
)


def planted() -> list[dict[str, Any]]:
    """Items that are scripts wherever an item holds text."""
    return [
        {
            "item_id": script[:256],
            "title": script,
            "category": script.replace("/", "|"),
            "brand": script[:200],
            "description": script,
            "image_url": script,
            "attributes": {"colour": script, "__proto__": script},
            "price": 1.0,
            script: script,
        }
        for script in SCRIPTS
    ]


@pytest.fixture(scope="module")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("planted"), demo_page=True)
    with Stack(StackSettings(stack=options)) as stack:
        with Client(stack.url) as client:
            assert client.put_items([orjson.dumps(item) for item in planted()])["accepted"] == len(SCRIPTS)
        yield stack.url


def expect_nothing_ran(page: Page) -> None:
    page.wait_for_timeout(300)
    assert page.evaluate("window.planted") is None


def test_the_shop_shows_planted_scripts_as_text(browser: Browser, shop_url: str) -> None:
    page, problems = opened(browser, shop_url)
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(len(SCRIPTS))
    assert set(page.locator("#grid .title").all_text_contents()) == set(SCRIPTS)
    filled = ":is(#recommendations, #grid, #categories, #clicks, #strip-list, #hidden)"
    assert page.locator(f"{filled} :is(script, img, iframe, a, base, style, form, details, animate)").count() == 0
    for place in range(len(SCRIPTS)):
        cards.nth(place).locator("[data-act=view]").click()
        expect(page.locator("#events")).to_have_text(f"{place + 1} click{'s' if place else ''}")
        cards.nth(place).locator("[data-act=cart]").focus()
    cards.first.locator("[data-act=hide]").click()
    expect(page.locator("#hidden li")).to_have_count(1)
    page.locator("#new-visitor").click()  # everything was seen
    expect(page.locator("#events")).to_have_text("0 clicks")
    page.locator("#open-editor").click()
    expect(page.locator("#preview li").first).to_be_visible()
    assert page.locator("#editor :is(script, img, iframe, a, base, style, animate)").count() == 0
    page.keyboard.press("Escape")
    for chip in page.locator("#categories button").all():
        chip.click()
        expect(page.locator("#grid .card").first).to_be_visible()
    expect_nothing_ran(page)
    assert problems == []
    page.close()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_of_the_gateway_runs_nothing_but_its_own_files(browser: Browser, shop_url: str, path: str) -> None:
    page, problems = opened(browser, shop_url + path)
    page.wait_for_selector("#grid .card" if path == "/" else ".opblock")
    assert problems == []
    for script in SCRIPTS:
        page.evaluate(
            """(markup) => {
              const range = document.createRange()
              for (const insert of [
                () => document.body.append(range.createContextualFragment(markup)),
                () => document.body.insertAdjacentHTML('beforeend', markup),
              ]) try { insert() } catch (error) { window.refused = true }
            }""",
            script,
        )
    page.evaluate(f"""() => {{
        const inline = document.createElement('script')
        try {{ inline.text = {RUN!r} }} catch (error) {{ window.refused = true }}
        document.body.append(inline)
        const link = document.createElement('a')
        link.href = {("javascript:" + RUN)!r}
        document.body.append(link)
        link.click()
        try {{ document.body.setAttribute('onclick', {RUN!r}) }} catch (error) {{ window.refused = true }}
        document.body.click()
    }}""")
    expect_nothing_ran(page)
    assert any("Content Security Policy" in one or "TrustedHTML" in one for one in problems)
    assert page.evaluate("window.refused || false") == (path == "/")  # the shop makes no markup of text at all
    page.close()


def test_the_page_of_the_api_works_under_its_policy(browser: Browser, shop_url: str) -> None:
    page, problems = opened(browser, f"{shop_url}/docs")
    page.locator("#operations-catalogue-get_api_items, .opblock-get").first.click()
    page.locator(".try-out__btn").first.click()
    page.locator(".execute").first.click()
    expect(page.locator(".live-responses-table td.response-col_status", has_text="200").first).to_be_visible()
    expect_nothing_ran(page)
    assert problems == []
    page.close()


def test_an_item_asked_for_by_its_address_is_no_page(browser: Browser, shop_url: str) -> None:
    for script in SCRIPTS:
        page, _ = opened(browser, f"{shop_url}/api/items/{quote(script[:256], safe='')}")
        assert page.evaluate("document.contentType") == "application/json"
        expect_nothing_ran(page)
        page.close()


def test_a_page_may_not_be_framed(browser: Browser, shop_url: str) -> None:
    for path, framed in (("/", False), ("/docs", False), ("/healthz", True)):
        page, _ = opened(browser, shop_url.replace("127.0.0.1", "localhost") + "/healthz")  # another origin
        with page.expect_event("framenavigated", lambda frame: frame.parent_frame is not None):
            page.evaluate(
                "url => document.body.append(Object.assign(document.createElement('iframe'), { src: url }))",
                shop_url + path,
            )
        page.wait_for_timeout(300)
        assert (page.frames[1].url == shop_url + path) == framed
        page.close()


def test_a_report_shows_planted_scripts_as_text_and_its_charts_work(browser: Browser, tmp_path: Path) -> None:
    evil = "".join(SCRIPTS)
    marks = [{"at_s": float(number), "name": script} for number, script in enumerate(SCRIPTS)]
    made = report_page(result(scenario=evil, recording=evil, failed={evil: 1}, marks=marks))
    (tmp_path / "report.html").write_text(made)
    page, problems = opened(browser, (tmp_path / "report.html").as_uri())
    assert page.inner_text("h1").startswith("<script>")
    mark = page.locator(".mark").nth(1)
    assert mark.evaluate("one => getComputedStyle(one).left") != "0px"
    page.locator(".plot").first.hover()
    expect(page.locator(".tip").first).to_be_visible()
    expect_nothing_ran(page)
    assert problems == []
    page.close()


@pytest.mark.parametrize("script", ["", "window.own=1"], ids=["without a script", "with one"])
def test_what_a_file_takes_for_markup_does_not_run_either(browser: Browser, tmp_path: Path, script: str) -> None:
    made = file_page(generator="t", title="t", body="".join(SCRIPTS[:3]), style="body{color:red}", script=script)
    (tmp_path / "page.html").write_text(made)
    page, problems = opened(browser, (tmp_path / "page.html").as_uri())
    expect_nothing_ran(page)
    assert page.evaluate("window.own || 0") == (1 if script else 0)
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(255, 0, 0)"
    assert any("Content Security Policy" in one for one in problems)
    page.close()
