"""Price drops and items back in stock, told to a real receiver: who waits, how often, and after whose death."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from campaigns.delivery import is_signed
from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from contracts.keys import WEBHOOKS
from contracts.settings import RedisSettings, WebhookOptions
from eventlog.contract import DeadLetter
from eventlog.open_log import open_dead_letters
from flows.settings import FlowSettings
from flows.watched import watch_items, watch_profiles
from gateway.app import create_app
from gateway.erasures import ERASURES
from gateway.settings import GatewaySettings
from gateway.webhooks import Caller
from state.client import connect
from state.due_calls import DueCalls
from state.interest import InterestStore
from state.ports import free_port
from tests.gateway.conftest import LOG, Client, Start, event, put_items
from tests.gateway.streams import Streams
from tests.gateway.test_erasure import receipt_of
from tests.gateway.test_profiles import learn
from tests.processes import ROOT, wait_for
from tests.receiver import Receiver, receiving

SECRET = "a secret of the shop"
QUICK = timedelta(milliseconds=20)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(free_port(), tmp_path_factory.mktemp("receiver")) as running:
        yield running


def options(receiver: Receiver, **more: Any) -> WebhookOptions:
    given: dict[str, Any] = {
        "url": receiver.url,
        "allow": [f"http://127.0.0.1:{receiver.port}"],
        "secrets": [SECRET],
        "first_pause": QUICK,
        "longest_pause": 2 * QUICK,
        "timeout": timedelta(seconds=60),
    }
    return WebhookOptions(**{**given, **more})


class Shop:
    """A gateway with webhooks, the flows' steps beside it, and what came of them at the receiver."""

    def __init__(self, client: Client, redis: RedisSettings, receiver: Receiver, flows: FlowSettings) -> None:
        self.client, self.redis, self.receiver, self.flows = client, redis, receiver, flows
        self._before = len(receiver.calls)

    async def click(self, user_id: str, *items: str, kind: str = "view") -> None:
        clicks = [event(f"{user_id}-{kind}-{item}", f"s-{user_id}", item, user_id=user_id, type=kind) for item in items]
        taken = await (await self.client.post("/api/events", json=clicks)).json()
        question = {"session_id": f"s-{user_id}", "after": taken["token"]}
        await self.client.post("/api/recommendations/homepage", json=question)
        await asyncio.to_thread(learn, self.redis, watch_profiles(self.flows))

    async def stock(self, item: str, left: int) -> None:
        answer = await self.client.post("/api/stock", json=[{"item_id": item, "stock": left}])
        assert (await answer.json())["visible"]

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.receiver.calls[self._before :]

    async def wait(self, condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(wait_for, condition)

    def counts(self) -> dict[str, int]:
        queue = DueCalls(self.redis, WEBHOOKS, most=1)
        counts = queue.counts()
        queue.close()
        return counts


Open = Callable[..., Any]


@pytest.fixture
async def shop(start: Start, redis_settings: RedisSettings, receiver: Receiver) -> Any:
    """Open shops: `await shop(attempts=3)`."""
    streams: list[Streams] = []

    async def opened(**more: Any) -> Shop:
        receiver.answer("200")
        webhooks = options(receiver, **more)
        flows = FlowSettings(redis=redis_settings, log=LOG, webhooks=webhooks)
        running = Streams(LOG, redis_settings, watch=watch_items(flows))
        running.__enter__()
        streams.append(running)
        client = await start(webhooks=webhooks)
        await put_items(
            client,
            {"item_id": "boot", "title": "Boot", "price": 100, "stock": 0, "brand": "Fell", "category": "shoes/boots"},
            {"item_id": "sock", "title": "Sock", "price": 9, "stock": 5},
        )
        return Shop(client, redis_settings, receiver, flows)

    yield opened
    for running in streams:
        running.__exit__(None, None, None)


async def test_those_who_wait_are_told_within_seconds_signed_and_once(shop: Open) -> None:
    one = await shop(users_a_call=2)
    for user in ("anna", "bert", "cleo", "dora", "emil"):
        await one.click(user, "boot")
    await one.click("bert", "boot", kind="purchase")
    await one.click("dora", "boot", kind="hide")
    await one.client.post("/api/users/emil/do-not-show", json={"category": "shoes"})
    began = time.time()
    await one.stock("boot", 3)
    await one.wait(lambda: one.counts()["delivered"] == 1)
    [call] = one.calls
    body = json.loads(call["body"])
    assert call["at"] - began < 60
    assert body.pop("at_ms") >= 1000 * (began - 1)
    assert sorted(body.pop("users")) == ["anna", "cleo"]
    assert body == {
        "v": 1,
        "id": call["headers"]["Idempotency-Key"],
        "type": "back_in_stock",
        "item": {
            **{"item_id": "boot", "title": "Boot", "category": "shoes/boots", "brand": "Fell"},
            **{"price": 100.0, "stock": 3},
        },
        **{"before": 0, "now": 3, "page": 1, "pages": 1},
    }
    assert is_signed(call["headers"]["Nextclick-Signature"], call["body"].encode(), SECRET, time.time())
    assert one.counts() == {"delivered": 1, "dead": 0, "left_out": 0, "waiting": 0}


@pytest.mark.parametrize("said", [{"marketing": False}, {"personalisation": False}])
async def test_who_refused_is_not_told_of_to_anybody(shop: Open, said: dict[str, bool]) -> None:
    one = await shop()
    for user in ("anna", "bert"):
        await one.click(user, "boot")
    assert (await one.client.put("/api/users/anna/consent", json=said)).status == 200
    assert (await one.client.put("/api/users/bert/consent", json={"marketing": True})).status == 200
    await one.stock("boot", 3)
    await one.wait(lambda: one.counts()["delivered"] == 1)
    assert [json.loads(call["body"])["users"] for call in one.calls] == [["bert"]]


async def test_a_call_that_was_under_way_while_a_user_was_erased_is_a_dead_letter_without_them(
    client: Client, receiver: Receiver, redis_settings: RedisSettings
) -> None:
    queue = DueCalls(redis_settings, WEBHOOKS, most=10)
    queue.put([("k-1", b'{"at_ms": 1, "users": ["anna", "bert"]}')], 0)
    letters: list[DeadLetter] = []

    async def keep(letter: DeadLetter) -> None:
        letters.append(letter)

    async def post(body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        answer = await (await client.delete("/api/users/anna")).json()
        assert (await receipt_of(client, answer))["status"] == "done"
        return 400, None

    interest = InterestStore(redis_settings, partitions=LOG.partitions, most=10, keep_ms=1000)
    caller = Caller(options(receiver), queue, interest, post, keep, wall_clock_ms, lambda: client.app[ERASURES].names)
    [call] = queue.take(wall_clock_ms(), 60_000, 1)
    await caller.do(call)
    queue.close()
    interest.close()
    assert [json.loads(one.raw) for one in letters] == [{"at_ms": 1, "users": ["bert"]}]


async def test_a_price_drop_is_told_and_a_small_one_or_one_that_nobody_waits_for_is_not(shop: Open) -> None:
    one = await shop()
    await one.click("anna", "sock", kind="cart")
    for item, price in (("sock", 8.9), ("boot", 10), ("sock", 5)):
        await one.client.patch(f"/api/items/{item}", json={"price": price})
    await one.wait(lambda: one.counts()["delivered"] == 1)
    [call] = one.calls
    body = json.loads(call["body"])
    assert (body["type"], body["before"], body["now"], body["users"]) == ("price_drop", 8.9, 5.0, ["anna"])
    await one.wait(lambda: one.counts()["waiting"] == 0)
    assert len(one.calls) == 1


async def test_a_receiver_that_fails_gets_the_same_call_again_until_it_takes_it(shop: Open) -> None:
    one = await shop()
    await one.click("anna", "boot")
    one.receiver.answer("503", "0", "429", "200")
    await one.stock("boot", 1)
    await one.wait(lambda: one.counts()["delivered"] == 1)
    assert [call["status"] for call in one.calls] == [503, 0, 429, 200]
    assert [call["headers"]["Nextclick-Attempt"] for call in one.calls] == ["1", "2", "3", "4"]
    assert len({(call["body"], call["headers"]["Idempotency-Key"]) for call in one.calls}) == 1
    shown = await (await one.client.get("/metrics")).text()
    assert 'nextclick_gateway_webhook_calls_total{outcome="again"} 3.0' in shown
    assert 'nextclick_gateway_webhook_calls_total{outcome="delivered"} 1.0' in shown


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("500", "answered 500, at attempt 2, the last"),
        ("302", "redirects"),
        ("0", "the connection broke before an answer, at attempt 2, the last"),
        ("200 5", "no answer within 1 s, at attempt 2, the last"),
    ],
)
async def test_after_the_last_attempt_a_call_is_a_dead_letter(shop: Open, answer: str, why: str) -> None:
    one = await shop(attempts=2, timeout=timedelta(seconds=1))
    await one.click("anna", "boot")
    one.receiver.answer(answer)
    await one.stock("boot", 1)
    await one.wait(lambda: one.counts()["dead"] == 1)
    reader = open_dead_letters(LOG, one.redis)
    await one.wait(lambda: reader.count() == 1)
    [letter] = reader.read(10)
    reader.close()
    assert (letter.reason, json.loads(letter.raw)["users"]) == ("webhook_not_taken", ["anna"])
    assert why in letter.detail
    assert len(one.calls) == (1 if answer == "302" else 2)


async def test_a_receiver_that_is_away_is_said_in_words(shop: Open) -> None:
    one = await shop(attempts=1)
    await one.click("anna", "boot")
    one.receiver.kill()
    await one.stock("boot", 1)
    await one.wait(lambda: one.counts()["dead"] == 1)
    one.receiver.start()
    [failure] = (await (await one.client.get("/api/webhooks")).json())["failures"]
    assert failure["why"] == "could not connect, at attempt 1, the last"


async def test_a_receiver_that_is_slow_or_dies_holds_no_request_up(shop: Open) -> None:
    one = await shop(timeout=timedelta(milliseconds=100))
    await one.click("anna", "boot")
    one.receiver.answer("200 5", "200")
    await one.stock("boot", 1)
    await one.wait(lambda: len(one.calls) == 1)
    answer = await one.client.post("/api/recommendations/homepage", json={"session_id": "s-anna"})
    assert answer.status == 200
    await one.wait(lambda: one.counts()["delivered"] == 1)
    one.receiver.kill()
    await one.stock("boot", 0)
    await one.stock("boot", 1)
    assert (await one.client.get("/readyz")).status == 200
    one.receiver.start()
    await one.wait(lambda: one.counts()["delivered"] == 2)


def gateway_process(redis: RedisSettings, webhooks: WebhookOptions) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_GATEWAY__PORT": str(free_port()),
        "NEXTCLICK_WEBHOOKS__URL": webhooks.url,
        "NEXTCLICK_WEBHOOKS__ALLOW": json.dumps(webhooks.allow),
        "NEXTCLICK_WEBHOOKS__SECRETS": json.dumps(webhooks.secrets),
        "NEXTCLICK_WEBHOOKS__TIMEOUT": "PT0.4S",
    }
    return subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment)


@pytest.mark.slow
async def test_what_a_killed_gateway_had_taken_up_another_delivers(
    start: Start, receiver: Receiver, redis_settings: RedisSettings
) -> None:
    receiver.answer("200 60", "200")
    before, webhooks = len(receiver.calls), options(receiver, timeout=timedelta(milliseconds=400))
    queue = DueCalls(redis_settings, WEBHOOKS, most=10)
    queue.put([("k-1", b'{"users": ["anna"]}')], 0)
    killed = await asyncio.to_thread(gateway_process, redis_settings, webhooks)
    try:
        await asyncio.to_thread(wait_for, lambda: len(receiver.calls) > before)
    finally:
        killed.kill()
        await asyncio.to_thread(killed.wait)
    assert queue.counts()["waiting"] == 1
    await start(webhooks=webhooks)
    await asyncio.to_thread(wait_for, lambda: queue.counts()["delivered"] == 1)
    queue.close()
    assert [call["headers"]["Idempotency-Key"] for call in receiver.calls[before:]] == ["k-1", "k-1"]


def test_an_address_that_is_not_allowed_is_never_called(redis_settings: RedisSettings) -> None:
    wrong = WebhookOptions(url="https://elsewhere.example/hooks", allow=["https://shop.example"], secrets=[SECRET])
    with pytest.raises(
        SettingsError, match=r"webhooks\.url: .*https://elsewhere\.example:443: add it to webhooks\.allow"
    ):
        create_app(GatewaySettings(redis=redis_settings, webhooks=wrong))
    with pytest.raises(ValueError, match="expected secrets to sign calls with"):
        WebhookOptions(url="https://shop.example/hooks", allow=["https://shop.example"])


async def test_nothing_is_kept_or_asked_where_webhooks_are_off(redis_settings: RedisSettings, start: Start) -> None:
    flows = FlowSettings(redis=redis_settings, log=LOG)
    assert (watch_items(flows), watch_profiles(flows)) == (None, None)
    with Streams(LOG, redis_settings, watch=watch_items(flows)):
        client = await start()
        await put_items(
            client, {"item_id": "boot", "title": "Boot", "stock": 0}, {"item_id": "boot", "title": "Boot", "stock": 1}
        )
    redis = connect(redis_settings)
    names = [key.decode() for key in redis.scan_iter(f"{redis_settings.prefix}:*")]
    redis.close()
    assert names
    assert [name for name in names if "webhooks" in name or "waits" in name] == []


async def test_how_webhooks_do_is_shown_without_their_secrets(shop: Open) -> None:
    one = await shop(attempts=2)
    before = await (await one.client.get("/api/webhooks")).json()
    assert (before["on"], before["settings"]["secrets"], before["settings"]["attempts"]) == (True, 1, 2)
    assert before["settings"]["url"] == one.receiver.url
    assert before["queue"] == {"waiting": 0, "due": 0, "oldest_ms": None, "next_ms": None}
    assert (before["counts"], before["failures"]) == ({"delivered": 0, "dead": 0, "left_out": 0}, [])
    await one.click("anna", "boot")
    one.receiver.answer("503", "500")
    await one.stock("boot", 1)
    await one.wait(lambda: one.counts()["dead"] == 1)
    answer = await one.client.get("/api/webhooks")
    text = await answer.text()
    after = json.loads(text)
    assert after["counts"] == {"delivered": 0, "dead": 1, "left_out": 0}
    assert after["queue"]["waiting"] == 0
    newest, first = after["failures"]
    assert (newest["attempt"], newest["why"], newest["over"]) == (2, "answered 500, at attempt 2, the last", True)
    assert (first["attempt"], first["why"], first["over"]) == (1, "answered 503", False)
    assert {one["about"] for one in after["failures"]} == {"back_in_stock boot"}
    assert first["id"] == one.calls[0]["headers"]["Idempotency-Key"]
    assert SECRET not in text
    assert "anna" not in text
    shown = await (await one.client.get("/metrics")).text()
    assert 'nextclick_gateway_webhooks_ended_total{outcome="dead"} 1.0' in shown
    assert "nextclick_gateway_webhooks_oldest_seconds 0.0" in shown


async def test_webhooks_that_are_off_are_shown_as_off_and_have_no_figures(start: Start) -> None:
    client = await start()
    found = await (await client.get("/api/webhooks")).json()
    assert (found["on"], found["settings"]["url"], found["settings"]["secrets"]) == (False, "", 0)
    assert "nextclick_gateway_webhooks_waiting" not in await (await client.get("/metrics")).text()
