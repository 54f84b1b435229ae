"""Group commit: who waits together travels together, in order, and shares the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from contracts.errors import LogUnavailable
from eventlog.coalesce import Coalescer
from eventlog.contract import Position, Record, Topic


class Journey:
    """Appends to a list, one gate to pass before each; fails where it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.travelled: list[list[str]] = []
        self.failing = False

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        await self.gate.wait()
        if self.failing:
            raise LogUnavailable("no log")
        start = sum(map(len, self.travelled))
        self.travelled.append([record.key for record in records])
        return [Position(0, start + at) for at in range(len(records))]


def records(*keys: str) -> list[Record]:
    return [Record(key, b"") for key in keys]


async def test_appends_that_come_while_one_is_under_way_share_the_next() -> None:
    journey = Journey()
    together = Coalescer(journey.append)
    tasks = [asyncio.create_task(together.append(Topic.CLICKS, records("a")))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(together.append(Topic.CLICKS, records(*keys))) for keys in ("bc", "d")]
    await asyncio.sleep(0)

    journey.gate.set()
    answers = await asyncio.gather(*tasks)

    assert journey.travelled == [["a"], ["b", "c", "d"]]
    assert [[position.offset for position in answer] for answer in answers] == [[0], [1, 2], [3]]


async def test_a_failure_reaches_everybody_who_shared_it_and_nobody_after() -> None:
    journey = Journey()
    together = Coalescer(journey.append)
    journey.failing = True
    journey.gate.set()
    outcomes = await asyncio.gather(
        *(together.append(Topic.CLICKS, records(key)) for key in "ab"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [LogUnavailable, LogUnavailable]

    journey.failing = False
    assert await together.append(Topic.CLICKS, records("c")) == [Position(0, 0)]


async def test_one_who_gave_up_does_not_disturb_the_others() -> None:
    journey = Journey()
    together = Coalescer(journey.append)
    gives_up, stays = (asyncio.create_task(together.append(Topic.CLICKS, records(key))) for key in "ab")
    await asyncio.sleep(0)
    gives_up.cancel()
    journey.gate.set()

    assert await stays == [Position(0, 1)]
    with pytest.raises(asyncio.CancelledError):
        await gives_up


async def test_topics_do_not_wait_for_each_other() -> None:
    journey = Journey()
    together = Coalescer(journey.append)
    tasks = [asyncio.create_task(together.append(topic, records(topic))) for topic in (Topic.CLICKS, Topic.ITEMS)]
    await asyncio.sleep(0)
    journey.gate.set()
    await together.drain()

    assert sorted(journey.travelled) == [["clicks"], ["items"]]
    assert all(task.done() for task in tasks) or await asyncio.gather(*tasks)


async def test_while_calls_come_often_they_set_out_some_time_apart() -> None:
    journey = Journey()
    journey.gate.set()
    together = Coalescer(journey.append, gather_s=0.02)
    tasks = []
    for number in range(300):
        tasks.append(asyncio.create_task(together.append(Topic.CLICKS, records(str(number)))))
        await asyncio.sleep(0.001)

    answers = await asyncio.gather(*tasks)

    assert [position.offset for answer in answers for position in answer] == list(range(300))
    assert [key for keys in journey.travelled for key in keys] == [str(number) for number in range(300)]
    assert len(journey.travelled) < 150


async def test_a_call_that_comes_now_and_then_sets_out_at_once() -> None:
    journey = Journey()
    journey.gate.set()
    together = Coalescer(journey.append, gather_s=0.1)
    async with asyncio.timeout(5):
        for number in range(20):  # at most twenty a second: a tenth of a second would bring two together
            await together.append(Topic.IMPRESSIONS, records(str(number)))
            await asyncio.sleep(0.06)
    assert len(journey.travelled) == 20
