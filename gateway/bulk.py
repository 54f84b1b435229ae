"""POST /api/items: load many items, one JSON object a line, as the body streams in."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import Field, ValidationError

from contracts.api import RejectedEvent
from contracts.errors import LogUnavailable
from contracts.events import Identifier
from contracts.items import Item, ItemPut, item_of
from eventlog.contract import Record
from gateway.bodies import read_lines
from gateway.changes import Taken, answer_changes, expect_item, is_visible, record_of, rejected
from gateway.coalesce import Overloaded
from gateway.keys import MODELS, SETTINGS
from gateway.problems import GatewayProblem, Refused, refused_for_now
from gateway.room import expect_room
from gateway.wire import NDJSON_TYPES, NOT_JSON, decoded, expect_type

CHUNK = 500
"""Lines that are appended together."""

CHUNK_BYTES = 2**22
"""Bytes of such lines, beyond which they are appended however few they are."""

MAX_REJECTED = 1000
"""A body with more refused lines than this is not a bulk load of items: stop reading it."""


class ItemLine(Item):
    """One line of a bulk load: an item and its id."""

    item_id: Identifier


class BulkProblem(GatewayProblem):
    """A bulk load that stopped half-way. Puts are absolute: sending the whole body again does no harm."""

    accepted: int | None = Field(default=None, description="Items that were taken before it stopped.")
    rejected: list[RejectedEvent] | None = None


async def post_items(request: web.Request) -> web.Response:
    """Load items. Lines that are refused are named by their index, the others are taken."""
    expect_type(request, NDJSON_TYPES, named=True)
    taken, refused, chunk, held = Taken(), list[RejectedEvent](), list[Record](), 0
    image_length = request.app[MODELS]().image_length
    try:
        async for index, line in read_lines(request):
            parsed = _that_fits(_parse(index, line, image_length), index, request.app[SETTINGS].log.max_record_bytes)
            if isinstance(parsed, RejectedEvent):
                refused.append(parsed)
                _stop_when_hopeless(refused)
            else:
                chunk.append(parsed)
                held += len(parsed.value)
            if len(chunk) >= CHUNK or held >= CHUNK_BYTES:
                await expect_room(request, [record.key for record in chunk])
                await taken.append(request, chunk)
                chunk, held = [], 0
        await expect_room(request, [record.key for record in chunk])
        await taken.append(request, chunk)
    except Refused as error:
        raise _stopped(error, taken, refused) from error
    except (LogUnavailable, Overloaded) as error:
        raise _stopped(refused_for_now(error), taken, refused) from error
    return answer_changes(request, taken.accepted, refused, visible=await is_visible(request, taken))


def _parse(index: int, line: bytes | None, image_length: int) -> Record | RejectedEvent:
    if line is None:
        return RejectedEvent(index=index, reason="too_large: expected a line no longer than the body limit")
    try:
        document = ItemLine.model_validate(decoded(line))
    except Refused as error:
        kind = "not_json" if error.status is HTTPStatus.BAD_REQUEST else "invalid"
        return RejectedEvent(index=index, reason=f"{kind}: {error.detail.removeprefix(NOT_JSON)}")
    except ValidationError as error:
        return rejected(index, error)
    try:
        expect_item(document, image_length)
        item = item_of(document.model_dump(exclude={"item_id"}, exclude_unset=True))
        return record_of(ItemPut(item_id=document.item_id, item=item))
    except Refused as error:
        return RejectedEvent(index=index, reason=f"invalid: {error.detail}")


def _that_fits(parsed: Record | RejectedEvent, index: int, most_bytes: int) -> Record | RejectedEvent:
    """Refuse an item that is larger than the log takes: alone, not with the others of its append."""
    if isinstance(parsed, RejectedEvent) or parsed.size <= most_bytes:
        return parsed
    return RejectedEvent(index=index, reason=f"too_large: {parsed.size} bytes, expected at most {most_bytes}")


def _stop_when_hopeless(refused: list[RejectedEvent]) -> None:
    if len(refused) > MAX_REJECTED:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"more than {MAX_REJECTED} lines were refused: expected one item a line, as JSON, with an item_id",
        )


def _stopped(stopped: Refused, taken: Taken, refused: list[RejectedEvent]) -> Refused:
    members = {
        **stopped.members,
        "accepted": taken.accepted,
        "rejected": [one.model_dump() for one in refused[:MAX_REJECTED]],
    }
    return Refused(stopped.status, stopped.detail, errors=stopped.errors, headers=stopped.headers, members=members)
