"""Bodies that do harm: bombs of nothing, broken or unknown encodings, nests. Each is refused within bounds, alone."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from time import thread_time
from typing import Any, TypeVar

import orjson
import pytest

from tests.gateway.conftest import Client, Start, event, problem, put_items
from tests.gateway.streams import Streams
from tests.gateway.test_items import NDJSON, SHOE

T = TypeVar("T")

JSON = {"Content-Type": "application/json"}
LONGEST_TURN_S = 0.25
"""Of processor time; a quiet machine keeps 0.03, and each of these took from 1 to 28 s."""


async def longest_turn_beside(work: Awaitable[T]) -> tuple[T, float]:
    """Do some work; returns what came of it, and the most processor time, in seconds, that anything took between two
    turns of the event loop: what another request would have waited for. Waiting for a core is the machine's affair.
    """
    longest, task = 0.0, asyncio.ensure_future(work)
    while not task.done():
        began = thread_time()
        await asyncio.sleep(0)
        longest = max(longest, thread_time() - began)
    return await task, longest


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 65_536):
        yield body[at : at + 65_536]


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, 9)


NEWLINES = b"\n" * 20_000_000
BLANKS = (b" " * 100 + b"\n") * 200_000
ONE_LINE = b" " * 50_000_000
SAME_ITEM = (orjson.dumps({"item_id": "shoe-1", "title": "s"}) + b"\n") * 30_000
BROKEN = b"[]\n" * 5_000_000


@pytest.mark.parametrize(
    ("body", "status"),
    [(NEWLINES, 422), (BLANKS, 422), (BROKEN, 422), (ONE_LINE, 202)],
    ids=["newlines", "blank lines", "broken lines", "one line of blanks"],
)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_bulk_load_of_nothing_keeps_nobody_waiting(
    client: Client, body: bytes, status: int, encoding: str
) -> None:
    sent = zipped(body) if encoding == "gzip" else in_chunks(body)
    response, longest_s = await longest_turn_beside(
        client.post("/api/items", data=sent, headers={**NDJSON, "Content-Encoding": encoding})
    )
    assert response.status == status, await response.text()
    assert longest_s < LONGEST_TURN_S


async def test_a_large_bulk_load_keeps_nobody_waiting(start: Start) -> None:
    client = await start(visible_wait_ms=0)
    response, longest_s = await longest_turn_beside(
        client.post("/api/items", data=zipped(SAME_ITEM), headers={**NDJSON, "Content-Encoding": "gzip"})
    )
    assert (response.status, (await response.json())["accepted"]) == (202, 30_000)
    assert longest_s < LONGEST_TURN_S


@cache
def small_only_as_it_is_sent(encoding: str) -> bytes:
    large = b'{"note":"' + b"x" * 200_000_000
    return zipped(large) if encoding == "gzip" else zlib.compress(large, 9)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", ["/api/events", "/api/recommendations/homepage", "/api/stock", "/api/items"])
async def test_a_body_that_is_small_only_as_it_is_sent_is_413(start: Start, path: str, encoding: str) -> None:
    client = await start(max_bulk_bytes=1_000_000)
    body = small_only_as_it_is_sent(encoding)
    kind = NDJSON if path == "/api/items" else JSON
    response, longest_s = await longest_turn_beside(
        client.post(path, data=body, headers={**kind, "Content-Encoding": encoding})
    )
    assert "send it in parts" in (await problem(response, 413))["detail"]
    assert longest_s < LONGEST_TURN_S


async def test_a_bulk_load_may_have_so_many_lines_and_no_more(start: Start, streams: Streams) -> None:
    client = await start(max_bulk_lines=3)
    lines = [orjson.dumps({"item_id": f"shoe-{n}", **SHOE}) + b"\n" for n in range(4)]
    assert (await client.post("/api/items", data=b"".join(lines[:3]), headers=NDJSON)).status == 202
    document = await problem(await client.post("/api/items", data=b"".join(lines), headers=NDJSON), 413)
    assert document["detail"] == "expected at most 3 lines in one body: send it in parts"


async def test_an_empty_line_for_each_item_is_no_harm(client: Client, streams: Streams) -> None:
    lines = [orjson.dumps({"item_id": f"shoe-{n}", "title": "s"}) + b"\r\n\r\n" for n in range(3000)]
    response = await client.post("/api/items", data=b"".join(lines), headers=NDJSON)
    assert (response.status, (await response.json())["accepted"]) == (202, 3000)


def click(**more: Any) -> bytes:
    return orjson.dumps(event("e-1", **more))


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", lambda: gzip.compress(click())),
        ("GZIP", lambda: gzip.compress(click()) + b"\0" * 100),
        ("x-gzip", lambda: gzip.compress(b"") * 50 + gzip.compress(b" ") + gzip.compress(click())),
        ("deflate", lambda: zlib.compress(click(note="x" * 300_000))),
        ("deflate", lambda: zlib.compress(click(), wbits=-15)),
        ("identity", click),
    ],
    ids=["gzip", "padded", "members", "deflate", "raw deflate", "identity"],
)
async def test_a_compressed_body_is_read_as_its_encoding_says(
    client: Client, encoding: str, compressed: Callable[[], bytes]
) -> None:
    headers = {**JSON, "Content-Encoding": encoding}
    response = await client.post("/api/events", data=compressed(), headers=headers)
    assert (response.status, (await response.json())["accepted"]) == (202, 1)


GOOD = gzip.compress(click(note="x" * 1000))
"""Of an event that is too old by then: nobody gets to see it."""


@pytest.mark.parametrize("path", ["/api/events", "/api/recommendations/homepage", "/api/stock", "/api/items"])
@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param("gzip", b"not gzip", 400, id="text"),
        pytest.param("gzip", GOOD[: len(GOOD) // 2], 400, id="cut short"),
        pytest.param("gzip", GOOD[:-4] + b"oops", 400, id="wrong checksum"),
        pytest.param("gzip", GOOD + b"more", 400, id="more behind it"),
        pytest.param("gzip", gzip.compress(b"") * 5000, 400, id="thousands of members"),
        pytest.param("deflate", b"\x78\x9cnot deflate", 400, id="text as deflate"),
        pytest.param("deflate", zlib.compress(b"[]") + b"more", 400, id="more behind deflate"),
        pytest.param("br", b"\x0b\x02\x80[]\x03", 415, id="br"),
        pytest.param("zstd", b"(\xb5/\xfd\x04\x00\x11\x00\x00[]\x9f\xbc\xf6\xb6", 415, id="zstd"),
        pytest.param("gzip, gzip", GOOD, 415, id="twice"),
        pytest.param("nonsense", b"[]", 415, id="nonsense"),
    ],
)
async def test_a_broken_or_unknown_encoding_is_a_problem_and_no_traceback(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, encoding: str, body: bytes, status: int
) -> None:
    kind = NDJSON if path == "/api/items" else JSON
    response = await client.post(path, data=body, headers={**kind, "Content-Encoding": encoding})
    await problem(response, status)
    assert (response.headers.get("Accept-Encoding") == "gzip, deflate") is (status == 415)
    assert caplog.text == ""


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def items_nested(depth: int) -> list[bytes]:
    """Items that are nested so deep, in each place where one may be."""
    deep = nested(depth)
    return [b'{"title":"t","attributes":{"a":%s}}' % deep, b'{"title":"t","own":%s}' % deep]


@pytest.mark.parametrize("depth", [205, 251, 300, 1000])
async def test_an_item_nested_too_deep_to_be_shown_is_refused_alone(
    client: Client, streams: Streams, depth: int
) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    for number, item in enumerate(items_nested(depth)):
        put = await problem(await client.put("/api/items/deep", data=item, headers=JSON), 422)
        assert put["detail"].startswith("expected fields nested at most 200 deep")
        lines = [b'{"item_id":"deep",' + item[1:], orjson.dumps({"item_id": f"good-{number}", **SHOE})]
        loaded = await client.post("/api/items", data=b"\n".join(lines), headers=NDJSON)
        answer = await loaded.json()
        assert (loaded.status, answer["accepted"], [one["index"] for one in answer["rejected"]]) == (202, 1, [0])
    listed = await (await client.get("/api/items")).json()
    assert sorted(item["item_id"] for item in listed["items"]) == ["good-0", "good-1", "shoe-1"]


async def test_an_item_nested_as_deep_as_it_may_be_is_shown(client: Client, streams: Streams) -> None:
    for number, item in enumerate(items_nested(199)):
        assert (await client.put(f"/api/items/deep-{number}", data=item, headers=JSON)).status == 202
    assert len((await (await client.get("/api/items")).json())["items"]) == 2


@pytest.mark.parametrize("depth", [260, 1000])
@pytest.mark.parametrize("field", ["own", "context", "v", "item_id", "items", "event_id"])
async def test_an_event_nested_too_deep_is_refused_alone(client: Client, depth: int, field: str) -> None:
    good = orjson.dumps(event("e-1"))
    document = event("e-2")
    document.pop(field, None)
    deep = b'{"a":%s}' % nested(depth)
    broken = orjson.dumps(document)[:-1] + b',"%s":%s}' % (field.encode(), deep)
    response = await client.post("/api/events", data=b"[%s,%s,%s]" % (good, broken, deep), headers=JSON)
    answer = await response.json()
    assert (response.status, answer["accepted"], [one["index"] for one in answer["rejected"]]) == (202, 1, [1, 2])


@pytest.mark.parametrize("depth", [300, 1000])
async def test_a_question_nested_deep_is_answered_or_refused(client: Client, depth: int) -> None:
    for field in (b"context", b"own", b"session_id", b"recent_events", b"candidates"):
        body = b'{"session_id":"s","limit":1,"%s":{"a":%s}}' % (field, nested(depth))
        response = await client.post("/api/recommendations/homepage", data=body, headers=JSON)
        assert response.status in (200, 422), (field, await response.text())


MANY_FIELDS = b"{" + b",".join(b'"%d":1' % n for n in range(90_000)) + b"}"
MANY_LISTS = b'"title":"t","own":[' + b"[]," * 300_000 + b"1]}"
MANY_WRONG = b'{"v":1,"event_id":"e","type":"view","session_id":"s","ts":NOW,"items":[%s1]}' % (b"1," * 990)
HEAVY = [
    ("POST", "/api/events", b"[" + b",".join([MANY_WRONG] * 480) + b"]", JSON, 202),
    ("POST", "/api/events", b"[" + b",".join([MANY_FIELDS]) + b"]", JSON, 202),
    ("POST", "/api/recommendations/homepage", MANY_FIELDS, JSON, 422),
    ("POST", "/api/stock", b"[" + MANY_FIELDS + b"]", JSON, 202),
    ("PUT", "/api/items/a", b"{" + MANY_LISTS, JSON, 422),
    ("POST", "/api/items", b'{"item_id":"a",' + MANY_LISTS, NDJSON, 202),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"), HEAVY, ids=["items", "event", "question", "stock", "put", "load"]
)
async def test_a_body_that_is_much_to_check_is_refused_before_that_is_done(
    client: Client, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    body = body.replace(b"NOW", b"%d" % event("e")["ts"])
    sent = client.request(method, path, data=body, headers=headers)
    response, longest_s = await longest_turn_beside(sent)
    answer = await response.json(content_type=None)
    assert response.status == status, answer
    assert answer.get("accepted", 0) == 0
    assert longest_s < LONGEST_TURN_S


async def test_a_body_that_never_ends_is_408(start: Start) -> None:
    client = await start(body_timeout_s=0.2)

    async def drips() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    for path, headers in (("/api/events", JSON), ("/api/items", NDJSON)):
        response = await client.post(path, data=drips(), headers=headers)
        assert "too slowly" in (await problem(response, 408))["detail"]
