"""A webhook that was not taken is a dead letter, and leaves its queue once that is kept."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial

import pytest

from contracts.clock import wall_clock_ms
from contracts.errors import LogUnavailable, NextclickError, RecordTooLarge, StateUnavailable
from contracts.keys import WEBHOOKS
from contracts.settings import RedisSettings
from eventlog.contract import DeadLetter
from eventlog.open_log import open_dead_letters
from gateway.background import running
from gateway.webhooks import AT_ONCE, Caller
from rights.erasure import ErasedNames
from state.due_calls import DueCalls
from state.interest import InterestStore
from state.ports import free_port
from tests.gateway.conftest import LOG, Start
from tests.gateway.test_webhooks import options
from tests.processes import ROOT, wait_for
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(free_port(), tmp_path_factory.mktemp("receiver")) as running:
        yield running


KILLED = """
import asyncio, os, sys
from contracts.clock import wall_clock_ms
from contracts.keys import WEBHOOKS
from contracts.settings import RedisSettings, WebhookOptions
from gateway.webhooks import AT_ONCE, Caller
from rights.erasure import ErasedNames
from state.due_calls import DueCalls
from state.interest import InterestStore
own = RedisSettings(url=sys.argv[1], prefix=sys.argv[2], timeout_ms=60_000)
async def refused(body, headers):
    return 400, None
async def killed(letter):
    assert letter.reason == "webhook_not_taken"
    os.kill(os.getpid(), 9)
shop = "https://shop.example"
options = WebhookOptions(url=shop + "/", allow=[shop], secrets=["a secret of 16 letters"], timeout="PT0.1S")
queue, interest = DueCalls(own, WEBHOOKS, most=10), InterestStore(own, partitions=4, most=10, keep_ms=1000)
[call] = queue.take(wall_clock_ms(), 0, 1)
asyncio.run(Caller(options, queue, interest, refused, killed, wall_clock_ms, ErasedNames).do(call))
"""


async def test_a_gateway_that_is_killed_before_a_dead_letter_is_kept_leaves_the_call_to_the_others(
    start: Start, receiver: Receiver, redis_settings: RedisSettings
) -> None:
    queue = DueCalls(redis_settings, WEBHOOKS, most=10)
    queue.put([("k-1", b'{"users": ["anna"]}')], 0)
    command = [sys.executable, "-c", KILLED, redis_settings.url, redis_settings.prefix]
    killed = await asyncio.to_thread(partial(subprocess.run, command, cwd=ROOT, check=False))
    assert killed.returncode == -signal.SIGKILL
    assert queue.counts() == {"waiting": 1, "delivered": 0, "dead": 0, "left_out": 0}
    receiver.answer("400")
    await start(webhooks=options(receiver))
    await asyncio.to_thread(wait_for, lambda: queue.counts()["dead"] == 1)
    queue.close()
    with closing(open_dead_letters(LOG, redis_settings)) as reader:
        assert [letter.raw for letter in reader.read(10)] == [b'{"users": ["anna"]}']


async def test_a_call_that_the_log_cannot_keep_as_a_dead_letter_now_stays_in_the_queue(
    receiver: Receiver, redis_settings: RedisSettings
) -> None:
    queue = DueCalls(redis_settings, WEBHOOKS, most=10)
    interest = InterestStore(redis_settings, partitions=LOG.partitions, most=10, keep_ms=1000)
    queue.put([("k-1", b'{"users": ["anna"]}')], 0)
    answers: list[NextclickError | None] = [LogUnavailable("away"), RecordTooLarge("long"), None]
    kept: list[bytes] = []

    async def keep(letter: DeadLetter) -> None:
        if (error := answers.pop(0)) is not None:
            raise error
        kept.append(letter.raw)

    async def post(body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        return 400, None

    caller = Caller(options(receiver), queue, interest, post, keep, wall_clock_ms, ErasedNames)
    [call] = queue.take(0, 1000, 1)
    with pytest.raises(StateUnavailable, match="cannot be kept as a dead letter: away"):
        await caller.do(call)
    assert (queue.counts()["waiting"], caller.sent["dead"]) == (1, 0)
    [again] = queue.take(1000, 1000, 1)
    await caller.do(again)
    assert (queue.counts()["waiting"], queue.counts()["dead"], kept) == (0, 1, [b'{"users": ["anna"]}'])
    queue.close()
    interest.close()


async def test_a_call_that_takes_long_holds_up_no_more_than_its_own_place(
    receiver: Receiver, redis_settings: RedisSettings
) -> None:
    queue = DueCalls(redis_settings, WEBHOOKS, most=100)
    interest = InterestStore(redis_settings, partitions=LOG.partitions, most=10, keep_ms=1000)
    queue.put([("slow", b'{"users": ["slow"]}'), *((f"k-{n}", b'{"users": ["anna"]}') for n in range(30))], 0)
    together, most = 0, 0
    ended = asyncio.Event()

    async def post(body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await (ended.wait() if b"slow" in body else asyncio.sleep(0.001))
        together -= 1
        return 200, None

    async def keep(letter: DeadLetter) -> None:
        raise AssertionError(letter)

    caller = Caller(options(receiver), queue, interest, post, keep, wall_clock_ms, ErasedNames)
    async with running(caller.run()):
        await asyncio.to_thread(wait_for, lambda: caller.sent["delivered"] == 30)
        ended.set()
        await asyncio.to_thread(wait_for, lambda: caller.sent["delivered"] == 31)
    assert most == AT_ONCE
    queue.close()
    interest.close()
