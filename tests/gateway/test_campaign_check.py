"""POST /api/campaigns/check: what of a campaign's picks is still right when it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.profiles import Profile, encode_profile
from contracts.settings import RedisSettings
from gateway.settings import GatewaySettings
from nextclick.stack.shop_models import ARTIFACTS
from session_model.profiles import ProfileRules, Visit, fold_visits
from state.client import connect
from tests.gateway.catalogue_table import ITEMS, Table
from tests.gateway.conftest import LOG, Client, Start, problem
from tests.gateway.test_campaigner import NOW, asked, clicks_on, document, pick

PRICED = [(item_id, item) for item_id, item in ITEMS if item.price][:6]
IDS = [item_id for item_id, _ in PRICED]
DAY = 86_400_000


@pytest.fixture
def settings(redis_settings: RedisSettings) -> GatewaySettings:
    made = GatewaySettings(redis=redis_settings, log=LOG, artifacts=str(ARTIFACTS))
    with closing(Table(made)) as table:
        table.put(PRICED)
    return made


def row(user: str, ids: Sequence[str] = IDS, **more: Any) -> dict[str, Any]:
    prices = {item_id: item.price for item_id, item in PRICED}
    items = [{"item_id": one, "price": prices.get(one)} for one in ids]
    return {"user_id": user, "at_ms": NOW, "items": items, **more}


async def check(client: Client, *rows: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    body = {"campaign": "autumn", "rows": rows, **more}
    response = await client.post("/api/campaigns/check", json=body)
    assert response.status == 200, await response.text()
    answer = await response.json()
    assert answer["degraded"] == []
    found: list[dict[str, Any]] = answer["rows"]
    return found


async def test_items_are_wrong_that_are_gone_sold_out_dearer_hidden_or_bought_since(
    start: Start, settings: GatewaySettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS), clock=lambda: NOW + DAY)
    [before] = await check(client, row("anna"))
    assert before == {
        "user_id": "anna",
        "send": True,
        "wrong": [],
        "items": [{"item_id": one, "wrong": None} for one in IDS],
    }
    sold_out, dearer, hidden, bought, bought_before, _ = IDS
    changed = dict(PRICED)
    with closing(Table(settings)) as table:
        table.put([(sold_out, changed[sold_out].model_copy(update={"stock": 0}))])
        table.put([(dearer, changed[dearer].model_copy(update={"price": (changed[dearer].price or 0) + 1}))])
    document(settings, "anna", do_not_show={"items": [hidden]})
    window = clicks_on([bought, bought_before], [NOW + 5, NOW - 5], code=3)
    profile = fold_visits(Profile(), [Visit(1, window, NOW, None)], ProfileRules(), model_version=0)
    redis, keys = connect(settings.redis), Keys(settings.redis.prefix)
    redis.set(keys.profile(partition_of("anna", LOG.partitions), "anna"), encode_profile(profile))
    redis.close()
    [after] = await check(client, row("anna", [*IDS, "no-such-item"]))
    assert after["send"] is True
    assert [one["wrong"] for one in after["items"]] == [
        *("out_of_stock", "price_changed", "hidden", "bought", None, None, "gone"),
    ]
    [none] = await check(client, row("anna", [sold_out, hidden]))
    assert none["send"] is False


async def test_nothing_is_sent_without_consent_or_over_the_cap(start: Start, settings: GatewaySettings) -> None:
    client = await start(artifacts=str(ARTIFACTS), clock=lambda: NOW + DAY)
    document(settings, "anna", consent={"marketing": False})
    await pick(settings, asked(campaign="winter"), ["bert", "carl"])
    await pick(settings, asked(campaign="autumn"), ["bert", "dora"])
    rows = [row(user) for user in ("anna", "bert", "carl", "dora")]
    found = await check(client, *rows, cap={"most": 1, "within": "P7D"})
    assert [one["wrong"] for one in found] == [["consent"], ["cap"], ["cap"], []]
    assert [one["send"] for one in found] == [False, False, False, True]
    within_hours = await check(client, *rows, cap={"most": 1, "within": "PT5H"})
    assert [one["send"] for one in within_hours] == [False, True, True, True]
    required = await check(client, *rows, consent="required")
    assert [one["wrong"] for one in required] == [["consent"]] * 4


async def test_a_line_of_the_picks_can_be_checked_as_it_is(start: Start, settings: GatewaySettings) -> None:
    client = await start(artifacts=str(ARTIFACTS), clock=lambda: NOW)
    [picked] = await pick(settings, asked(fields=("title",)), ["anna"])
    [found] = await check(client, picked)
    assert [one["item_id"] for one in found["items"]] == [one["item_id"] for one in picked["items"]]
    assert {one["wrong"] for one in found["items"]} == {None}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"campaign": "x", "rows": []}, "/rows"),
        ({"campaign": "x", "rows": [row("a")] * 1001}, "/rows"),
        ({"campaign": "x", "rows": [row("a", IDS * 16)] * 220}, "/rows"),
        ({"campaign": "x", "rows": [row("a", at_ms=-1)]}, "/rows/0/at_ms"),
        ({"campaign": "x", "rows": [row("a")], "cap": {"most": 0, "within": "P1D"}}, "/cap/most"),
        ({"campaign": "x", "rows": [row("a")], "cap": {"most": 1, "within": "P91D"}}, "/cap/within"),
    ],
)
async def test_a_check_that_cannot_be_is_refused_with_its_place(
    client: Client, body: dict[str, Any], pointer: str
) -> None:
    found = await problem(await client.post("/api/campaigns/check", json=body), 422)
    assert found["errors"][0]["pointer"] == pointer
