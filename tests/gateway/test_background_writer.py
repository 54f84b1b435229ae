"""Background writes: bounded, counted, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.errors import LogUnavailable
from gateway.background_writer import BackgroundWriter


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    written: list[int] = []

    async def write(numbers: Sequence[int]) -> None:
        written.extend(numbers)

    line = BackgroundWriter(write, name="numbers", max_waiting=2)
    assert [line.offer(number) for number in (1, 2, 3)] == [True, True, False]
    await line.close(60.0)
    assert written == [1, 2]
    assert (line.counts.written, line.counts.dropped, line.counts.failed) == (2, 1, 0)


async def test_a_write_that_fails_is_counted_and_let_go() -> None:
    async def refuse(_numbers: Sequence[int]) -> None:
        raise LogUnavailable("no log")

    line = BackgroundWriter(refuse, name="numbers", max_waiting=10)
    line.offer(1)
    async with asyncio.timeout(60):
        while not line.counts.failed:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
    line.offer(2)
    await line.close(60.0)
    assert (line.counts.written, line.counts.dropped, line.counts.failed) == (0, 0, 2)


async def test_closing_waits_no_longer_than_told() -> None:
    async def hang(_numbers: Sequence[int]) -> None:
        await asyncio.Event().wait()

    line = BackgroundWriter(hang, name="numbers", max_waiting=10, max_batch=1)
    line.offer(1)
    line.offer(2)
    async with asyncio.timeout(60):
        await line.close(0.05)
    assert line.counts.dropped == 1


async def test_what_comes_within_the_gathering_time_is_written_together() -> None:
    batches: list[list[int]] = []

    async def write(numbers: Sequence[int]) -> None:
        batches.append(list(numbers))

    line = BackgroundWriter(write, name="numbers", max_waiting=100, max_batch=3, gather_s=0.05)
    line.offer(1)
    await asyncio.sleep(0.01)
    line.offer(2)
    assert batches == []
    await asyncio.sleep(0.1)
    assert batches == [[1, 2]]
    for number in (3, 4, 5, 6):
        line.offer(number)
    await asyncio.sleep(0.01)
    assert batches == [[1, 2], [3, 4, 5]]  # full: at once, and the rest later
    await asyncio.sleep(0.1)
    assert batches == [[1, 2], [3, 4, 5], [6]]
    line.offer(7)
    await line.close(60.0)
    assert batches == [[1, 2], [3, 4, 5], [6], [7]]  # closing waits for no more
