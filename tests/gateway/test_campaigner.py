"""Picks for campaigns: the gateway's own answers, made for many users at once, and who gets none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pytest

from campaigns.caps import Cap, written_in
from campaigns.picks import Pick
from campaigns.recipients import ConsentRule, Recipient, Skip
from contracts.errors import SettingsError
from contracts.ids import item_key, partition_of
from contracts.keys import Keys
from contracts.profiles import Profile, encode_profile
from contracts.sessions import CLICK, Clicks
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from gateway.campaigner import Asked, campaigner
from gateway.settings import GatewaySettings
from nextclick.stack.shop_models import ARTIFACTS
from session_model.profiles import ProfileRules, Visit, fold_visits
from session_model.serving import load_encoder
from state.campaign_ledger import CampaignLedger
from state.client import connect
from tests.gateway.catalogue_table import ITEMS, Table
from tests.gateway.conftest import LOG, Start
from tests.gateway.test_scenarios import publish

NOW = 1_790_000_000_000
USERS = [f"u-{n}" for n in range(12)]


@pytest.fixture
def settings(redis_settings: RedisSettings) -> GatewaySettings:
    """A deployment with a catalogue, and twelve users of whom eight have a profile."""
    made = GatewaySettings(redis=redis_settings, log=LOG, artifacts=str(ARTIFACTS))
    with closing(Table(made)) as table:
        table.put(ITEMS)
    redis, keys = connect(redis_settings), Keys(redis_settings.prefix)
    for n, user in enumerate(USERS[:8]):
        redis.set(keys.profile(partition_of(user, LOG.partitions), user), encode_profile(profile_of(n)))
    redis.close()
    return made


def profile_of(seed: int) -> Profile:
    """A user with five clicks of one session."""
    encoder, random = load_encoder(str(ARTIFACTS)), np.random.default_rng(seed)
    assert encoder is not None
    chosen = random.choice(len(ITEMS), 5, replace=False)
    window = clicks_on([ITEMS[at][0] for at in chosen], [NOW - 3_600_000 + at * 1000 for at in range(5)])
    vector = random.normal(size=encoder.dim).astype(np.float32)
    visit = Visit(seed, window, int(window["ts_ms"][-1]), vector / np.float32(np.linalg.norm(vector)))
    return fold_visits(Profile(), [visit], ProfileRules(), model_version=encoder.version)


def clicks_on(item_ids: Sequence[str], at_ms: Sequence[int], code: int = 1) -> Clicks:
    window = np.zeros(len(item_ids), CLICK)
    window["item"], window["ts_ms"] = [item_key(one) for one in item_ids], at_ms
    window["event"], window["code"] = np.arange(1, len(item_ids) + 1), code
    return window


def document(settings: GatewaySettings, user: str, **fields: Any) -> None:
    redis, keys = connect(settings.redis), Keys(settings.redis.prefix)
    redis.set(keys.user(partition_of(user, LOG.partitions), user), orjson.dumps(fields))
    redis.close()


def asked(**more: Any) -> Asked:
    return Asked(**{"campaign": "autumn", "scenario": "email", "at_ms": NOW, "limit": 5, **more})


async def pick(settings: GatewaySettings, asked: Asked, users: Sequence[str | Recipient] = USERS) -> list[Any]:
    recipients = [one if isinstance(one, Recipient) else Recipient(one) for one in users]
    async with campaigner(settings, asked) as picking:
        return list((await picking.pick(recipients)).picks)


def items(pick: Pick) -> list[str]:
    return [one["item_id"] for one in pick["items"]]


async def test_picks_are_item_by_item_what_the_gateway_answers_each_user(
    start: Start, settings: GatewaySettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS), clock=lambda: NOW)
    document(settings, "u-0", do_not_show={"brands": [ITEMS[0][1].brand or "none"]})
    document(settings, "u-9", age=34, region="eu", style_tags=["outdoor"])
    await publish(client, "mail", {"base": "email", "filter": "price > 10", "fields": ["title"]})
    rows = [*map(Recipient, USERS[:-1]), Recipient(USERS[-1], context={"region": "us", "age": 20})]
    for scenario in ("email", "mail", "homepage"):
        picks = await pick(settings, asked(scenario=scenario, fields=("title",)), rows)
        given = []
        for row in rows:
            body = {
                "session_id": f"own-{row.user_id}",
                "user_id": row.user_id,
                "limit": 5,
                "fields": ["title", "price"],
            }
            answer = await client.post(
                f"/api/recommendations/{scenario}", json=body | ({"context": row.context} if row.context else {})
            )
            assert answer.status == 200
            given.append((await answer.json())["recommendations"])
        assert [items(one) for one in picks] == [[one["item_id"] for one in page] for page in given]
        assert [[one["title"] for one in each["items"]] for each in picks] == [
            [one["item"]["title"] for one in page] for page in given
        ]
        assert [[one["reason"] for one in each["items"]] for each in picks] == [
            [one["reason"] for one in page] for page in given
        ]
    assert len({tuple(items(one)) for one in picks}) > 4  # they are not all the same list


async def test_a_user_without_a_profile_gets_what_the_scenario_falls_back_to(settings: GatewaySettings) -> None:
    [known, unknown] = await pick(settings, asked(), ["u-0", "nobody"])
    assert len(unknown["items"]) == 5
    assert (known["cold_start"], unknown["cold_start"]) == ("profile", "newest")


async def test_who_refused_marketing_is_never_picked_for_and_required_asks_for_a_yes(
    settings: GatewaySettings,
) -> None:
    document(settings, "u-1", consent={"marketing": False})
    document(settings, "u-2", consent={"marketing": True})
    found = await pick(settings, asked(), USERS[:3])
    assert [isinstance(one, Skip) or len(one["items"]) for one in found] == [5, True, 5]
    assert found[1] is Skip.CONSENT
    strict = await pick(settings, asked(consent=ConsentRule.REQUIRED), USERS[:3])
    assert (strict[0], strict[1], len(strict[2]["items"])) == (Skip.CONSENT, Skip.CONSENT, 5)


async def test_a_filter_reads_documents_and_what_was_learnt(settings: GatewaySettings) -> None:
    document(settings, "u-0", region="eu")
    document(settings, "u-9", region="eu")
    found = await pick(settings, asked(filter='user.region == "eu" and user.clicks == 5'), ["u-0", "u-1", "u-9"])
    assert [one if isinstance(one, Skip) else one["user_id"] for one in found] == ["u-0", Skip.OUTSIDE, Skip.OUTSIDE]
    with pytest.raises(SettingsError, match="price"):
        await pick(settings, asked(filter="price > 3"))
    with pytest.raises(SettingsError, match="no scenario 'autumn-mail'"):
        await pick(settings, asked(scenario="autumn-mail"))


async def test_a_cap_counts_other_campaigns_and_a_campaign_never_caps_itself(settings: GatewaySettings) -> None:
    cap = Cap(1, timedelta(days=7))
    first = await pick(settings, asked(cap=cap), ["u-0", "u-1"])
    again = await pick(settings, asked(cap=cap), ["u-0", "u-1"])
    assert first == again
    other = await pick(settings, asked(campaign="winter", cap=cap), ["u-0", "u-2"])
    assert (other[0], other[1]["user_id"]) == (Skip.CAP, "u-2")
    later = await pick(settings, asked(campaign="winter", cap=cap, at_ms=NOW + 8 * 86_400_000), ["u-0"])
    assert later[0]["user_id"] == "u-0"


async def test_who_is_picked_nothing_for_counts_for_no_cap(settings: GatewaySettings) -> None:
    document(settings, "u-1", consent={"marketing": False})
    await pick(settings, asked(), ["u-0", "u-1"])
    ledger = CampaignLedger(settings.redis, partitions=LOG.partitions)
    kept = [written_in(one) for one in await ledger.of(["u-0", "u-1"])]
    await ledger.close()
    assert [list(one.values()) for one in kept] == [[NOW], []]


async def test_a_user_who_is_deleted_is_in_no_ledger(start: Start, settings: GatewaySettings) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await pick(settings, asked(), ["u-0", "u-1"])
    assert (await client.delete("/api/users/u-0")).status == 200
    ledger = CampaignLedger(settings.redis, partitions=LOG.partitions)
    assert [one is None for one in await ledger.of(["u-0", "u-1"])] == [True, False]
    await ledger.close()


async def test_picks_are_no_impressions_unless_that_is_asked(start: Start, settings: GatewaySettings) -> None:
    def logged() -> list[dict[str, Any]]:
        with closing(
            open_reader(LOG, settings.redis, Topic.IMPRESSIONS, list(range(LOG.partitions)), "test")
        ) as reader:
            return [orjson.loads(one.value) for batch in reader.poll(100, 0.05) for one in batch.messages]

    [silent] = await pick(settings, asked(), ["u-0"])
    assert logged() == []
    [told] = await pick(settings, asked(impressions=True), ["u-0"])
    assert silent == told
    [event] = logged()
    assert (event["user_id"], event["request_id"], event["items"]) == ("u-0", told["request_id"], items(told))


async def test_what_is_out_of_stock_or_hidden_is_not_picked(start: Start, settings: GatewaySettings) -> None:
    [before] = await pick(settings, asked(), ["u-0"])
    gone, hidden, *_ = items(before)
    with closing(Table(settings)) as table:
        table.put([(item_id, item.model_copy(update={"stock": 0})) for item_id, item in ITEMS if item_id == gone])
    document(settings, "u-0", do_not_show={"items": [hidden]})
    [after] = await pick(settings, asked(), ["u-0"])
    assert not {gone, hidden} & set(items(after))
    assert len(items(after)) == 5
