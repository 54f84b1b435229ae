"""Concurrent calls share batches, and one call's trouble stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from contracts.errors import StateUnavailable
from gateway.coalesce import Coalescer, Overloaded


class Doubling:
    """Doubles numbers, and remembers its batches. Holds each batch until told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def serve(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.go_on.wait()
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


async def test_calls_that_wait_while_a_batch_is_served_go_together() -> None:
    doubling = Doubling()
    coalescer = Coalescer(doubling.serve, max_weight=16, max_waiting=100)
    first = coalescer.submit(1)
    await asyncio.sleep(0)
    rest = [coalescer.submit(number) for number in (2, 3, 4)]
    doubling.go_on.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert doubling.batches == [[1], [2, 3, 4]]


async def test_calls_of_one_turn_of_the_loop_go_together() -> None:
    doubling = Doubling()
    doubling.go_on.set()
    coalescer = Coalescer(doubling.serve, max_weight=16, max_waiting=100)
    assert await asyncio.gather(*(coalescer.submit(number) for number in (1, 2, 3))) == [2, 4, 6]
    assert doubling.batches == [[1, 2, 3]]


async def test_a_batch_is_no_heavier_than_allowed() -> None:
    doubling = Doubling()
    doubling.go_on.set()
    coalescer = Coalescer(doubling.serve, max_weight=2, max_waiting=100)
    await asyncio.gather(*(coalescer.submit(number) for number in (1, 2, 3, 4, 5)))
    assert doubling.batches == [[1, 2], [3, 4], [5]]


async def test_an_error_goes_to_the_one_that_causes_it_alone() -> None:
    doubling = Doubling()
    doubling.go_on.set()
    coalescer = Coalescer(doubling.serve, max_weight=16, max_waiting=100)
    results = await asyncio.gather(*(coalescer.submit(number) for number in (1, 2, 13, 3, 4)), return_exceptions=True)
    assert [type(result) for result in results] == [int, int, ValueError, int, int]
    assert [results[at] for at in (0, 1, 3, 4)] == [2, 4, 6, 8]


async def test_an_outage_goes_to_its_batch_only() -> None:
    batches: list[list[int]] = []

    async def serve(numbers: Sequence[int]) -> list[int]:
        batches.append(list(numbers))
        if 13 in numbers:
            raise StateUnavailable("Redis is down")
        return list(numbers)

    coalescer = Coalescer(serve, max_weight=2, max_waiting=100)
    results = await asyncio.gather(*(coalescer.submit(number) for number in (1, 13, 3)), return_exceptions=True)
    assert [type(result) for result in results] == [StateUnavailable, StateUnavailable, int]
    assert batches == [[1, 13], [3]]


async def test_too_much_waiting_is_refused() -> None:
    doubling = Doubling()
    coalescer = Coalescer(doubling.serve, max_weight=16, max_waiting=2)
    taken = [coalescer.submit(1), coalescer.submit(2)]
    with pytest.raises(Overloaded, match="at most 2 waiting, got 3"):
        coalescer.submit(3)
    doubling.go_on.set()
    assert [await future for future in taken] == [2, 4]


async def test_a_caller_that_gave_up_is_left_out() -> None:
    doubling = Doubling()
    coalescer = Coalescer(doubling.serve, max_weight=16, max_waiting=100)
    first = coalescer.submit(1)
    await asyncio.sleep(0)
    gone, kept = coalescer.submit(2), coalescer.submit(3)
    gone.cancel()
    doubling.go_on.set()
    assert [await first, await kept] == [2, 6]
    assert doubling.batches == [[1], [3]]


async def test_closing_serves_what_was_taken_and_takes_nothing_more() -> None:
    doubling = Doubling()
    coalescer = Coalescer(doubling.serve, max_weight=1, max_waiting=100)
    taken = [coalescer.submit(1), coalescer.submit(2)]
    closing = asyncio.create_task(coalescer.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="shutting down"):
        coalescer.submit(3)
    doubling.go_on.set()
    await closing
    assert [future.result() for future in taken] == [2, 4]
