"""The trends flow's source: where it reads on, after a death and after a Redis that lost its last records."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contracts.errors import LogUnavailable
from eventlog.contract import Batch, Message, Topic
from flows import trend_source
from flows.outage import OUTAGE
from flows.settings import FlowOptions
from flows.trend_source import Place, ResumedLogSource, Way, place_in_log


class Log:
    """A partition that a test fills, cuts, and makes unreachable: what it holds, by offset."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.is_out = False
        self.connections = 1
        self.oldest = 0

    def reader(self, _: Sequence[int]) -> LogOfOne:
        return LogOfOne(self)


class LogOfOne:
    def __init__(self, log: Log) -> None:
        self._log, self._next = log, 0

    @property
    def connections(self) -> int:
        return self._log.connections

    def seek(self, partition: int, offset: int) -> None:
        self._next = offset

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        if self._log.is_out:
            raise LogUnavailable("down")
        found = list(enumerate(self._log.records))[self._next : self._next + max_records]
        if not found:
            return []
        start, self._next = self._next, self._next + len(found)
        return [Batch(Topic.CLICKS, 0, start, self._next, [Message(at, value) for at, value in found])]

    def earliest(self) -> dict[int, int]:
        return {0: self._log.oldest}

    def ends(self) -> dict[int, int]:
        return {0: len(self._log.records)}

    def commit(self, partition: int, next_offset: int) -> None: ...

    def hold(self, partition: int, offset: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(trend_source.time, "monotonic", lambda: now[0])
    return now


def read(part: object, clock: list[float], times: int = 3) -> list[bytes]:
    found = []
    for _ in range(times):
        clock[0] += 1.0
        found += [message.value for batch in part.next_batch() for message in batch.messages]  # type: ignore[attr-defined]
    return found


def part_of(log: Log, resume: object = None) -> object:
    source = ResumedLogSource(topic=Topic.CLICKS, partitions=1, open_reader=log.reader, options=FlowOptions())  # type: ignore[arg-type]
    return source.build_part("read", "0000", resume)


def read_for_ten_seconds(clock: list[float]) -> tuple[Log, object]:
    """Return a log that got a record a second, and who has read them."""
    log = Log()
    part = part_of(log)
    for second in range(10):
        log.records.append(b"%d" % second)
        read(part, clock, 1)
    return log, part


def test_after_a_death_the_last_seconds_are_read_again(clock: list[float]) -> None:
    log = Log()
    part = part_of(log)
    for second in range(10):
        log.records.append(b"%d" % second)
        assert read(part, clock, 1) == [b"%d" % second]
    kept = part.snapshot()  # type: ignore[attr-defined]
    assert kept == Place(next=10, back=5)

    assert read(part_of(log, kept), clock) == [b"5", b"6", b"7", b"8", b"9"]


def told_of_the_end(part: object, clock: list[float], times: int) -> list[int]:
    """Return where the log was said to be read up to, in so many seconds."""
    found = []
    for _ in range(times):
        clock[0] += 1.0
        found += [batch.start for batch in part.next_batch() if not batch.messages]  # type: ignore[attr-defined]
    return found


def test_that_nothing_is_left_is_told_again_and_again_and_never_while_something_is(clock: list[float]) -> None:
    log = Log()
    part = part_of(log)
    assert told_of_the_end(part, clock, 11) == [0, 0, 0]
    log.records += [b"a", b"b"]
    assert read(part, clock, 1) == [b"a", b"b"]
    assert told_of_the_end(part, clock, 11) == [2, 2]
    log.is_out = True
    log.records.append(b"c")
    assert told_of_the_end(part, clock, 20) == []


def test_what_took_the_place_of_lost_records_is_read(clock: list[float]) -> None:
    log, part = read_for_ten_seconds(clock)
    log.is_out = True
    assert read(part, clock) == []
    log.records[8:] = [b"new", b"newer", b"newest"]  # longer than it was: nothing looks as if something were lost
    log.is_out = False
    assert read(part, clock)[-3:] == [b"new", b"newer", b"newest"]


def test_a_log_that_was_away_for_less_than_a_round_is_read_again(clock: list[float]) -> None:
    log, part = read_for_ten_seconds(clock)
    log.records[8:] = [b"new", b"newer", b"newest"]
    log.connections += 1
    assert read(part, clock)[-3:] == [b"new", b"newer", b"newest"]


def test_an_outage_that_only_a_sink_met_makes_it_read_again(clock: list[float]) -> None:
    """A sink that waits keeps the source from looking: the log may have lost records and taken others meanwhile."""
    log, part = read_for_ten_seconds(clock)
    sink = OUTAGE.part()
    sink.failed("Redis is down")
    log.records[8:] = [b"new", b"newer", b"newest"]
    sink.over()
    assert read(part, clock)[-3:] == [b"new", b"newer", b"newest"]


def test_what_took_the_place_of_lost_records_is_read_when_reading_again_is_cut_short(clock: list[float]) -> None:
    log, part = read_for_ten_seconds(clock)
    log.records[2:] = []
    log.connections += 1
    read(part, clock, 2)
    log.records += [b"new %d" % number for number in range(20)]  # past all that was read before
    log.connections += 1  # before anything of it was read
    assert read(part, clock)[-20:] == [b"new %d" % number for number in range(20)]


def test_however_long_nothing_came_reading_goes_back_from_the_newest_record(clock: list[float]) -> None:
    log, part = read_for_ten_seconds(clock)
    told_of_the_end(part, clock, 60)
    log.records[8:] = [b"new", b"newer", b"newest"]
    log.connections += 1
    assert read(part, clock)[-3:] == [b"new", b"newer", b"newest"]


def test_of_a_log_that_lost_more_than_seconds_all_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    assert place_in_log(0, Place(next=100, back=80), oldest=20, end=60) == 20
    assert "the log lost its last records" in caplog.text


def test_what_was_trimmed_is_lost_once_and_only_what_was_not_read() -> None:
    assert place_in_log(0, Place(next=100, back=80), oldest=90, end=200) == 90
    assert place_in_log(0, Place(next=100, back=80), oldest=150, end=200) == 150


def test_a_place_of_an_older_release_is_one_offset() -> None:
    assert Place.of(7) == Place(7, 7)
    assert Place.of(None) == Place(None, None)
    assert place_in_log(0, Place.of(None), oldest=3, end=9) == 3


def test_a_way_remembers_no_more_than_it_must(clock: list[float]) -> None:
    way = Way(Place(None, None))
    for moment in range(10_000):
        way.reached(moment, clock[0] + moment / 100)
    assert len(way._past) <= 12
