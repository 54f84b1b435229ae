"""What pages and answers tell a browser: their policy, and that they are of the type that they name."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError
from yarl import URL

from gateway import console
from gateway.demo_page import SCRIPTS, STATIC
from gateway.settings import GatewayOptions
from tests.gateway.conftest import Start

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {}; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SHOP = POLICY.format("'self' http: https:") + "; require-trusted-types-for 'script'; trusted-types 'none'"
DOCS = POLICY.format("'self' data:")
CONSOLE = POLICY.format("'self'") + "; require-trusted-types-for 'script'; trusted-types 'none'"
OWN = [name for name in console.SCRIPTS if name != "uplot.js"]


@pytest.mark.parametrize(
    ("path", "policy"),
    [("/", SHOP), ("/demo/shop.js", SHOP), ("/demo/icon.svg", SHOP), ("/docs", DOCS), ("/docs/docs.js", DOCS)]
    + [
        (f"/console{under}", CONSOLE)
        for under in ("", "/experiments", "/figures", "/frame.js", "/uplot.js", "/icon.svg")
    ],
)
async def test_a_page_and_its_files_have_a_policy(start: Start, path: str, policy: str) -> None:
    client = await start(demo_page=True)
    answer = await client.get(path)
    assert (answer.status, answer.headers["Content-Security-Policy"]) == (200, policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    ["/api/items", "/api/items/none", "/nowhere", "/docs/nothing", "/healthz", "/readyz", "/metrics", "/openapi.json"],
)
async def test_whatever_is_answered_is_of_the_type_that_it_names(start: Start, path: str) -> None:
    client = await start()
    answer = await client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content_type in ("application/json", "application/problem+json", "text/plain")


async def test_an_answer_of_recommendations_is_of_the_type_that_it_names(start: Start) -> None:
    client = await start()
    answer = await client.post("/api/recommendations/cart", json={"session_id": "s"})
    assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")


def test_every_script_of_the_shop_is_served() -> None:
    assert set(SCRIPTS) | {"docs.js", "nextclick.js", "nextclick.min.js"} == {file.name for file in STATIC.glob("*.js")}


def test_every_file_of_the_console_is_served() -> None:
    own = {file.name for file in console.FOLDER.iterdir()}
    assert {*console.FILES, "console.html"} - {"icon.svg"} - {*console.SHARED} == own
    assert all((console.STATIC / name).exists() for name in console.SHARED)


@pytest.mark.parametrize("name", console.PAGES)
async def test_a_page_of_the_console_loads_its_own_script_and_leads_to_the_others(start: Start, name: str) -> None:
    answer = await (await start()).get(f"/console/{name}")
    text = await answer.text()
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert f"<h1>{console.PAGES[name]}</h1>" in text
    assert f'<script type="module" src="/console/{name}.js">' in text
    assert {"/console/experiments", "/console/figures"} <= set(re.findall(r'href="([^"]+)"', text))


async def test_the_console_serves_no_other_file(start: Start) -> None:
    client = await start()
    assert [(await client.get(f"/console/{name}")).status for name in ("console.html", "shop.js", "nothing")] == [
        404
    ] * 3


@pytest.mark.parametrize(
    ("typed", "leads"),
    [
        ("scenarios/homepage", "scenarios?name=homepage"),
        ("experiments/margin-first/", "experiments?name=margin-first"),
        ("session/a%26b%2Fc%0dd", "session?id=a%26b%2Fc%0Dd"),
        ("catalogue/boot-1", "catalogue?item=boot-1"),
        ("live/", "live"),
    ],
)
async def test_an_address_typed_by_hand_leads_to_the_page_of_it(start: Start, typed: str, leads: str) -> None:
    client = await start()
    answer = await client.get(URL(f"/console/{typed}", encoded=True), allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, f"/console/{leads}")


@pytest.mark.parametrize("path", ["/console/nothing", "/console/live/now", "/console/nothing/", "/console/a/b/c"])
async def test_where_the_console_has_no_page_a_browser_is_told_so_in_words(start: Start, path: str) -> None:
    client = await start()
    opened = await client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (opened.status, opened.content_type) == (404, "text/html")
    assert "<h1>No such page</h1>" in await opened.text()
    asked = await client.get(path)
    assert (asked.status, asked.content_type) == (404, "application/problem+json")


async def test_the_shop_shows_prices_in_the_currency_that_the_settings_say(start: Start) -> None:
    plain, other = await start(demo_page=True), await start(demo_page=True, demo_currency="CHF")
    assert await (await plain.get("/demo/settings.json")).json() == {"currency": "EUR"}
    assert await (await other.get("/demo/settings.json")).json() == {"currency": "CHF"}


@pytest.mark.parametrize("code", ["eur", "EURO", "", "€"])
def test_a_currency_is_a_code_of_three_capitals(code: str) -> None:
    with pytest.raises(ValidationError, match="demo_currency"):
        GatewayOptions(demo_currency=code)


@pytest.mark.parametrize("name", ["shop.html", "docs.html", "console/console.html"])
def test_a_page_holds_no_script_style_or_handler_of_its_own(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:|data:", text) == []


@pytest.mark.parametrize("name", [*SCRIPTS, "docs.js", *(f"console/{one}" for one in OWN)])
def test_a_script_makes_no_markup_of_text(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|Function\(", text) == []
