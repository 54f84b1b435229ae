"""The Python client against a real gateway, and against a server that fails as it is told to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from tests.clients.conftest import CLIENTS
from tests.clients.shaky import Shaky, shaky
from tests.processes import wait_for

from nextclick_client import (  # isort: skip
    AsyncClient,
    AsyncEventQueue,
    Client,
    EventQueue,
    Refused,
    Retry,
    Unavailable,
    WrongUse,
    event,
)

QUICK = Retry(attempts=3, first_s=0.001, longest_s=0.002)
ITEMS = [("boot", "shoes/boots", 59.0), ("sock", "socks", 9.0), ("lace", "laces", 3.0), ("tent", "tents", 99.0)]


def shop(name: str) -> list[dict[str, Any]]:
    return [
        {"item_id": f"{kind}-{name}", "title": kind, "category": category, "price": price, "stock": 4}
        for kind, category, price in ITEMS
    ]


def test_a_click_is_counted_by_the_next_list(gateway_url: str, name: str) -> None:
    with Client(gateway_url, timeout_s=60) as client:
        assert client.put_items(shop(name)) == {"accepted": 4, "rejected": [], "visible": True}
        taken = client.send_events([event("view", name, f"boot-{name}"), event("cart", name, f"sock-{name}")])
        assert (taken["accepted"], taken["rejected"]) == (2, [])
        answer = client.recommend("homepage", name, limit=100, after=taken["token"], fields=["title"])
        assert answer.get("stale") is not True
        assert answer["session"]["events"] == 2
        shown = {one["item_id"]: one["item"] for one in answer["recommendations"]}
        assert shown[f"tent-{name}"] == {"title": "tent"}
        assert f"boot-{name}" not in shown
        page = client.page(name, [{"scenario": "homepage", "limit": 1}, {"scenario": "cart", "limit": 2}])
        assert [len(one["recommendations"]) for one in page["lists"]] == [1, 2]


def test_an_event_that_is_sent_twice_counts_once(gateway_url: str, name: str) -> None:
    with Client(gateway_url, timeout_s=60) as client:
        client.put_items(shop(name))
        one = event("view", name, f"boot-{name}")
        client.send_events([one])
        token = client.send_events([one])["token"]
        assert client.recommend("homepage", name, after=token)["session"]["events"] == 1


def test_items_stock_and_users_are_written_and_read(gateway_url: str, name: str) -> None:
    strange = f"../a b/ü?{name}"
    with Client(gateway_url, timeout_s=60) as client:
        assert client.put_item(strange, {"title": "Boot", "price": 59})["visible"]
        assert client.patch_item(strange, {"price": 49})["visible"]
        assert client.set_stock({strange: 3})["accepted"] == 1
        assert client.item(strange) == {"item_id": strange, "title": "Boot", "category": "", "price": 49.0, "stock": 3}
        assert client.delete_item(strange)["visible"]
        with pytest.raises(Refused, match=r"got 404.*look at the name") as missing:
            client.item(strange)
        assert missing.value.status == 404
        assert client.put_user(name, {"age": 34})["visible"]
        client.patch_user(name, {"region": "eu"})
        client.do_not_show(name, brand="Acme")
        assert client.user(name) == {"age": 34, "region": "eu", "do_not_show": {"brands": ["Acme"]}}
        client.show_again(name, brand="Acme")
        assert "do_not_show" not in client.user(name)
        client.delete_user(name)
        with pytest.raises(Refused, match="got 404"):
            client.user(name)


def test_what_is_wrong_is_named_field_by_field(gateway_url: str, name: str) -> None:
    with Client(gateway_url, timeout_s=60) as client:
        with pytest.raises(Refused, match=r"PUT /api/items/x: expected a 2xx answer, got 422: /price: .*mend") as found:
            client.put_item("x", {"title": "Boot", "price": -1})
        assert [one.pointer for one in found.value.fields] == ["/price"]
        answer = client.send_events([event("view", name, "boot"), {"v": 1}])
        assert (answer["accepted"], answer["rejected"][0]["index"]) == (1, 1)


@pytest.mark.parametrize("status", [429, 503, 502, 0])
def test_a_fault_that_passes_is_tried_again_with_the_same_ids(status: int) -> None:
    with shaky([(status, {}), (status, {})]) as server, Client(server.url, retry=QUICK) as client:
        assert client.send_events([event("view", "s-1", "boot")])["accepted"] == 1
        assert len(server.bodies) == 3
        assert len({body[0]["event_id"] for body in server.bodies}) == 1


def test_retry_after_is_waited_and_one_beyond_patience_ends_it() -> None:
    slept: list[float] = []
    with shaky([(429, {"Retry-After": "7"}), (503, {"Retry-After": "31"})]) as server:
        client = Client(server.url, retry=QUICK, sleep=slept.append)
        with pytest.raises(Unavailable, match=r"503: .*asks for 31 s\) \(tried 2 times\)"):
            client.send_events([event("view", "s-1", "boot")])
        client.close()
    assert slept == [7.0]


def test_a_gateway_that_is_away_is_told_after_the_last_attempt() -> None:
    with (
        Client("http://127.0.0.1:9", retry=QUICK) as client,
        pytest.raises(Unavailable, match=r"tried 3 times.*readyz"),
    ):
        client.recommend("homepage", "s-1")


def test_what_cannot_be_a_call_is_never_sent() -> None:
    with Client("http://127.0.0.1:9") as client:
        for wrong in (
            lambda: client.send_events([]),
            lambda: client.put_item("", {"title": "x"}),
            lambda: client.put_item("x", {"price": float("nan")}),
            lambda: client.put_items([{"title": "x"}]),
            lambda: event("view", "s-1"),
            lambda: event("impression", "s-1"),
            lambda: Client("localhost:8080"),
        ):
            with pytest.raises(WrongUse, match="expected"):
                wrong()


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_API_KEY", "nc_secret")
    with Client("http://127.0.0.1:9", retry=Retry(attempts=1)) as client:
        assert client._http.headers["Authorization"] == "Bearer nc_secret"
        with pytest.raises(Unavailable) as away:
            client.item("x")
    assert "nc_secret" not in str(away.value)


def ids(server: Shaky) -> list[str]:
    return [one["item_id"] for body in server.bodies for one in body]


def test_a_queue_sends_in_batches_and_what_waits_at_its_end() -> None:
    with shaky() as server, Client(server.url) as client:
        with EventQueue(client, batch=3, every_s=3600) as queue:
            for n in range(8):
                assert queue.track("view", "s-1", f"i-{n}")
        assert ids(server) == [f"i-{n}" for n in range(8)]
        assert max(len(body) for body in server.bodies) == 3
        assert (queue.sent, queue.dropped, len(queue)) == (8, 0, 0)
        with pytest.raises(WrongUse, match="closed"):
            queue.track("view", "s-1", "late")


def test_a_queue_holds_so_many_and_tells_of_the_others() -> None:
    told: list[tuple[str, str]] = []
    client = Client("http://127.0.0.1:9", retry=Retry(attempts=1))
    queue = EventQueue(
        client, most=2, every_s=3600, exit_s=0.1, told=lambda one, why: told.append((one["item_id"], why))
    )
    assert [queue.track("view", "s-1", f"i-{n}") for n in range(3)] == [True, True, False]
    queue.close()
    assert told == [("i-2", "queue_full"), ("i-0", "not_sent_at_exit"), ("i-1", "not_sent_at_exit")]
    assert (queue.sent, queue.dropped) == (0, 3)


def test_a_queue_goes_on_after_an_outage_and_after_what_is_refused() -> None:
    told: list[str] = []
    with shaky([(503, {}), (503, {}), (503, {}), (422, {})]) as server, Client(server.url, retry=QUICK) as client:
        queue = EventQueue(client, batch=1, every_s=0.01, told=lambda one, why: told.append(one["item_id"]))
        queue.track("view", "s-1", "i-0")
        wait_for(lambda: bool(told))
        queue.track("view", "s-1", "i-1")
        queue.close()
        assert (told, queue.sent, queue.refused) == (["i-0"], 1, 1)


NO_ANSWER: dict[str, tuple[int, dict[str, str], bytes]] = {
    "a page of a proxy": (200, {}, b"<html>be right back"),
    "another service": (200, {}, b'{"status": "ok"}'),
    "nothing": (202, {}, b""),
    "no object": (202, {}, b"[]"),
    "null": (202, {}, b"null"),
    "rejected is no list": (202, {}, b'{"accepted": 1, "rejected": "none"}'),
    "rejected names nothing": (202, {}, b'{"accepted": 1, "rejected": [null]}'),
    "half of it": (202, {}, b'{"accepted": 1, "rej'),
    "less than it says": (202, {"Content-Length": "99"}, b'{"accepted": 1'),
    "not compressed as it says": (202, {"Content-Encoding": "gzip"}, b"no gzip"),
    "too deep": (202, {}, b"[" * 200_000),
    "a fault": (500, {}, b"oops"),
    "too slow": (408, {}, b""),
    "a content network without a gateway": (522, {}, b"<html>"),
    "a later that never comes": (503, {"Retry-After": "9" * 30}, b""),
}


def test_what_no_gateway_answers_loses_no_event_and_ends_no_queue() -> None:
    """Each answer comes twice: all attempts of one sending."""
    answers = [one for one in NO_ANSWER.values() for _ in range(2)]
    told: list[str] = []
    with shaky(answers) as server, Client(server.url, retry=Retry(2, 0.001, 0.002)) as client:
        queue = EventQueue(client, batch=1, every_s=0.001, told=lambda one, why: told.append(why))
        assert [queue.track("view", "s-1", f"i-{n}") for n in range(2)] == [True, True]
        wait_for(lambda: queue.sent == 2)
        queue.close()
        assert (ids(server)[-2:], told, queue.refused, queue.dropped) == (["i-0", "i-1"], [], 0, 0)


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_no_gateway_answers_is_told_as_such(answer: tuple[int, dict[str, str], bytes]) -> None:
    once = Retry(attempts=1)
    with shaky([answer] * 2) as server, Client(server.url, retry=once) as client:
        with pytest.raises(Unavailable, match="POST /api/events"):
            client.send_events([event("view", "s-1", "i-1")])
        async with AsyncClient(server.url, retry=once) as awaiting:
            with pytest.raises(Unavailable, match="POST /api/events"):
                await awaiting.send_events([event("view", "s-1", "i-1")])


async def test_an_event_that_cannot_be_sent_is_refused_at_once_and_keeps_no_other() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with shaky() as server, Client(server.url) as client:
        with EventQueue(client, every_s=3600) as queue:
            for odd in ({1, 2}, float("nan"), "\ud800", b"x", endless):
                with pytest.raises(WrongUse, match="JSON can hold"):
                    queue.track("view", "s-1", "i-0", context={"odd": odd})
            queue.track("view", "s-1", "i-1")
        async with AsyncClient(server.url) as awaiting, AsyncEventQueue(awaiting) as other:
            with pytest.raises(WrongUse, match="JSON can hold"):
                other.track("view", "s-1", "i-0", context={"odd": {1}})
            other.track("view", "s-1", "i-2")
        assert ids(server) == ["i-1", "i-2"]


def test_a_queue_is_flushed_when_the_process_ends() -> None:
    script = (
        "import sys; from nextclick_client import Client, EventQueue\n"
        "queue = EventQueue(Client(sys.argv[1]), every_s=3600)\n"
        "queue.track('view', 's-1', 'at-exit')\n"
    )
    with shaky() as server:
        environment = {"PYTHONPATH": str(CLIENTS / "python" / "src")}
        subprocess.run([sys.executable, "-c", script, server.url], check=True, env=environment, timeout=120)
        assert ids(server) == ["at-exit"]


async def test_the_async_client_does_the_same(gateway_url: str, name: str) -> None:
    async with AsyncClient(gateway_url, timeout_s=60) as client:
        assert (await client.put_items(shop(name)))["accepted"] == 4
        async with AsyncEventQueue(client, every_s=3600) as queue:
            assert queue.track("view", name, f"boot-{name}")
            assert await queue.flush()
        assert (queue.sent, len(queue)) == (1, 0)
        token = (await client.send_events([event("cart", name, f"sock-{name}")]))["token"]
        answer = await client.recommend("homepage", name, after=token)
        assert answer["session"]["events"] == 2
        with pytest.raises(Refused, match="got 404"):
            await client.item(f"none-{name}")


async def test_the_async_client_tries_again_and_its_queue_is_bounded() -> None:
    with shaky([(503, {}), (0, {})]) as server:
        async with AsyncClient(server.url, retry=QUICK) as client:
            queue = AsyncEventQueue(client, most=2, batch=1, every_s=0.001)
            assert [queue.track("view", "s-1", f"i-{n}") for n in range(3)] == [True, True, False]
            await asyncio.to_thread(wait_for, lambda: queue.sent == 2)
            await queue.close()
            assert queue.dropped == 1
        assert ids(server) == ["i-0", "i-0", "i-0", "i-1"]
