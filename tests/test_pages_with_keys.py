"""Pages and API keys in a real browser: the demo page with its key, and another site's page with a public one."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from contracts.api_keys import Made, new_key
from nextclick.stack.client import Client
from nextclick.stack.environment import environment_with
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from state.key_store import KeyStore
from tests.browser import CHROMIUM, PATIENT_MS, QUIET
from tests.processes import wait_for

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: the page is not looked at"),
    pytest.mark.slow,
]

CALL = """async ([url, key, body, method]) => {
  const headers = { 'Content-Type': 'application/json', ...(key ? { Authorization: `Bearer ${key}` } : {}) }
  try {
    const answer = await fetch(url, { method, headers, body: JSON.stringify(body) })
    return [answer.status, await answer.json()]
  } catch (error) {
    return [0, String(error)]
  }
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another origin with an empty page."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><title>a shop</title>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with environment_with({"NEXTCLICK_GATEWAY__KEYS": "required"}):
        options = StackOptions(port=0, folder=folder, demo_page=True)
        with Stack(StackSettings(stack=options)) as running:
            yield running


def key_of(stack: Stack, *scopes: str, origin: str = "") -> Made:
    """Make a key that the gateway knows."""
    made = new_key("test", scopes, [origin] if origin else [], public=bool(origin), now_ms=time.time_ns() // 1_000_000)
    store = KeyStore(stack.running_settings.redis)
    store.change(lambda keys: ((made.key,), ()))
    store.close()
    wait_for(lambda: _status(stack.url, made.text, origin) != 401)
    return made


def _status(url: str, text: str, origin: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", "/api/events", "{", {"Authorization": f"Bearer {text}", "Origin": origin})
        return connection.getresponse().status
    finally:
        connection.close()


def view(event_id: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 10**6
    return {"v": 1, "event_id": event_id, "type": "view", "session_id": "s1", "item_id": "i1", "ts": now_ms}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=PATIENT_MS)
        expect.set_options(timeout=PATIENT_MS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    opened.set_default_timeout(PATIENT_MS)
    yield opened
    opened.close()


def test_the_demo_page_works_with_the_key_behind_its_address_and_shows_it_nowhere(page: Page, stack: Stack) -> None:
    key = key_of(stack, "events", "recommend", "catalogue").text
    with Client(stack.url, key=key) as client:
        items = [{"item_id": f"i{n}", "title": f"Item {n}", "category": "a/b", "price": 3.0} for n in range(12)]
        assert client.put_items(map(orjson.dumps, items))["visible"] is True
    page.goto(f"{stack.url}/")
    expect(page.locator("#status")).to_contain_text("Open this page as /#key=")
    page.goto(f"{stack.url}/#key={key}")
    page.reload()
    page.wait_for_selector("#grid .card")
    assert key[21:] not in page.url
    page.locator('#grid [data-act="view"]').first.click()
    expect(page.locator("#events")).to_have_text("1 click")
    assert key[21:] not in page.content()


def test_the_scenario_editor_asks_for_a_key_and_keeps_it_in_memory_alone(page: Page, stack: Stack) -> None:
    shoppers, managers = key_of(stack, "events", "recommend").text, key_of(stack, "catalogue").text
    page.goto(f"{stack.url}/#key={shoppers}")
    page.reload()
    page.locator("#open-editor").click()
    for text in ("ncs_nothing", managers):
        page.locator("#editor-key-text").fill(text)
        page.keyboard.press("Enter")
        if text != managers:
            expect(page.locator("#editor-told")).not_to_be_empty()
    expect(page.locator("#preview-state")).to_have_text("as published")
    expect(page.locator("#editor-key")).to_be_hidden()
    kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])")
    assert managers[21:] not in kept + page.content()
    page.reload()
    page.locator("#open-editor").click()
    expect(page.locator("#editor-key")).to_be_visible()


def test_a_page_of_its_origin_sends_and_asks_with_a_public_key_and_does_nothing_else(
    page: Page, stack: Stack, site: str
) -> None:
    key, foreign = (
        key_of(stack, "events", "recommend", origin=site),
        key_of(stack, "events", origin="https://a.example"),
    )
    page.goto(site)

    def call(path: str, body: Any, text: str, method: str = "POST") -> Any:
        return page.evaluate(CALL, [f"{stack.url}{path}", text, body, method])

    assert call("/api/events", view("e1"), key.text)[0] == 202
    assert call("/api/recommendations/homepage", {"session_id": "s1"}, key.text)[0] == 200
    assert call("/api/events", view("e1"), "")[0] == 401
    assert call("/api/events", view("e1"), foreign.text)[0] == 403
    assert call("/api/stock", [{"item_id": "i1", "stock": 0}], key.text)[0] == 0  # the browser did not even send it
    assert call("/api/items/i1", {"title": "t"}, key.text, "PUT")[0] == 0


def test_a_beacon_with_a_public_key_is_taken(page: Page, stack: Stack, site: str) -> None:
    key = key_of(stack, "events", origin=site)
    applied = totals(read_progress(stack.running_settings))["applied"]
    page.goto(site)
    address = f"{stack.url}/api/events?key={key.text}"
    assert page.evaluate(
        "([url, text]) => navigator.sendBeacon(url, text)", [address, orjson.dumps(view("b1")).decode()]
    )
    wait_for(lambda: totals(read_progress(stack.running_settings))["applied"] == applied + 1)


def test_the_tag_sends_and_asks_with_a_public_key_and_says_why_another_is_refused(
    page: Page, stack: Stack, site: str
) -> None:
    own = key_of(stack, "events", "recommend", origin=site).text
    foreign = key_of(stack, "events", "recommend", origin="https://a.example").text
    methods: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.on("console", lambda line: said.append(line.text))
    for key in (own, foreign):
        page.goto(site)
        page.add_script_tag(url=f"{stack.url}/nextclick.js")
        page.evaluate("([url, key]) => nextclick('init', { url, key })", [stack.url, key])
        answers = page.evaluate(
            "async () => [await nextclick('view', 'i1'), "
            "await nextclick('recommend', 'homepage').catch((error) => error.message)]"
        )
        if key == own:
            assert (answers[0]["accepted"], answers[1]["session"]["events"]) == (1, 1)
        else:
            why = f"expected a page of an origin that this public key is for (scope recommend), got '{site}'"
            assert (answers[0].get("accepted"), answers[1]) == (None, why)
    assert any("(scope events), got" in one for one in said)
    assert set(methods) == {"GET", "POST"}  # no browser asked first
