"""Requests at random, as bytes on the wire: all routes and methods, bodies that are almost valid, odd encodings.

Pure: all that is random comes from the generator that is handed in.
"""

from __future__ import annotations

import gzip
import zlib
from random import Random
from typing import Any, Final
from urllib.parse import quote

import orjson
import zstandard

from tests.connect.payloads import payload
from tests.fuzz.mutation import VALUES, mutated

NOW_MS: Final = 1_700_000_000_000
EVENT: dict[str, Any] = {"v": 1, "event_id": "fz-e", "type": "view", "session_id": "fz-s", "item_id": "fz-1", "ts": 0}
SHOWN: dict[str, Any] = {**EVENT, "type": "impression", "items": ["fz-1", "fz-2"], "request_id": "fz-r"}
QUESTION: dict[str, Any] = {
    "session_id": "fz-s",
    "limit": 5,
    "exclude": ["fz-1"],
    "context": {"region": "eu", "age": 9},
}
ITEM: dict[str, Any] = {
    **{"title": "Tent", "category": "fuzz/tents", "brand": "B", "price": 9.5, "margin": 0.3, "stock": 5},
    **{"regions": ["eu"], "min_age": 0, "attributes": {"colour": "moss"}, "own": [1, {"a": None}]},
}
PAYLOADS: Final = tuple(payload(name) for name in ("ga4", "segment", "snowplow_transaction", "cloudevents", "matomo"))
METHODS: Final = ("POST", "PUT", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "post", "X")
TYPES: Final = (
    *("application/json", "application/x-ndjson", "text/plain", "", "application/json; charset=utf-16", "text/html"),
    *(
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "*/*",
        "application/json\xff",
        "\x80\x81",
    ),
)
PATHS: Final = (
    *(
        "/api/events",
        "/api/collect/ga4",
        "/api/collect/segment",
        "/api/collect/snowplow",
        "/api/collect/cloudevents",
        "/api/collect/matomo",
        "/api/items",
        "/api/stock",
        "/api/recommendations/homepage",
        "/api/items/fz-1",
        "/api/items/fz-1/insight",
        "/api/sessions",
        "/api/sessions/fz-s",
        "/api/dead-letters",
        "/api/kpi",
        "/api/quality",
        "/api/live",
        "/api/system",
        "/api/feeds",
        "/api/webhooks",
        "/api/models",
        "/api/models/pin",
        "/ofrep/v1/evaluate/flags",
    ),
    *(
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui.css",
        "/console",
        "/console/figures",
        "/",
        "/nowhere",
    ),
)
QUERIES: Final = (
    *(
        "ids",
        "id",
        "category",
        "limit",
        "reason",
        "partition",
        "since_ms",
        "until_ms",
        "own",
        "limit[]",
        "%00",
        "id=x&id",
    ),
)
HEADERS: Final = (
    *("Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Expect: 100-continue", "Range: bytes=0-3"),
    *(
        "If-None-Match: *",
        "X-Forwarded-For: 1.2.3.4",
        "Cookie: " + "a=b; " * 50,
        "Accept: application/xml",
        "X: \xff\xfe",
    ),
    *("Connection: close", "Accept-Encoding: br, zstd", "Host: other.example", "X-Empty:", "Authorization: Bearer x"),
)


class Asking:
    """Makes requests. `now_ms` is what valid events are of."""

    def __init__(self, seed: int, now_ms: int) -> None:
        self._random = Random(seed)
        self._now_ms = now_ms
        self._others = [orjson.dumps(one) for one in (EVENT, SHOWN, QUESTION, ITEM, *PAYLOADS)]

    def next(self) -> bytes:
        """Return a request: head and body."""
        random = self._random
        kind = random.choice(_KINDS)
        method, path, content_type, body = kind(self, random)
        if random.random() < 0.8:
            body = mutated(body, random, self._others)
        if random.random() < 0.05:
            method = random.choice(METHODS)
        if random.random() < 0.05:
            content_type = random.choice(TYPES)
        headers = [random.choice(HEADERS)] if random.random() < 0.08 else []
        encoding, body = self._packed(body)
        return _wire(method, path + self._query(), content_type, encoding, headers, body, random)

    def _packed(self, body: bytes) -> tuple[str, bytes]:
        random = self._random
        if random.random() > 0.08:
            return "", body
        name, pack = random.choice(_ENCODINGS)
        packed: bytes = pack(body)
        return name, mutated(packed, random) if random.random() < 0.4 else packed

    def _query(self) -> str:
        random = self._random
        if random.random() > 0.06:
            return ""
        names = [random.choice(QUERIES) for _ in range(1 + random.randrange(3))]
        return "?" + "&".join(f"{name}={self._text()}" for name in names)

    def _text(self) -> str:
        value = self._random.choice(VALUES)
        return quote(str(value)[:300].encode(errors="surrogatepass"), safe="")

    def _event(self) -> dict[str, Any]:
        random = self._random
        event = dict(random.choice((EVENT, EVENT, SHOWN)))
        number = random.randrange(1 << 30)
        return {
            **event,
            **{"event_id": f"fz-{number}", "session_id": f"fz-{number % 5000}", "item_id": f"fz-{number % 200}"},
            **{
                "type": event["type"] if random.random() < 0.9 else "cart",
                "ts": self._now_ms - random.randrange(10_000),
            },
        }

    def _item_id(self) -> str:
        random = self._random
        return f"fz-{random.randrange(200)}" if random.random() < 0.9 else self._text() or "fz"

    def events(self, random: Random) -> tuple[str, str, str, bytes]:
        many = [self._event() for _ in range(random.choice((1, 1, 1, 2, 20)))]
        return "POST", "/api/events", "application/json", orjson.dumps(many if len(many) > 1 else many[0])

    def question(self, random: Random) -> tuple[str, str, str, bytes]:
        place = random.choice(
            ("homepage", "product", "cart", "search", "email", "push", "nowhere", self._text() or "x")
        )
        asked = {**QUESTION, "session_id": f"fz-{random.randrange(5000)}", "explain": random.random() < 0.1}
        if random.random() < 0.2:
            asked["recent_events"] = [{**self._event(), "session_id": asked["session_id"]}]
        if random.random() < 0.2:
            asked["candidates"] = [f"fz-{random.randrange(200)}" for _ in range(5)]
        if random.random() < 0.02:
            asked["after"] = f"p{random.randrange(9)}:{random.randrange(99)}"
        return "POST", f"/api/recommendations/{place}", "application/json", orjson.dumps(asked)

    def put(self, random: Random) -> tuple[str, str, str, bytes]:
        return "PUT", f"/api/items/{self._item_id()}", "application/json", orjson.dumps(ITEM)

    def bulk(self, random: Random) -> tuple[str, str, str, bytes]:
        lines = [orjson.dumps({"item_id": self._item_id(), **ITEM}) for _ in range(random.choice((1, 3, 10)))]
        return "POST", "/api/items", "application/x-ndjson", b"\n".join(lines)

    def stock(self, random: Random) -> tuple[str, str, str, bytes]:
        updates = [{"item_id": self._item_id(), "stock": random.randrange(50)} for _ in range(random.choice((1, 3)))]
        return "POST", "/api/stock", "application/json", orjson.dumps(updates)

    def delete(self, random: Random) -> tuple[str, str, str, bytes]:
        return "DELETE", f"/api/items/{self._item_id()}", "", b""

    def look(self, random: Random) -> tuple[str, str, str, bytes]:
        path = random.choice((*PATHS, "/api/items/" + self._item_id(), "/" + self._text(), "/api/items/\xff\xfe%ff"))
        return "GET", path, random.choice(("", "", "application/json")), random.choice((b"", b"", b"{}"))


_KINDS: Final = (
    *([Asking.events] * 34),
    *([Asking.question] * 40),
    *([Asking.look] * 12),
    *(Asking.put, Asking.put, Asking.bulk, Asking.stock, Asking.stock, Asking.delete),
)
"""Catalogue writes wait until they are seen, so fewer of them make more requests a second."""

_ENCODINGS: Final = (
    ("gzip", lambda body: gzip.compress(body, 1, mtime=0)),
    ("gzip", lambda body: gzip.compress(body, 1, mtime=0) * 3),
    ("deflate", lambda body: zlib.compress(body, 1)),
    ("deflate", lambda body: zlib.compress(body, 1)[2:-4]),
    ("zstd", zstandard.compress),
    ("br", bytes),
    ("identity", bytes),
    ("gzip, gzip", bytes),
    ("\xff", bytes),
)


def _wire(
    method: str, path: str, content_type: str, encoding: str, headers: list[str], body: bytes, random: Random
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if encoding:
        lines.append(f"Content-Encoding: {encoding}")
    if body and random.random() < 0.05:
        size = 1 + len(body) // 3
        pieces = (body[at : at + size] for at in range(0, len(body), size))
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1", "replace") + body
