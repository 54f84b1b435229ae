"""POST /api/collect/{vendor}: what trackers of others send, as our events, by the same way into the log as our own.

`connect.adapters` says what each payload means; this reads bodies, keeps bounds and answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from connect.adapters import ADAPTERS, Adapter, Mapped
from connect.adapters.cloudevents import from_headers
from connect.adapters.fields import Problem
from connect.adapters.matomo import fields_of
from contracts.ids import partition_of
from contracts.pointers import pointer
from gateway.appends import dead_letter
from gateway.consents import CONSENTS
from gateway.events import Sorted, SortsDocuments, raw_of, sorting, take_events
from gateway.keys import CLOCK, SETTINGS
from gateway.pace import PACE, Pace
from gateway.problems import Refused, malformed, not_found, out_of_range
from gateway.vendor_keys import BODY
from gateway.wire import BEACON_TYPES, decoded, json_response, read_body

FORM: Final = "application/x-www-form-urlencoded"
TYPES: Final = {
    "cloudevents": BEACON_TYPES | {"application/cloudevents+json", "application/cloudevents-batch+json"},
    "matomo": BEACON_TYPES | {FORM},
}
"""Content types beside JSON and what beacons send, by vendor."""
CHARSETS: Final = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
IN_ADDRESS: Final = ("key", "api_secret", "token_auth")
"""Parameters of an address that hold a key: no part of a payload."""
MOST_NOTES: Final = 20
_BOM: Final = b"\xef\xbb\xbf"
_SECRETS: Final = ("token_auth", "writeKey")
_IN_QUERY: Final = re.compile(r"(?<=[?&])token_auth=[^&]*&?|^token_auth=[^&]*&?")


class RejectedPart(BaseModel):
    """An event of a payload that was refused, and is kept as a dead letter."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to it in the payload; empty is the whole payload.")
    name: str = Field(description="What the vendor calls it.")
    reason: str


class CollectAnswer(BaseModel):
    """What became of a payload: events of ours that are durably in the log, events of the vendor that say nothing of an
    item, and those that were refused.
    """

    accepted: int = Field(description="Events of ours: an order is one for each of its items.")
    ignored: int = Field(description="Events of the vendor that say nothing of an item, as page views.")
    rejected: list[RejectedPart]
    not_kept: int = Field(default=0, description="Events without consent: in none of these.")
    notes: list[str] = Field(description="Prices that can be read both ways, and how they were read; 20 at most.")
    token: str | None = None


async def post_collect(request: web.Request) -> web.Response:
    """Take a payload of a vendor."""
    app, adapter = request.app, _adapter_of(request.match_info["vendor"])
    payload = await _payload_of(request, adapter.vendor)
    settings, now_ms = app[SETTINGS], app[CLOCK]()
    mapped = await _within(settings.gateway.max_events, adapter.read(payload, now_ms), app[PACE])
    partitions = settings.log.partitions
    sort = sorting(request, now_ms)

    def is_kept(said: bool | None) -> bool:
        return app[CONSENTS].given(said, None, request.headers)

    found, rejected = sort_mapped(mapped, sort, now_ms=now_ms, partitions=partitions, is_kept=is_kept)
    token = await take_events(app, found)
    answer = CollectAnswer(
        accepted=len(found.clicks) + len(found.impressions),
        ignored=sum(one.is_ignored for one in mapped),
        rejected=rejected,
        not_kept=found.not_kept,
        notes=[note for one in mapped for note in one.notes][:MOST_NOTES],
        token=token,
    )
    return json_response(answer.model_dump(), HTTPStatus.ACCEPTED)


def sort_mapped(
    mapped: Sequence[Mapped],
    sort: SortsDocuments,
    *,
    now_ms: int,
    partitions: int,
    is_kept: Callable[[bool | None], bool] = lambda said: said is not False,
) -> tuple[Sorted, list[RejectedPart]]:
    """Check what adapters made as events of ours are checked. What is refused keeps its place and becomes a letter:
    what the adapter refused as the vendor wrote it, what the door refused as the event that was made of it. Nothing is
    kept of either without consent (`is_kept`, given what the payload says of it: of what the adapter refused).
    """
    owners = [at for at, one in enumerate(mapped) for _ in one.events]
    documents = [event for one in mapped for event in one.events]
    found = sort(documents)
    rejected = [(owners[one.index], one.reason) for one in found.rejected]
    for at, one in enumerate(mapped):
        if one.refused is not None:
            rejected.append((at, str(one.refused)))
            if not is_kept(one.consent):
                continue
            partition, raw = partition_of("", partitions), raw_of(_without_keys(one.raw))
            found.letters.append(dead_letter(raw, partition, one.refused.reason, one.refused.detail, now_ms))
    rejected.sort(key=lambda one: one[0])
    parts = [
        RejectedPart(pointer=pointer(mapped[at].place), name=mapped[at].name, reason=reason) for at, reason in rejected
    ]
    return found, parts


def _adapter_of(vendor: str) -> Adapter:
    if vendor not in ADAPTERS:
        raise not_found(f"there is no format {vendor!r:.60}: expected one of {', '.join(ADAPTERS)}")
    return ADAPTERS[vendor]


async def _within(limit: int, mapped: Iterable[Mapped], pace: Pace) -> list[Mapped]:
    """Return what became of each event, with turns for others in between: a thousand take 60 ms.

    Raises Refused (422) where there are more, of theirs or ours; then nothing is taken.
    """
    found, made = list[Mapped](), 0
    for one in mapped:
        found.append(one)
        made += len(one.events)
        if pace.is_over:
            await pace.turn()
        if max(len(found), made) > limit:
            raise out_of_range(
                f"expected at most {limit} events in one request, each item of an order counted, got more: send them "
                "in parts"
            )
    return found


async def _payload_of(request: web.Request, vendor: str) -> Any:
    """Read a payload. Raises Refused as `read_body` does, 400 for what is not JSON, 415 for another encoding."""
    _expect_utf8(request)
    if vendor == "matomo":
        return await _request_of(request)
    raw = request.get(BODY) or await read_body(request, TYPES.get(vendor, BEACON_TYPES))
    if vendor == "cloudevents" and "ce-specversion" in request.headers:
        _expect_data(request)
        return from_headers(request.headers, decoded(raw.removeprefix(_BOM)))
    return decoded(raw.removeprefix(_BOM))


async def _request_of(request: web.Request) -> Any:
    """Read a request of Matomo's API: fields in the address, in a form, or in JSON with several."""
    address = {name: value for name, value in request.query.items() if name not in IN_ADDRESS}
    if not request.body_exists:
        return address
    raw = await read_body(request, TYPES["matomo"])
    if request.content_type != FORM and raw.lstrip()[:1] in (b"{", b"[", b"\xef"):
        return decoded(raw.removeprefix(_BOM))
    try:
        return address | fields_of(raw.decode())
    except UnicodeDecodeError:
        raise malformed("expected a form in UTF-8, got other bytes") from None
    except Problem as problem:
        raise malformed(problem.detail) from None


def _expect_utf8(request: web.Request) -> None:
    """Refuse (415) a body in another encoding than UTF-8: it might be valid, and mean something else."""
    charset = (request.charset or "utf-8").lower()
    if charset not in CHARSETS:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected UTF-8, got charset {charset[:40]!r}")


def _expect_data(request: web.Request) -> None:
    if "cloudevents" in request.content_type:
        detail = f"expected attributes in headers or in the body, got both ({request.headers.get(hdrs.CONTENT_TYPE)})"
        raise malformed(detail[:300])


def _without_keys(raw: Any) -> Any:
    """Return what a vendor wrote without the keys that it sends along: letters are read by others."""
    if not isinstance(raw, dict):
        return raw
    kept = {name: value for name, value in raw.items() if name not in _SECRETS}
    if isinstance(query := kept.get("query"), str):
        kept["query"] = _IN_QUERY.sub("", query)
    return kept
