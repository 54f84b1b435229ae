"""What each adapter costs for an event, processor time: decoding, mapping, and the check and encoding of our event.

python -m nextclick.bench.collect
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from connect.adapters import ADAPTERS
from gateway.collect import sort_mapped
from gateway.events import sort_documents
from nextclick.bench.report import BenchRow, expect_bench, finish

EVENTS: Final = 500
"""Events of one payload."""
REPEATS: Final = 7
NOW_MS: Final = 1_796_126_400_000
_PAGE: Final = "https://shop.example/p/tent-2?ref=mail"
_TARGET_US: Final = 100.0


def main() -> None:
    """Measure, print, write build/bench/collect.json."""
    expect_bench("collect")
    rows = [BenchRow("ours, checked event by event", _ours_us(), "us")]
    rows += [
        BenchRow(f"{vendor}: a view", _mapped_us(vendor, orjson.dumps(made(EVENTS))), "us", _TARGET_US)
        for vendor, made in PAYLOADS.items()
    ]
    finish("collect", rows, "python -m nextclick.bench.collect")


def _ours_us() -> float:
    event = {"v": 1, "type": "view", "session_id": "s", "item_id": "tent-2", "ts": NOW_MS}
    body = orjson.dumps([{**event, "event_id": f"e-{n}"} for n in range(EVENTS)])
    return _cost_us(lambda: len(sort_documents(orjson.loads(body), now_ms=NOW_MS, partitions=8).clicks))


def _mapped_us(vendor: str, body: bytes) -> float:
    sort = partial(sort_documents, now_ms=NOW_MS, partitions=8)

    def take() -> int:
        mapped = list(ADAPTERS[vendor].read(orjson.loads(body), NOW_MS))
        return len(sort_mapped(mapped, sort, now_ms=NOW_MS, partitions=8)[0].clicks)

    return _cost_us(take)


def _cost_us(take: Callable[[], int]) -> float:
    """Return the processor time of one event, microseconds: the best of some repeats. Raises RuntimeError where one of
    them is not taken.
    """
    took = []
    for _ in range(REPEATS):
        began = time.process_time()
        taken = take()
        took.append(time.process_time() - began)
        if taken != EVENTS:
            raise RuntimeError(f"expected {EVENTS} events to be taken, got {taken}")
    return min(took) / EVENTS * 1e6


def _ga4(count: int) -> Any:
    item = {"item_id": "tent-2", "item_name": "Tent", "price": 129.9, "quantity": 1}
    params = {"session_id": "1", "page_location": _PAGE, "currency": "EUR", "items": [item]}
    events = [{"name": "view_item", "params": params, "timestamp_micros": (NOW_MS - n) * 1000} for n in range(count)]
    return {"client_id": "1712.4411", "user_id": "anna", "events": events}


def _segment(count: int) -> Any:
    message = {
        **{"type": "track", "event": "Product Viewed", "anonymousId": "visitor-7", "userId": "anna"},
        "timestamp": "2026-12-01T11:59:00.000Z",
        "properties": {"product_id": "tent-2", "price": 129.9, "currency": "EUR"},
        "context": {"locale": "de-DE", "page": {"url": _PAGE, "referrer": _PAGE, "title": "Tent"}},
    }
    batch = [{**message, "messageId": f"m-{n}"} for n in range(count)]
    return {"sentAt": "2026-12-01T11:59:01.000Z", "batch": batch}


def _snowplow(count: int) -> Any:
    own = "iglu:com.snowplowanalytics.snowplow"
    action = {"schema": f"{own}.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2", "data": {"type": "product_view"}}

    def entities(number: int) -> Any:
        product = {"id": f"tent-{number}", "category": "tents", "price": 129.9, "currency": "EUR"}
        return [{"schema": f"{own}.ecommerce/product/jsonschema/1-0-0", "data": product}]

    event = {
        **{"e": "ue", "sid": "visit-3", "duid": "d", "dtm": str(NOW_MS - 1000), "stm": str(NOW_MS), "url": _PAGE},
        "ue_px": _packed({"schema": f"{own}/unstruct_event/jsonschema/1-0-0", "data": action}),
    }
    contexts = f"{own}/contexts/jsonschema/1-0-0"
    data = [{**event, "eid": f"e-{n}", "cx": _packed({"schema": contexts, "data": entities(n)})} for n in range(count)]
    return {"schema": f"{own}/payload_data/jsonschema/1-0-4", "data": data}


def _packed(document: Any) -> str:
    return urlsafe_b64encode(orjson.dumps(document)).decode()


def _cloudevents(count: int) -> Any:
    event = {
        **{"specversion": "1.0", "source": "/shop/web", "type": "com.example.product.viewed"},
        **{"time": "2026-12-01T11:59:00Z", "data": {"session_id": "s", "item_id": "tent-2", "url": _PAGE}},
    }
    return [{**event, "id": f"a-{n}"} for n in range(count)]


def _matomo(count: int) -> Any:
    fields = {"idsite": 1, "rec": 1, "url": _PAGE, "_id": "0123456789abcdef", "_pks": "tent-2", "_pkp": "129.90"}
    cdt = NOW_MS // 1000 - 60
    return {"requests": [f"?{urlencode({**fields, 'rand': n, 'cdt': cdt})}" for n in range(count)]}


PAYLOADS: Final[dict[str, Callable[[int], Any]]] = {
    "ga4": _ga4,
    "segment": _segment,
    "snowplow": _snowplow,
    "cloudevents": _cloudevents,
    "matomo": _matomo,
}

if __name__ == "__main__":
    main()
