"""Applying a batch through outages: it waits with the batch in hand, says so once, and goes on. A record that cannot be
applied is left out alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import redis

from contracts.errors import LogUnavailable, StateConflict, StateUnavailable
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Batch, DeadLetter, LogReader, Message, Record, Topic
from eventlog.open_log import open_reader, open_writer
from flows.apply_once import ApplyOnce, ApplyTogether
from flows.log_source import Cursor
from flows.outage import OUTAGE
from flows.still_logged import still_logged


@dataclass(frozen=True)
class Read:
    batch: Batch


def read(batch: Batch) -> Read:
    return Read(batch)


def batch_of(values: Sequence[bytes], start: int = 5) -> Read:
    """A batch whose offsets have gaps, as Kafka's may."""
    messages = [Message(start + 2 * n, value) for n, value in enumerate(values)]
    return Read(Batch(Topic.CLICKS, 2, start, start + 2 * len(values), messages))


@dataclass
class State:
    """What a store would keep: values, letters, and the offset that says which batch is in place."""

    next: int = 5
    values: list[bytes] = field(default_factory=list)
    letters: list[tuple[str, str, str]] = field(default_factory=list)
    calls: int = 0
    failures: list[Exception] = field(default_factory=list)

    def apply(self, one: Read, letters: Sequence[DeadLetter]) -> None:
        self.calls += 1
        if self.failures:
            raise self.failures.pop()
        if one.batch.start != self.next:
            raise StateConflict("partition 2", one.batch.start, self.next)
        for message in one.batch.messages:
            if message.value.startswith(b"bad"):
                raise RecursionError("maximum recursion depth exceeded")
        self.values += [message.value for message in one.batch.messages]
        self.letters += [(letter.source, letter.reason, letter.detail) for letter in letters]
        self.next = one.batch.next


def once(state: State, cursor: Cursor, pauses: list[float] | None = None) -> ApplyOnce[Read]:
    pause = pauses.append if pauses is not None else lambda _: None
    return ApplyOnce(read, state.apply, cursor, clock_ms=lambda: 7, pause_ms=250, sleep=pause)


def test_an_outage_is_waited_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    state, pauses, cursor = State(failures=[StateUnavailable("Redis is down")] * 4), list[float](), Cursor()
    assert once(state, cursor, pauses)(batch_of([b"a", b"b"])) == 2
    assert pauses == [0.25, 0.25, 0.25]
    assert cursor.take_applied() == {2: 9}
    assert caplog.messages[0] == "waiting: Redis is down"
    assert len(caplog.records) == 2


def test_a_batch_out_of_place_is_read_again_from_the_stored_offset() -> None:
    state, cursor = State(next=4), Cursor()
    assert once(state, cursor)(batch_of([b"a", b"b"])) == 0
    assert cursor.take_rewinds() == {2: 4}


@pytest.mark.parametrize("at", [0, 1, 499, 998, 999])
def test_a_record_that_cannot_be_applied_becomes_a_dead_letter_and_the_others_are_applied_in_order(at: int) -> None:
    values = [b"%d" % n for n in range(1000)]
    values[at] = b"bad"
    state, cursor = State(), Cursor()
    assert once(state, cursor)(batch_of(values)) == 999
    assert state.values == [value for value in values if value != b"bad"]
    said = "RecursionError: maximum recursion depth exceeded"
    assert state.letters == [(f"clicks:2:{5 + 2 * at}", "bad_record", said)]
    assert (state.next, cursor.take_applied()) == (2005, {2: 2005})
    assert state.calls <= 25


def test_records_that_cannot_be_applied_are_said_once_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    state = State()
    apply = once(state, Cursor())
    assert apply(batch_of([b"bad", b"a", b"bad"])) == 1
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert caplog.messages[0] == "clicks:2:5 is left out: RecursionError: maximum recursion depth exceeded"


def test_an_outage_while_a_bad_record_is_looked_for_is_waited_out() -> None:
    state, cursor, applied = State(), Cursor(), 0
    plain = state.apply

    def sometimes(one: Read, letters: Sequence[DeadLetter]) -> None:
        nonlocal applied
        applied += 1
        if applied % 2 == 0:
            raise StateUnavailable("Redis is down")
        plain(one, letters)

    apply = ApplyOnce(read, sometimes, cursor, clock_ms=lambda: 7, pause_ms=1, sleep=lambda _: None)
    assert apply(batch_of([b"a", b"bad", b"b"])) == 2
    assert (state.values, len(state.letters), state.next) == ([b"a", b"b"], 1, 11)


def test_an_interrupt_is_never_taken_for_a_bad_record() -> None:
    def interrupted(one: Read, letters: Sequence[DeadLetter]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ApplyOnce(read, interrupted, Cursor(), clock_ms=lambda: 7, pause_ms=1)(batch_of([b"a"]))


@dataclass
class Partitions:
    """What a store would keep of several partitions: values and offset of each."""

    next: dict[int, int]
    values: dict[int, list[bytes]] = field(default_factory=lambda: {0: [], 1: [], 2: []})
    letters: list[str] = field(default_factory=list)
    outages: int = 0

    def apply_all(self, reads: Sequence[Read]) -> list[StateConflict | None]:
        """Take each whole, or raise before any is taken."""
        if self.outages:
            self.outages -= 1
            raise StateUnavailable("Redis is down")
        if any(message.value == b"bad" for one in reads for message in one.batch.messages):
            raise RecursionError("too deep")
        return [self._take(one.batch) for one in reads]

    def apply(self, one: Read, letters: Sequence[DeadLetter]) -> None:
        self.letters += [letter.source for letter in letters]
        [conflict] = self.apply_all([one])
        if conflict is not None:
            raise conflict

    def _take(self, batch: Batch) -> StateConflict | None:
        stored = self.next[batch.partition]
        if batch.start != stored:
            return StateConflict(f"partition {batch.partition}", batch.start, stored)
        self.values[batch.partition] += [message.value for message in batch.messages]
        self.next[batch.partition] = batch.next
        return None


def reading(*values: Sequence[bytes]) -> list[Read]:
    """A batch of each partition from 0 on."""
    return [
        Read(Batch(Topic.CLICKS, partition, 0, len(mine), [Message(n, value) for n, value in enumerate(mine)]))
        for partition, mine in enumerate(values)
    ]


def together(state: Partitions, cursor: Cursor, pauses: list[float] | None = None) -> ApplyTogether[Read]:
    one = ApplyOnce(read, state.apply, cursor, clock_ms=lambda: 7, pause_ms=250, sleep=lambda _: None)
    pause = pauses.append if pauses is not None else lambda _: None
    return ApplyTogether(state.apply_all, one, cursor, pause_ms=250, sleep=pause)


def test_batches_of_a_reading_are_applied_together_and_one_out_of_place_is_read_again() -> None:
    state, cursor = Partitions({0: 0, 1: 9, 2: 0}), Cursor()
    assert together(state, cursor)(reading([b"a"], [b"b"], [b"c", b"d"])) == 3
    assert state.values == {0: [b"a"], 1: [], 2: [b"c", b"d"]}
    assert (cursor.take_rewinds(), cursor.take_applied()) == ({1: 9}, {0: 1, 1: 9, 2: 2})


def test_a_connection_that_was_lost_is_tried_again_at_once_and_not_said(caplog: pytest.LogCaptureFixture) -> None:
    state, pauses, before = State(failures=[StateUnavailable("reset")]), list[float](), OUTAGE.failures
    assert once(state, Cursor(), pauses)(batch_of([b"a", b"b"])) == 2
    assert (pauses, caplog.text, OUTAGE.failures - before) == ([], "", 1)


def test_a_log_that_is_out_is_said_with_its_first_failure(caplog: pytest.LogCaptureFixture) -> None:
    state, pauses = State(failures=[LogUnavailable("no broker")]), list[float]()
    assert once(state, Cursor(), pauses)(batch_of([b"a", b"b"])) == 2
    assert pauses == [0.25]
    assert "waiting: no broker" in caplog.text


def test_an_outage_of_a_reading_is_waited_out() -> None:
    state, pauses = Partitions({0: 0, 1: 0}, outages=3), list[float]()
    assert together(state, Cursor(), pauses)(reading([b"a"], [b"b"])) == 2
    assert pauses == [0.25, 0.25]


def test_a_record_that_cannot_be_applied_keeps_no_other_of_its_reading_back() -> None:
    state, cursor = Partitions({0: 0, 1: 0, 2: 7}), Cursor()
    assert together(state, cursor)(reading([b"a"], [b"b", b"bad", b"c"], [b"d"])) == 3
    assert state.values == {0: [b"a"], 1: [b"b", b"c"], 2: []}
    assert (state.next, state.letters) == ({0: 1, 1: 3, 2: 7}, ["clicks:1:1"])
    assert (cursor.take_rewinds(), cursor.take_applied()) == ({2: 7}, {0: 1, 1: 3, 2: 7})


def test_a_batch_in_hand_that_the_log_lost_meanwhile_is_dropped_and_what_took_its_place_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, cursor, asked = State(failures=[StateUnavailable("Redis is down")]), Cursor(), list[Batch]()

    def lost(batch: Batch) -> bool:
        asked.append(batch)
        return False

    apply = ApplyOnce(read, state.apply, cursor, clock_ms=lambda: 7, pause_ms=1, still_logged=lost)
    assert apply(batch_of([b"a", b"b"])) == 0
    assert (state.values, cursor.take_rewinds(), len(asked)) == ([], {2: 5}, 1)
    assert "Redis lost records from 5 on" in caplog.text
    assert apply(batch_of([b"x"])) == 1  # nobody asks without an outage
    assert (state.values, len(asked)) == ([b"x"], 1)


def test_a_reading_in_hand_that_the_log_lost_meanwhile_is_dropped() -> None:
    state, cursor = Partitions({0: 0, 1: 0}, outages=1), Cursor()
    one = ApplyOnce(read, state.apply, cursor, clock_ms=lambda: 7, pause_ms=1)
    apply = ApplyTogether(state.apply_all, one, cursor, pause_ms=1, still_logged=lambda batch: batch.partition != 1)
    assert apply(reading([b"a"], [b"b"])) == 0
    assert (state.values[0], state.values[1], cursor.take_rewinds()) == ([], [], {0: 0, 1: 0})


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_redis_log_tells_whether_it_holds_what_was_read(redis_settings: RedisSettings, place: int) -> None:
    log = LogSettings(partitions=1)
    writer = open_writer(log, redis_settings)
    writer.append(Topic.CLICKS, [Record("s", b"%d" % n) for n in range(3)])

    def open_own(partitions: Sequence[int]) -> LogReader:
        return open_reader(log, redis_settings, Topic.CLICKS, partitions, "test")

    reader, look = open_own([0]), still_logged(log, open_own)
    [batch] = reader.poll(10, 0.1)
    reader.close()
    assert look(batch)
    with redis.Redis.from_url(redis_settings.url) as client:  # it lost its last records
        keys = Keys(redis_settings.prefix)
        for offset in range(place, 3):
            client.xdel(keys.log("clicks", 0), f"{offset}-1")
        client.set(keys.log_end("clicks", 0), place)
        if place:
            client.execute_command("XSETID", keys.log("clicks", 0), f"{place - 1}-1")
        else:
            client.delete(keys.log("clicks", 0))
    assert not look(batch)
    writer.append(Topic.CLICKS, [Record("s", b"other %d" % n) for n in range(5)])
    assert not look(batch)
    writer.close()
    assert still_logged(LogSettings(kind="kafka"), open_own)(batch)
