"""Dead letters are sent again through the door's own check; what is killed in between loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest

from contracts.ids import item_key, partition_of
from contracts.keys import CATALOGUE
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import DeadLetter, DeadLetterReader, KeptLetter, Topic
from eventlog.open_log import open_dead_letters, open_reader, open_writer
from gateway.letter_replay import Outcome, Replay
from state.sessions import SessionStore
from state.tables import TableWriter
from tests.eventlog.logs import Log, read_all

NOW_MS = time.time_ns() // 1_000_000
IDLE_GAP_MS = 30 * 60 * 1000


@pytest.fixture(params=["redis", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest, redis_settings: RedisSettings) -> Iterator[Log]:
    settings = LogSettings(partitions=4)
    if request.param == "kafka":
        settings = request.getfixturevalue("kafka_log_settings")
    found = Log(settings, redis_settings, lambda: None, lambda: None)
    yield found
    for opened in found.opened:
        opened.close()


def click(event_id: str, session_id: str = "s", **more: Any) -> bytes:
    document = {"v": 1, "event_id": event_id, "type": "view", "session_id": session_id, "item_id": "i", "ts": NOW_MS}
    return orjson.dumps({**document, **more})


def from_gateway(raw: bytes, session_id: str = "s") -> DeadLetter:
    return DeadLetter("gateway", partition_of(session_id, 4), "future_timestamp", "", NOW_MS, raw)


def from_log(topic: str, raw: bytes, offset: int = 7, partition: int = 1) -> DeadLetter:
    return DeadLetter(f"{topic}:{partition}:{offset}", partition, "invalid", "", NOW_MS, raw)


def replayed(log: Log, letters: DeadLetterReader) -> list[Outcome]:
    settings = ServiceSettings(redis=log.redis, log=log.settings)
    replay = Replay(settings, letters, log.writer(), lambda: NOW_MS)
    try:
        return list(replay.run(letters.kept()))
    finally:
        replay.close()


def refusals(log: Log) -> list[str]:
    return [outcome.refused.reason for outcome in replayed(log, log.letters()) if outcome.refused is not None]


def test_a_click_and_an_impression_are_taken_and_leave_the_list(log: Log) -> None:
    shown = click("e-2", type="impression", items=["a", "b"])
    log.writer().dead_letter([from_gateway(click("e-1", campaign="spring")), from_log("impressions", shown)])

    outcomes = replayed(log, log.letters())

    assert {(one.topic, one.refused) for one in outcomes} == {(Topic.CLICKS, None), (Topic.IMPRESSIONS, None)}
    [(partition, message)] = read_all(log.reader(), 1)
    assert orjson.loads(message.value) == orjson.loads(click("e-1", campaign="spring"))
    assert (partition, message.offset) in {one.position for one in outcomes}
    [(_, message)] = read_all(log.reader(Topic.IMPRESSIONS), 1)
    assert orjson.loads(message.value)["event_id"] == "e-2"
    assert log.letters().count() == 0


def test_a_catalogue_change_is_taken_and_a_stock_only_for_an_item_that_is_there(log: Log) -> None:
    put = orjson.dumps({"op": "put", "item_id": "new", "item": {"title": "New"}})
    stocks = [orjson.dumps({"op": "stock", "item_id": name, "stock": 3}) for name in ("new", "known", "nothing")]
    TableWriter(log.redis, CATALOGUE).commit({item_key("known").to_bytes(8, "little"): b"row"}, [])
    log.writer().dead_letter([from_log("items", raw, at) for at, raw in enumerate([put, *stocks])])

    outcomes = replayed(log, log.letters())

    assert [str(one.refused) for one in outcomes if one.refused is not None] == [
        "unknown_item: stock for 'nothing', which is not in the catalogue: put the item first"
    ]
    taken = [orjson.loads(message.value) for _, message in read_all(log.reader(Topic.ITEMS, group="items"), 3)]
    assert sorted((one["op"], one["item_id"]) for one in taken) == [
        ("put", "new"),
        ("stock", "known"),
        ("stock", "new"),
    ]
    assert [one.letter.source for one in log.letters().kept()] == ["items:1:3"]


@pytest.mark.parametrize(
    ("letter", "reason"),
    [
        (from_gateway(b"{"), "not_json"),
        (from_gateway(b"[" + b" " * 16_383), "cut"),
        (from_gateway(b'"click"'), "not_an_object"),
        (from_gateway(click("e-1", v=2)), "unknown_version"),
        (from_gateway(click("e-1", ts=NOW_MS + 600_000)), "future_timestamp"),
        (from_log("clicks", click("e-1", item_id=None)), "invalid"),
        (from_log("clicks", b"[" * 5000 + b"]" * 5000), "not_json"),
        (from_log("items", b'{"op":"put","item_id":"a","item":{}}'), "invalid"),
        (from_log("items", b"\xff"), "not_json"),
        (DeadLetter("items:4711:99", 0, "bad_row", "", NOW_MS, b"row"), "no_record"),
        (DeadLetter("sessions:1:99", 1, "bad_session", "", NOW_MS, b"row"), "no_record"),
        (DeadLetter("trends:1:99", 0, "bad_row", "", NOW_MS, b"row"), "no_record"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_refused_again_says_why_and_stays_as_it_was(
    redis_settings: RedisSettings, letter: DeadLetter, reason: str
) -> None:
    log = Log(LogSettings(partitions=4), redis_settings, lambda: None, lambda: None)
    log.writer().dead_letter([letter])
    assert refusals(log) == [reason]
    assert [one.letter for one in log.letters().kept()] == [letter]
    assert set(log.reader().ends().values()) == {0}
    assert set(log.reader(Topic.ITEMS).ends().values()) == {0}


def test_a_click_whose_session_has_closed_is_refused_here_and_not_by_the_flow_later(log: Log) -> None:
    partition, watermark_ms = partition_of("s", 4), NOW_MS
    store = SessionStore(log.redis, idle_gap_ms=IDLE_GAP_MS)
    store.commit(partition, start=0, next=1, watermark_ms=watermark_ms, sessions={}, counts={})
    store.close()
    old, in_time = (
        click(name, ts=watermark_ms - behind) for name, behind in (("old", IDLE_GAP_MS + 1), ("in time", 9))
    )
    log.writer().dead_letter([from_gateway(old), from_gateway(in_time)])

    outcomes = replayed(log, log.letters())

    assert [one.refused.reason if one.refused else None for one in outcomes] == ["late", None]
    assert [orjson.loads(message.value)["event_id"] for _, message in read_all(log.reader(), 1)] == ["in time"]
    assert [one.letter.raw for one in log.letters().kept()] == [old]


class Killed(Exception):
    """Stands for the end of the process."""


class Interrupted:
    """The letters, to a command that is killed when it has appended and is about to remove."""

    def __init__(self, letters: DeadLetterReader) -> None:
        self._letters = letters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._letters, name)

    def remove(self, letters: Sequence[KeptLetter]) -> None:
        raise Killed


def test_a_kill_between_log_and_list_loses_nothing_and_the_event_comes_twice_with_its_id(log: Log) -> None:
    log.writer().dead_letter([from_gateway(click("e-1")), from_gateway(b"{")])

    with pytest.raises(Killed):
        replayed(log, Interrupted(log.letters()))  # type: ignore[arg-type]
    assert log.letters().count() == 2

    replayed(log, log.letters())
    assert [one.letter.raw for one in log.letters().kept()] == [b"{"]
    assert [orjson.loads(message.value)["event_id"] for _, message in read_all(log.reader(), 2)] == ["e-1", "e-1"]


def test_the_clicks_of_a_session_keep_their_order_over_many_letters(redis_settings: RedisSettings) -> None:
    settings = LogSettings(partitions=4)
    writer = open_writer(settings, redis_settings)
    writer.dead_letter([from_gateway(click(f"e-{n}")) for n in range(450)])
    letters = open_dead_letters(settings, redis_settings)
    replay = Replay(ServiceSettings(redis=redis_settings, log=settings), letters, writer, lambda: NOW_MS)
    assert sum(outcome.position is not None for outcome in replay.run(letters.kept())) == 450
    reader = open_reader(settings, redis_settings, Topic.CLICKS, [0, 1, 2, 3], "sessions")
    found = [orjson.loads(message.value)["event_id"] for _, message in read_all(reader, 450)]
    assert found == [f"e-{n}" for n in range(450)]
    for opened in (replay, letters, writer, reader):
        opened.close()


def test_a_record_larger_than_the_log_takes_is_refused_alone(log: Log) -> None:
    log.settings = log.settings.model_copy(update={"max_record_bytes": 1000})
    log.writer().dead_letter([from_log("clicks", click("e-1", note="x" * 1000)), from_log("clicks", click("e-2"), 8)])

    outcomes = replayed(log, log.letters())

    assert [one.refused.reason if one.refused is not None else None for one in outcomes] == ["too_large", None]
    [(_, message)] = read_all(log.reader(), 1)
    assert orjson.loads(message.value)["event_id"] == "e-2"
    assert log.letters().count() == 1
