"""What was learnt of a user in the lists: on another device, before the first click, in expressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from contracts.clock import wall_clock_ms
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.profiles import REVISION_BYTES
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader, open_writer
from flows.profile_steps import ProfilePath, decode_users
from flows.watched import WatchProfiles
from nextclick.stack.shop_models import ARTIFACTS
from rerank.query import PipelineSettings
from session_model.profiles import ProfileRules
from session_model.serving import load_encoder
from state.client import connect
from state.profiles import ProfileStore
from state.sessions import SessionStore
from tests.gateway.conftest import LOG, Client, Start, event
from tests.gateway.streams import IDLE_GAP_MS, Streams
from tests.gateway.test_recommendations import ask, ids, put_shop
from tests.gateway.test_scenarios import publish

DAY = 86_400_000
UNLIMITED = PipelineSettings(category_share=0)
"""So that a list may be of one category."""


@pytest.fixture
def embedding_streams(redis_settings: RedisSettings) -> Iterator[Streams]:
    with Streams(LOG, redis_settings, str(ARTIFACTS)) as running:
        yield running


def learn(redis: RedisSettings, watch: WatchProfiles | None = None) -> None:
    """Have profiles learn what the log holds."""
    partitions = list(range(LOG.partitions))
    with (
        closing(ProfileStore(redis, keep_ms=DAY)) as store,
        closing(SessionStore(redis, idle_gap_ms=IDLE_GAP_MS)) as sessions,
        closing(open_writer(LOG, redis)) as writer,
        closing(open_reader(LOG, redis, Topic.CLICKS, partitions, "profiles")) as reader,
    ):
        path = ProfilePath(
            store=store,
            sessions=sessions,
            writer=writer,
            encoder=lambda: load_encoder(str(ARTIFACTS)),
            rules=ProfileRules(),
            partitions=LOG.partitions,
            clock_ms=wall_clock_ms,
            watch=watch,
        )
        for partition in partitions:
            reader.seek(partition, store.next_offset(partition))
        while batches := reader.poll(100, 0.05):
            for batch in batches:
                path.apply(decode_users(batch, now_ms=wall_clock_ms(), max_future_ms=DAY))


async def click(client: Client, redis: RedisSettings, *items: str, session: str = "phone", **more: Any) -> None:
    clicks = [event(f"{session}-{at}", session, item, user_id="anna", **more) for at, item in enumerate(items)]
    taken = await (await client.post("/api/events", json=clicks)).json()
    await ask(client, session_id=session, after=taken["token"])
    learn(redis)


async def test_a_profile_of_a_newer_release_is_left_as_it_is_and_answers_go_without(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await put_shop(client)
    await click(client, redis_settings, "shoe-0")
    [key] = (redis := connect(redis_settings)).keys(f"{redis_settings.prefix}:*:profile:anna")
    raw = bytearray(redis.get(key))
    raw[REVISION_BYTES] = 2
    redis.set(key, bytes(raw))
    await click(client, redis_settings, "shoe-1", session="laptop")
    assert redis.get(key) == bytes(raw)
    answer = await ask(client, session_id="laptop", user_id="anna")
    assert (answer["session"]["events"], answer["profile"]) == (1, None)
    redis.close()


async def test_a_profile_leads_on_another_device_before_the_first_click(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    phone, laptop = [await start(artifacts=str(ARTIFACTS), pipeline=UNLIMITED) for _ in range(2)]
    await put_shop(phone)
    assert (await ask(phone, session_id="laptop", user_id="anna"))["profile"] is None
    await click(phone, redis_settings, "shoe-0", "shoe-1", "shoe-2", "shoe-3")
    known = await ask(laptop, session_id="laptop", user_id="anna", limit=4)
    assert known["profile"]["clicks"] == 4
    assert 0 <= known["profile"]["age_ms"] < 600_000
    assert (known["session"]["events"], known["degraded"]) == (0, [])
    assert all(one.startswith("shoe") for one in ids(known))
    anonymous = await ask(laptop, session_id="laptop", limit=4)
    assert "profile" not in anonymous
    assert ids(anonymous) != ids(known)


async def test_a_profile_weighs_less_with_each_click_of_the_session(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS), pipeline=UNLIMITED)
    await put_shop(client)
    await click(client, redis_settings, "shoe-0", "shoe-1", "shoe-2")

    async def shoes(clicks: int) -> int:
        own = [event(f"l-{n}", "laptop", f"lamp-{n}") for n in range(clicks)]
        answer = await ask(client, "laptop", user_id="anna", limit=5, recent_events=own)
        return sum(one.startswith("shoe") for one in ids(answer))

    assert await shoes(0) == 5
    assert await shoes(4) < 5


async def test_expressions_read_what_was_learnt_and_the_document_comes_first(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await put_shop(client)
    await click(
        client, redis_settings, "shoe-0", "shoe-1", type="purchase", context={"region": "eu", "device": "phone"}
    )

    async def holds(text: str) -> bool:
        return bool(ids(await ask(client, session_id="laptop", user_id="anna", filter=text)))

    for text in (
        "user.purchases == 2",
        "user.clicks == 2",
        'user.device == "phone"',
        'user.region == "eu"',
        '"sport/shoes" in user.categories',
        "user.price > 0",
    ):
        assert await holds(text), text
    assert not await holds('"home/lamps" in user.categories')
    await client.put("/api/users/anna", json={"region": "us", "attributes": {"purchases": 7}})
    assert await holds('user.region == "us"')
    assert await holds("user.attributes.purchases == 7")


async def test_a_user_who_is_forgotten_has_neither_document_nor_profile(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await put_shop(client)
    await click(client, redis_settings, "shoe-0")
    await client.put("/api/users/anna", json={"age": 34})
    assert (await client.delete("/api/users/anna")).status == 200
    assert (await ask(client, session_id="laptop", user_id="anna"))["profile"] is None
    assert (await client.get("/api/users/anna")).status == 404
    redis = connect(redis_settings)
    assert [key for key in redis.keys(f"{redis_settings.prefix}:*") if key.endswith(b":anna")] == []
    redis.close()


async def test_a_profile_that_cannot_be_read_keeps_what_is_hidden(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await put_shop(client)
    await client.post("/api/users/anna/do-not-show", json={"item_id": "shoe-0"})
    redis = connect(redis_settings)
    redis.set(Keys(redis_settings.prefix).profile(partition_of("anna", LOG.partitions), "anna"), b"broken")
    redis.close()
    answer = await ask(client, user_id="anna", candidates=["shoe-0", "shoe-1"])
    assert (answer["degraded"], answer["profile"], ids(answer)) == (["profile_unavailable"], None, ["shoe-1"])


@pytest.mark.parametrize("turns_down", [{"type": "hide"}, {"type": "rating", "value": 1}, {"type": "return"}])
async def test_what_a_user_turned_down_stands_in_no_later_session(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings, turns_down: dict[str, Any]
) -> None:
    client = await start(artifacts=str(ARTIFACTS), pipeline=UNLIMITED)
    await put_shop(client)
    await click(client, redis_settings, "shoe-0", **turns_down)
    await publish(client, "pinned", {"pins": [{"item_id": "shoe-0", "position": 1}]})
    for placement in ("homepage", "product", "cart", "email", "pinned"):
        assert "shoe-0" not in ids(await ask(client, "laptop", placement, user_id="anna")), placement
        assert "shoe-0" in ids(await ask(client, "laptop", placement)), placement
    given = {"user_id": "anna", "candidates": ["shoe-0", "shoe-1"]}
    searched = await ask(client, "laptop", "search", **given)
    assert (ids(searched), searched["dropped"]) == (["shoe-1"], {"turned_down": 1})
    viewed = await ask(client, "laptop", "search", recent_events=[event("l-1", "laptop", "shoe-0")], **given)
    assert ids(viewed) == ["shoe-1"]


@pytest.mark.parametrize("type_", ["unhide", "like", "cart", "purchase"])
async def test_what_was_turned_down_in_an_earlier_session_can_be_taken_back_in_a_later_one(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings, type_: str
) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    await put_shop(client)
    await click(client, redis_settings, "shoe-0", type="hide")
    given = {"placement": "search", "user_id": "anna", "candidates": ["shoe-0", "shoe-1"]}
    now = await ask(client, "laptop", recent_events=[event("l-1", "laptop", "shoe-0", type=type_)], **given)
    assert (sorted(ids(now)), now["dropped"]) == (["shoe-0", "shoe-1"], {})
    await click(client, redis_settings, "shoe-0", session="tablet", type=type_)
    learnt = await ask(client, "laptop", **given)
    assert (sorted(ids(learnt)), learnt["dropped"]) == (["shoe-0", "shoe-1"], {})


async def test_the_home_page_email_and_push_leave_out_what_a_user_bought_in_any_session(
    start: Start, embedding_streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(ARTIFACTS), pipeline=UNLIMITED)
    await put_shop(client)
    await click(client, redis_settings, "shoe-0", "shoe-1", type="purchase")
    await click(client, redis_settings, "shoe-2", session="tablet", type="cart")
    given = {"user_id": "anna", "candidates": ["shoe-0", "shoe-1", "shoe-2"]}
    for placement in ("homepage", "email", "push"):
        found = await ask(client, "laptop", placement, **given)
        assert (ids(found), found["dropped"]) == (["shoe-2"], {"seen": 2}), placement
        assert not {"shoe-0", "shoe-1"} & set(ids(await ask(client, "laptop", placement, user_id="anna"))), placement
    for placement in ("cart", "search"):
        assert len(ids(await ask(client, "laptop", placement, **given))) == 3, placement
    await publish(client, "again", {"base": "email", "seen": "none"})
    assert len(ids(await ask(client, "laptop", "again", **given))) == 3
