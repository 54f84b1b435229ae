"""POST /api/campaigns/check: which picks of a campaign are still right, right before they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from campaigns.caps import Cap, is_capped, written_in
from campaigns.recipients import ConsentRule, consents
from campaigns.still_right import ItemNow, Picked, UserNow, Wrong, may_be_sent, wrong_with_item, wrong_with_user
from contracts.errors import StateUnavailable
from contracts.events import EventCode, Identifier
from contracts.ids import item_key, partition_of
from contracts.items import Price, a_number
from contracts.scenarios import Length
from gateway.keys import CATALOGUE, CLOCK, LEDGER, RECOMMENDER, SETTINGS, TURN, VIEWS
from gateway.preparing import CATALOGUE_BEHIND, caught_up
from gateway.problems import refused_for_now, unavailable
from gateway.tables import CATALOGUE as CATALOGUE_TABLE
from gateway.tables import REPLICAS
from gateway.users import NOBODY_KNOWN, PROFILE_UNAVAILABLE, KnownUser
from gateway.wire import encoded, json_bytes, read_object, validated
from rerank.rules import hides
from retrieval.catalogue import CatalogueColumns
from state.campaign_ledger import KEPT_MS

MOST_ROWS: Final = 1000
MOST_ITEMS: Final = 20_000
"""Of all rows together."""
AT_ONCE: Final = 50
"""Rows that are looked at before others get a turn."""


class CapAsked(BaseModel):
    """At most so many campaigns to a user within a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most: Annotated[int, Field(ge=1, le=32), BeforeValidator(a_number)]
    within: Length = Field(gt=timedelta(0), le=timedelta(milliseconds=KEPT_MS), description="ISO 8601, such as P7D.")


class PickedItem(BaseModel):
    """An item of a pick. What else a pick says of it is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    item_id: Identifier
    price: Price | None = None


class PickedRow(BaseModel):
    """A line of the JSON lines that `nextclick campaign run` writes, or what counts of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    user_id: Identifier
    at_ms: Annotated[int, BeforeValidator(a_number)] = Field(
        ge=0, le=1 << 53, description="When it was picked: what was bought since is wrong."
    )
    items: list[PickedItem] = Field(min_length=1, max_length=100)


class CheckRequest(BaseModel):
    """Picks of one campaign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Identifier
    rows: list[PickedRow] = Field(min_length=1, max_length=MOST_ROWS)
    consent: ConsentRule = ConsentRule.UNLESS_REFUSED
    cap: CapAsked | None = None

    @field_validator("rows")
    @classmethod
    def _are_not_too_many(cls, rows: list[PickedRow]) -> list[PickedRow]:
        given = sum(len(row.items) for row in rows)
        if given > MOST_ITEMS:
            raise ValueError(f"expected at most {MOST_ITEMS:,} items in all rows, got {given:,}")
        return rows


class CheckedItem(BaseModel):
    item_id: str
    wrong: Wrong | None = Field(description="Why it is not to be sent; null: it is still right.")


class CheckedRow(BaseModel):
    user_id: str
    send: bool = Field(description="Whether anything is left to send.")
    wrong: list[Wrong] = Field(description="Why nothing at all is to be sent: `consent`, `cap`.")
    items: list[CheckedItem]


class CheckAnswer(BaseModel):
    """The rows in the order of the request. `degraded`: what could not be had, and was taken for right."""

    rows: list[CheckedRow]
    degraded: list[str]


async def post_check(request: web.Request) -> web.Response:
    """Say which picks are still right."""
    asked = validated(await read_object(request), CheckRequest)
    try:
        found = await _checked(request.app, asked)
    except (StateUnavailable, TimeoutError) as error:
        if isinstance(error, StateUnavailable):
            raise refused_for_now(error) from error
        raise unavailable("Redis did not tell of these users in time: retry, with fewer rows") from error
    return json_bytes(encoded(found))


async def _checked(app: web.Application, asked: CheckRequest) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    degraded: list[str] = []
    for begin in range(0, len(asked.rows), AT_ONCE):
        part = asked.rows[begin : begin + AT_ONCE]
        users = [row.user_id for row in part]
        known, kept = await asyncio.gather(_known(app, users, degraded), app[LEDGER].of(users))
        async with app[TURN]:
            for row, user, raw in zip(part, known, kept, strict=True):
                rows.append(_row(app, asked, row, user, written_in(raw)))
        await asyncio.sleep(0)
    return {"rows": rows, "degraded": sorted(set(degraded))}


async def _known(app: web.Application, users: Sequence[str], degraded: list[str]) -> list[KnownUser]:
    """Return what is known of users now. Raises StateUnavailable where Redis does not tell."""
    until = asyncio.get_running_loop().time() + app[SETTINGS].gateway.deadline_ms / 1000
    partitions = app[SETTINGS].log.partitions
    read = await asyncio.gather(
        *(app[VIEWS].see(user, partition_of(user, partitions), None, until, user) for user in users)
    )
    if any(one.view is None for one in read):
        raise StateUnavailable("Redis did not tell of these users in time: retry, with fewer rows")
    told = [ends for one in read if one.view is not None and (ends := one.view.catalogue_ends) is not None]
    newest = [max(ends) for ends in zip(*told, strict=True)]
    if newest and not await caught_up(app[REPLICAS][CATALOGUE_TABLE.name], newest, until):
        degraded.append(CATALOGUE_BEHIND)
    missing: list[str] = []
    found = [app[RECOMMENDER].users.known(user, one.view, missing) for user, one in zip(users, read, strict=True)]
    if PROFILE_UNAVAILABLE in missing:
        degraded.append(PROFILE_UNAVAILABLE)
    return found


def _row(
    app: web.Application, asked: CheckRequest, row: PickedRow, user: KnownUser, written: Mapping[int, int]
) -> dict[str, Any]:
    cap = None if asked.cap is None else Cap(asked.cap.most, asked.cap.within)
    keys = np.array([item_key(one.item_id) for one in row.items], np.uint64)
    now = UserNow(
        consents(user.said.fields, asked.consent),
        is_capped(written, asked.campaign, cap, app[CLOCK]()),
        _bought(user, [one.item_id for one in row.items], keys),
    )
    of_items = [
        wrong_with_item(Picked(one.item_id, one.price), item, now, row.at_ms)
        for one, item in zip(row.items, _items(app[CATALOGUE], keys, user), strict=True)
    ]
    of_user = wrong_with_user(now)
    return {
        "user_id": row.user_id,
        "send": may_be_sent(of_user, of_items),
        "wrong": of_user,
        "items": [{"item_id": one.item_id, "wrong": why} for one, why in zip(row.items, of_items, strict=True)],
    }


def _bought(user: KnownUser, item_ids: Sequence[str], keys: NDArray[np.uint64]) -> dict[str, int]:
    """Return when a user last bought each of these items (epoch ms), of the clicks that their profile keeps."""
    if user is NOBODY_KNOWN or user.profile is None:
        return {}
    clicks = user.profile.clicks
    bought = clicks[(clicks["code"] == EventCode.PURCHASE) & np.isin(clicks["item"], keys)]
    newest: dict[int, int] = {}
    for key, at_ms in zip(bought["item"].tolist(), bought["ts_ms"].tolist(), strict=True):
        newest[key] = max(at_ms, newest.get(key, 0))
    return {one: newest[key] for one, key in zip(item_ids, keys.tolist(), strict=True) if key in newest}


def _items(columns: CatalogueColumns, keys: NDArray[np.uint64], user: KnownUser) -> list[ItemNow | None]:
    """Return items as they are now; None for one that is gone."""
    rows = columns.rows_of(keys)
    there = np.maximum(rows, 0)
    if not columns.count:
        return [None] * len(keys)
    hidden = np.zeros(len(keys), np.bool_) if user.said.hidden is None else hides(columns, user.said.hidden, there)
    return [
        None if row < 0 else ItemNow(bool(columns.stock[row] > 0), columns.documents[row].price, bool(is_hidden))
        for row, is_hidden in zip(rows.tolist(), hidden.tolist(), strict=True)
    ]
