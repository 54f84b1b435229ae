"""What is asked of the gateway, as calls, and what its answers mean. Pure: both clients send these."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from nextclick_client.errors import Refused, Unavailable, WrongUse
from nextclick_client.retries import AGAIN, Retry, retry_after_s
from nextclick_client.types import Document, Event

KEY_VARIABLE: Final = "NEXTCLICK_API_KEY"
MOST_EVENTS: Final = 1000
"""Events of one call, as the gateway takes them where no setting says otherwise."""
MOST_ITEM_BYTES: Final = 8_000_000
"""Bytes of items of one call: what is sent again after a fault."""
_JSON: Final = "application/json"
_COUNTED: Final = ("/api/events", "/api/items")
"""Answers to these say how many were taken, and which were not."""


@dataclass(frozen=True)
class Call:
    """One request. Each may be sent again: events count once by their ids, and all else says how things are."""

    method: str
    path: str
    body: bytes = b""
    kind: str = _JSON

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: an answer, or a fault."""

    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    fault: str = ""


def event(
    type: str,
    session_id: str,
    item_id: str | None = None,
    *,
    items: Sequence[str] | None = None,
    ts: int | None = None,
    event_id: str | None = None,
    **more: Any,
) -> Event:
    """Return an event that happened now (or at `ts`, epoch milliseconds), under an id of its own: however often it is
    sent, it counts once. `items` are those that an impression showed; `more` is `user_id`, `context`, `request_id`,
    `value`, `quantity`, `order_id`, `currency`, or fields of your own. Raises WrongUse.
    """
    if type == "impression" and not items:
        raise WrongUse(f"expected the items that an impression showed, got {items!r}: give items=['sku-1', ...]")
    if type != "impression" and not item_id:
        raise WrongUse(f"expected the item of a {type}, got {item_id!r}: give item_id='sku-1'")
    if not session_id:
        raise WrongUse(f"expected a session id, got {session_id!r}: give the visitor one, and keep it in a cookie")
    made: dict[str, Any] = {
        "v": 1,
        "event_id": event_id or uuid.uuid4().hex,
        "type": type,
        "session_id": session_id,
        "ts": int(time.time() * 1000) if ts is None else ts,
        **{name: value for name, value in more.items() if value is not None},
    }
    if item_id is not None:
        made["item_id"] = item_id
    if items is not None:
        made["items"] = list(items)
    return made  # type: ignore[return-value]


def check(one: Mapping[str, Any]) -> None:
    """Raise WrongUse for an event that cannot be sent."""
    _json(one)


def base_url(url: str) -> str:
    """Return the gateway's address without a / at its end. Raises WrongUse for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise WrongUse(f"expected the gateway's address, as http://localhost:8080, got {url!r:.200}")
    return url.rstrip("/")


def headers_of(key: str | None) -> dict[str, str]:
    """Return what every call sends; the key of the environment where none is given."""
    sent = os.environ.get(KEY_VARIABLE, "") if key is None else key
    return {"User-Agent": "nextclick-client-python", **({"Authorization": f"Bearer {sent}"} if sent else {})}


def send_events(events: Iterable[Mapping[str, Any]]) -> Call:
    found = list(events)
    if not 0 < len(found) <= MOST_EVENTS:
        raise WrongUse(f"expected 1 to {MOST_EVENTS:,} events, got {len(found):,}: send them in parts, or by a queue")
    return Call("POST", "/api/events", _json(found))


def recommend(scenario: str, session_id: str, question: Mapping[str, Any]) -> Call:
    asked = {name: value for name, value in question.items() if value is not None}
    return Call("POST", f"/api/recommendations/{_name(scenario)}", _json({"session_id": session_id, **asked}))


def pages(session_id: str, lists: Sequence[Document], question: Mapping[str, Any]) -> Call:
    asked = {name: value for name, value in question.items() if value is not None}
    return Call("POST", "/api/pages", _json({"session_id": session_id, "lists": list(lists), **asked}))


def item(method: str, item_id: str, document: Document | None = None) -> Call:
    return _on(method, f"/api/items/{_name(item_id)}", document)


def user(method: str, user_id: str, document: Document | None = None, part: str = "") -> Call:
    return _on(method, f"/api/users/{_name(user_id)}{part}", document)


def set_stock(stock: Mapping[str, int]) -> Call:
    return Call("POST", "/api/stock", _json([{"item_id": name, "stock": left} for name, left in stock.items()]))


def put_items(items: Iterable[Document]) -> Iterator[tuple[int, Call]]:
    """Yield calls that put items, each with how many came before it. An item holds its `item_id`."""
    lines: list[bytes] = []
    size = came = 0
    for one in items:
        if not one.get("item_id"):
            raise WrongUse(f"expected an item with its item_id, got the fields {', '.join(one) or 'of nothing'}")
        line = _json(one)
        if lines and size + len(line) > MOST_ITEM_BYTES:
            yield came - len(lines), _lines(lines)
            lines, size = [], 0
        lines.append(line)
        size, came = size + len(line) + 1, came + 1
    if lines:
        yield came - len(lines), _lines(lines)


def read(call: Call, outcome: Outcome) -> Any:
    """Return the JSON of a 2xx answer. Raises Refused for any other answer."""
    status = outcome.status or 0
    if not 200 <= status < 300:
        raise Refused(call.what, status, outcome.body)
    return _document(outcome.body)


def _is_gateways(call: Call, outcome: Outcome) -> bool:
    """Tell whether a 2xx answer is what a gateway says: half of one, or the page of a proxy, took nothing for sure."""
    try:
        answer = _document(outcome.body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(answer, dict):
        return False
    return call.path not in _COUNTED or call.method != "POST" or _is_count(answer)


def _is_count(answer: Mapping[str, Any]) -> bool:
    rejected = answer.get("rejected")
    return (
        isinstance(answer.get("accepted"), int)
        and isinstance(rejected, list)
        and all(isinstance(one, dict) and isinstance(one.get("index"), int) and "reason" in one for one in rejected)
    )


def _document(body: bytes) -> Any:
    return json.loads(body) if body else {}


def pause_s(call: Call, outcome: Outcome, attempt: int, retry: Retry, roll: float) -> float | None:
    """Return the seconds until the next attempt; None where the outcome is an answer. Raises Unavailable after the
    last."""
    status, said = outcome.status, outcome.body[:300].decode(errors="replace")
    if status is not None and 200 <= status < 300:
        if _is_gateways(call, outcome):
            return None
        said = f"what no gateway answers (is this address a gateway's?): {said}"
    elif status is not None and status not in AGAIN:
        return None
    asked = retry_after_s(outcome.retry_after, time.time())
    pause = retry.pause_s(attempt, roll, asked)
    if pause is not None:
        return pause
    if status is None:
        raise Unavailable(call.what, attempt, said=outcome.fault)
    wait = f" (it asks for {asked:.0f} s)" if asked is not None else ""
    raise Unavailable(call.what, attempt, status=status, said=said + wait)


def _lines(lines: Sequence[bytes]) -> Call:
    return Call("POST", "/api/items", b"\n".join(lines), "application/x-ndjson")


def _on(method: str, path: str, document: Document | None) -> Call:
    return Call(method, path, b"" if document is None else _json(document))


def _name(name: str) -> str:
    if not name:
        raise WrongUse("expected a name or an id, got ''")
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def _json(document: Any) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongUse(f"expected what JSON can hold, got {error}") from error
