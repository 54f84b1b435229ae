"""The log as a source: where it resumes, what it tells the log, and what it does about lost records."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest

from contracts.errors import LogUnavailable, OffsetTrimmed
from eventlog.contract import Batch, Message, Topic
from flows import log_source
from flows.log_source import Cursor, LogSource, Reading
from flows.settings import FlowOptions
from state.flow_members import FlowMembers


class ListReader:
    """A log reader at the edge: partition 0 holds offsets `oldest` to `end`."""

    def __init__(self, oldest: int, end: int) -> None:
        self.oldest, self.end, self.at = oldest, end, 0
        self.committed: dict[int, int] = {}
        self.failures: list[Exception] = []

    def seek(self, partition: int, offset: int) -> None:
        self.at = offset

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        if self.failures:
            raise self.failures.pop()
        if self.at < self.oldest:
            raise OffsetTrimmed("clicks", 0, self.at, self.oldest)
        stop = min(self.at + max_records, self.end)
        messages = [Message(offset, b"") for offset in range(self.at, stop)]
        start, self.at = self.at, stop
        return [Batch(Topic.CLICKS, 0, start, stop, messages)] if messages else []

    def ends(self) -> Mapping[int, int]:
        return {0: self.end}

    def earliest(self) -> Mapping[int, int]:
        return {0: self.oldest}

    def commit(self, partition: int, next_offset: int) -> None:
        self.committed[partition] = next_offset

    def close(self) -> None: ...


class Trickle(ListReader):
    """A reader of a log that takes a record each `every_s`."""

    def __init__(self, every_s: float) -> None:
        super().__init__(0, 0)
        self.every_s, self.began, self.readings = every_s, time.monotonic(), 0

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        self.readings += 1
        time.sleep(max(0.0, self.began + (self.at + 1) * self.every_s - time.monotonic()))
        self.end = int((time.monotonic() - self.began) / self.every_s)
        return super().poll(max_records, max_wait_s)


def source_of(reader: ListReader, cursor: Cursor, stored: int = 0, gather_s: float = 0.0) -> LogSource:
    def open_reader(partitions: Sequence[int]) -> ListReader:
        return reader

    return LogSource(
        partitions=1,
        open_reader=open_reader,
        stored_offset=lambda _: stored,
        cursor=cursor,
        options=FlowOptions(batch_records=10),
        gather_s=gather_s,
    )


class Members(FlowMembers):
    """Members at the edge: what is this process's is said by the test."""

    def __init__(self, mine: list[int]) -> None:
        self.mine, self.looks = mine, 0

    def join(self) -> None: ...

    def look(self) -> None:
        self.looks += 1

    def share(self) -> list[int]:
        return self.mine


def spans(readings: Sequence[Reading]) -> list[tuple[int, int, int]]:
    return [(batch.start, batch.next, len(batch.messages)) for reading in readings for batch in reading]


def test_a_partition_resumes_at_the_offset_beside_its_state() -> None:
    worker = source_of(ListReader(0, 25), Cursor(), stored=20).build("read", 0, 1)
    assert spans(worker.next_batch()) == [(20, 25, 5)]


def test_a_batch_refused_by_the_state_is_read_again_from_the_stored_offset() -> None:
    cursor = Cursor()
    worker = source_of(ListReader(0, 25), cursor).build("read", 0, 1)
    assert spans(worker.next_batch()) == [(0, 10, 10)]
    cursor.rewind(0, 4)
    assert spans(worker.next_batch()) == [(4, 14, 10)]


def test_records_that_the_log_lost_are_stepped_over_so_that_the_state_can_go_on() -> None:
    worker = source_of(ListReader(12, 25), Cursor(), stored=3).build("read", 0, 1)
    assert worker.next_batch() == []
    assert spans(worker.next_batch()) == [(3, 22, 10)]
    assert spans(worker.next_batch()) == [(22, 25, 3)]


def test_an_outage_of_the_log_is_waited_out() -> None:
    reader = ListReader(0, 5)
    worker = source_of(reader, Cursor()).build("read", 0, 1)
    reader.failures.append(LogUnavailable("down"))
    assert worker.next_batch() == []
    assert worker.next_awake() is not None
    assert spans(worker.next_batch()) == [(0, 5, 5)]
    assert worker.next_awake() is None


def test_the_log_is_told_what_was_applied() -> None:
    reader, cursor = ListReader(0, 5), Cursor()
    worker = source_of(reader, cursor).build("read", 0, 1)
    cursor.applied(0, 5)
    worker.next_batch()
    assert reader.committed == {0: 5}


def test_records_that_come_often_one_by_one_are_read_together() -> None:
    reader = Trickle(every_s=0.002)
    worker = source_of(reader, Cursor(), gather_s=0.01).build("read", 0, 1)
    offsets = []
    while reader.at < 300:
        offsets += [message.offset for reading in worker.next_batch() for message in reading[0].messages]
    assert offsets == list(range(reader.at))
    assert reader.readings < 150


def test_nothing_is_waited_for_while_more_is_there_than_one_reading_takes() -> None:
    reader = ListReader(0, 10_000)
    worker = source_of(reader, Cursor(), gather_s=60.0).build("read", 0, 1)
    assert spans([worker.next_batch()[0] for _ in range(1000)])[-1] == (9990, 10_000, 10)


def test_the_first_record_after_a_silence_is_read_at_once() -> None:
    reader = ListReader(0, 1)
    worker = source_of(reader, Cursor(), gather_s=60.0).build("read", 0, 1)
    assert spans(worker.next_batch()) == [(0, 1, 1)]
    assert worker.next_batch() == []


def test_among_members_a_partition_is_put_down_with_what_was_applied_and_taken_up_where_the_state_stands() -> None:
    reader, cursor, members, stored = ListReader(0, 100), Cursor(), Members([0]), [0]
    source = source_of(reader, cursor)
    source.members, source.stored_offset = members, lambda _: stored[0]
    worker = source.build("read", 0, 1)
    assert spans(worker.next_batch()) == [(0, 10, 10)]
    cursor.applied(0, 10)
    members.mine = []
    assert worker.next_batch() == []
    assert reader.committed == {0: 10}
    assert worker.next_awake() is not None  # and looks again
    cursor.applied(0, 20)  # a batch that was under way
    stored[0] = 70  # by whoever had it meanwhile
    members.mine = [0]
    assert spans(worker.next_batch()) == [(70, 80, 10)]
    assert reader.committed == {0: 10}, "what was under way is not told as if it were newer"


def test_among_members_who_is_refused_looks_who_is_there_before_it_reads_again() -> None:
    cursor, members = Cursor(), Members([0])
    source = source_of(ListReader(0, 100), cursor)
    source.members = members
    worker = source.build("read", 0, 1)
    worker.next_batch()
    cursor.rewind(0, 4)
    assert (worker.next_batch(), members.looks) == ([], 1)
    assert spans(worker.next_batch()) == [(4, 14, 10)]
    assert members.looks == 1


def test_partitions_are_dealt_out_to_workers() -> None:
    dealt = []

    def open_reader(partitions: Sequence[int]) -> ListReader:
        dealt.append(list(partitions))
        return ListReader(0, 0)

    source = LogSource(
        partitions=5, open_reader=open_reader, stored_offset=lambda _: 0, cursor=Cursor(), options=FlowOptions()
    )
    for worker in range(2):
        source.build("read", worker, 2).next_batch()
    assert dealt == [[0, 2, 4], [1, 3]]


class WaitingReader(ListReader):
    """Notes how long it was to wait for records."""

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.waits: list[float] = []

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        self.waits.append(max_wait_s)
        return super().poll(max_records, max_wait_s)


def test_a_worker_waits_longer_while_nothing_comes_and_briefly_after_something_did() -> None:
    reader, more = WaitingReader(), iter([False] * 7 + [False, True, False])
    source = source_of(reader, Cursor())
    source.when_idle = lambda: next(more)
    worker = source.build("read", 0, 1)
    for _ in range(7):
        worker.next_batch()
    assert reader.waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    reader.end = 1
    for _ in range(4):  # a record; nothing; more of what is done when idle; nothing
        worker.next_batch()
    assert reader.waits[7:] == [0.5, 0.02, 0.04, 0.02]


def test_a_state_that_went_back_is_noticed_and_what_it_lost_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_source, "LOOK_AT_STATE_S", 0.0)
    stored, cursor = {0: 20}, Cursor()
    source = source_of(ListReader(0, 25), cursor)
    source.stored_offset = stored.__getitem__
    worker = source.build("read", 0, 1)
    assert spans(worker.next_batch()) == [(20, 25, 5)]
    stored[0] = 25
    cursor.applied(0, 25)
    assert worker.next_batch() == []
    stored[0] = 0  # emptied, and nothing new comes
    assert spans(worker.next_batch()) == [(0, 10, 10)]
