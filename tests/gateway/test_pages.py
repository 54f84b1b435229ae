"""What pages and answers tell a browser: their policy, and that they are of the type that they name."""

from __future__ import annotations

import re

import pytest

from gateway.demo_page import STATIC
from tests.gateway.conftest import Start

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {}; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SHOP = POLICY.format("'self'") + "; require-trusted-types-for 'script'; trusted-types 'none'"
DOCS = POLICY.format("'self' data:")


@pytest.mark.parametrize(
    ("path", "policy"),
    [("/", SHOP), ("/demo/shop.js", SHOP), ("/demo/icon.svg", SHOP), ("/docs", DOCS), ("/docs/docs.js", DOCS)],
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


@pytest.mark.parametrize("name", ["shop.html", "docs.html"])
def test_a_page_holds_no_script_style_or_handler_of_its_own(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:|data:", text) == []


@pytest.mark.parametrize("name", ["shop.js", "pictures.js", "docs.js"])
def test_a_script_makes_no_markup_of_text(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|Function\(", text) == []
