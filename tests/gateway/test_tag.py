"""The browser tag as the gateway serves it: small, cached, for pages of any origin."""

from __future__ import annotations

import gzip
import re

import pytest

from gateway.tag import MADE, SOURCE, tag
from tests.gateway.conftest import Start
from tests.tag_made import made

MOST_BYTES = 4096
NEWER_THAN_ES2018 = (
    r"\?\.[a-zA-Z_(\[]",
    r"\?\?",
    r"catch\s*\{",
    r"\.(flat|flatMap|fromEntries|matchAll|replaceAll|at|allSettled|trimStart|trimEnd)\(",
    r"\bstatic\s+\w+\s*=",
    r"#[a-z]\w*[ =(;]",
    r"\d_\d",
    r"\bimport\(",
    r"globalThis",
)


def test_what_is_served_is_what_the_source_makes() -> None:
    assert MADE.read_text() == made(SOURCE.read_text()), "run `make tag`"


def test_the_source_has_no_declaration_that_the_minifier_moves_before_what_it_reads() -> None:
    assert re.findall(r"^ +(?:const|let) [\[{].*", SOURCE.read_text(), flags=re.MULTILINE) == []


def test_the_tag_is_under_four_kilobytes_compressed() -> None:
    assert len(tag().gzipped) < MOST_BYTES
    assert gzip.decompress(tag().gzipped) == MADE.read_bytes()


@pytest.mark.parametrize("newer", NEWER_THAN_ES2018)
def test_the_tag_needs_nothing_newer_than_es2018(newer: str) -> None:
    code = re.sub(r"^\s*//.*$|\s// .*$", "", SOURCE.read_text(), flags=re.MULTILINE)
    for text in (code, re.sub(r"\"[^\"]*\"|`[^`]*`|'[^']*'", "''", MADE.read_text())):
        assert re.search(newer, text) is None


def test_the_tag_makes_no_markup_and_no_code_of_a_text() -> None:
    sinks = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc|DOMParser|createContextual"
    )
    assert re.search(sinks, SOURCE.read_text()) is None


async def test_the_address_that_stays_is_cached_for_minutes_and_compared_by_its_hash(start: Start) -> None:
    client = await start()
    answer = await client.get("/nextclick.js", headers={"Accept-Encoding": "br"})
    assert await answer.read() == MADE.read_bytes()
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=600, stale-while-revalidate=86400"
    assert answer.headers["ETag"] == f'"{tag().hash}"'
    assert answer.headers["Content-Location"] == f"/nextclick-{tag().hash}.js"
    for known in (answer.headers["ETag"], f'"x", W/{answer.headers["ETag"]}', "*"):
        again = await client.get("/nextclick.js", headers={"If-None-Match": known})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["Cache-Control"] == answer.headers["Cache-Control"]
    assert (await client.get("/nextclick.js", headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "gzip"), ("br;q=1.0, GZIP;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None)],
)
async def test_it_is_compressed_for_those_who_take_that(start: Start, accepted: str, encoding: str | None) -> None:
    client = await start()
    answer = await client.get("/nextclick.js", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(tag().gzipped if encoding else tag().plain)
    assert await answer.read() == MADE.read_bytes()


async def test_the_address_of_its_content_is_for_ever_and_that_of_another_release_leads_to_this_one(
    start: Start,
) -> None:
    client = await start()
    answer = await client.get(f"/nextclick-{tag().hash}.js")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert await answer.read() == MADE.read_bytes()
    old = await client.get("/nextclick-0123456789abcdef.js", allow_redirects=False)
    assert (old.status, old.headers["Location"], old.headers["Cache-Control"]) == (307, "/nextclick.js", "no-store")


async def test_pages_of_every_origin_may_load_it_where_keys_are_asked_too(start: Start) -> None:
    client = await start(keys="required")
    for path in ("/nextclick.js", f"/nextclick-{tag().hash}.js"):
        answer = await client.get(path, headers={"Origin": "https://shop.example"})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
