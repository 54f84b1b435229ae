"""Catalogue changes on their way: into the items log, then waited for until recommendations see them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import inf
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from contracts.api import CatalogueAnswer, RejectedEvent
from contracts.items import Item, ItemDelete, ItemPatch, ItemPut, StockSet, encode_change, image_problem
from contracts.plausible import expect_shallow
from eventlog.contract import Position, Record, Topic
from gateway.asked import ASKED, HEADER
from gateway.keys import APPENDS, SETTINGS
from gateway.live_figures import ASKED as RECOMMENDS
from gateway.metrics import METRICS
from gateway.problems import FieldProblem, field_problems, out_of_range
from gateway.tables import CATALOGUE, REPLICAS
from gateway.wire import json_response

_NAMED: Final = 3

MOST_VALUES: Final = 20_000
"""Values in an item's attributes and in the client's own fields, however they are nested: each is gone through."""


@dataclass(slots=True)
class Taken:
    """What one request has put into the items log so far: a count, the newest position of each partition, and the ids
    of the first few items.
    """

    accepted: int = 0
    newest: dict[int, Position] = field(default_factory=dict)
    first: list[str] = field(default_factory=list)

    async def append(self, request: web.Request, records: Sequence[Record]) -> None:
        """Append and remember. Raises LogUnavailable, LogFull or Overloaded."""
        if not records:
            return
        for position in await request.app[APPENDS].append(Topic.ITEMS, records):
            self.newest[position.partition] = position
        self.accepted += len(records)
        self.first += [record.key for record in records[: _NAMED - len(self.first)]]
        request[TAKEN] = self


TAKEN = web.RequestKey("taken", Taken)
"""Of a request: what it has put into the items log, for the audit log."""


def record_of(change: ItemPut | ItemPatch | ItemDelete | StockSet) -> Record:
    """Encode a change. Raises Refused (422) for one that cannot be written as JSON."""
    try:
        return Record(change.item_id, encode_change(change))
    except orjson.JSONEncodeError as error:
        raise out_of_range(f"the item cannot be written as JSON ({error}): nest its attributes less deeply") from error


def rejected(index: int, error: ValidationError) -> RejectedEvent:
    """Name the first field that was refused."""
    first = field_problems(error)[0]
    return RejectedEvent(index=index, reason=f"invalid: {first.pointer or 'body'}: {first.detail}")


def expect_item(item: Item, image_length: int) -> None:
    """Refuse (422) an item that answers could not show, that holds too much to go through, or whose image vector has
    another length than the model's.
    """
    if _holds_more([item.attributes, item.model_extra], MOST_VALUES):
        raise out_of_range(f"expected at most {MOST_VALUES} values in the fields of your own and in attributes")
    try:
        expect_shallow(item)
    except ValueError as error:
        raise out_of_range(f"{error}: nest them less deeply") from error
    if problem := image_problem(item, image_length):
        raise out_of_range(f"/{problem}", [FieldProblem(pointer="/image_vector", detail=problem)])


def _holds_more(value: list[Any], most: int) -> bool:
    """Return whether there are more than `most` values in lists and objects; looks at no more than that."""
    level: list[Any] = [value]
    held = 0
    while level:
        below = []
        for one in level:
            held += len(one)
            if held > most:
                return True
            values = one.values() if isinstance(one, dict) else one
            below += [inner for inner in values if isinstance(inner, dict | list)]
        level = below
    return False


async def is_visible(request: web.Request, taken: Taken) -> bool:
    """Wait until this process's catalogue shows the changes; False when the wait is over, or where the request prefers
    not to wait so long (RFC 7240: `Prefer: wait=0`).
    """
    wait_s = min(request.app[SETTINGS].gateway.visible_wait_ms / 1000, _preferred_s(request))
    if not wait_s and taken.accepted:
        return False
    replica = request.app[REPLICAS][CATALOGUE.name]
    return not taken.accepted or await replica.shows(Topic.ITEMS, taken.newest.values(), wait_s)


def answer_changes(request: web.Request, accepted: int, refused: list[RejectedEvent], *, visible: bool) -> web.Response:
    """Answer 202, and tell how much this process is asked for."""
    answer = CatalogueAnswer(accepted=accepted, rejected=refused, visible=visible)
    response = json_response(answer.model_dump(), HTTPStatus.ACCEPTED)
    per_s = request.app[ASKED].per_s(time.monotonic(), request.app[METRICS].answers_of(RECOMMENDS))
    response.headers[HEADER] = f"{per_s:.1f}"
    return response


def _preferred_s(request: web.Request) -> float:
    """Return the seconds that a request prefers to wait at most; no bound where it says nothing that can be read."""
    for part in ",".join(request.headers.getall("Prefer", ())).split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
    return inf
