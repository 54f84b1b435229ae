"""Recording from a real log, of both kinds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import SettingsError
from contracts.ids import partition_of
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.files import read_events, read_header
from eventlog.open_log import open_writer
from eventlog.sampling import in_sample
from replay.engine.anonymise import Anonymiser
from replay.engine.record import From, RecordOptions, record_log


@pytest.fixture(params=["redis", pytest.param("kafka", marks=pytest.mark.kafka)])
def service(request: pytest.FixtureRequest, redis_settings: RedisSettings) -> ServiceSettings:
    """Settings of a real log of its own, Redis or Kafka."""
    log = LogSettings(partitions=4) if request.param == "redis" else request.getfixturevalue("kafka_log_settings")
    return ServiceSettings(redis=redis_settings, log=log)


def fields(n: int, session: str, **more: Any) -> dict[str, Any]:
    ts = 1_700_000_000_000 + n * 10
    return {
        "v": 1,
        "event_id": f"e{n}",
        "type": "view",
        "session_id": session,
        "item_id": f"i{n % 3}",
        "ts": ts,
        **more,
    }


def append(service: ServiceSettings, events: list[dict[str, Any]], topic: Topic = Topic.CLICKS) -> None:
    writer = open_writer(service.log, service.redis)
    writer.append(topic, [Record(event["session_id"], orjson.dumps(event)) for event in events])
    writer.close()


def test_the_log_is_recorded_in_time_order_clicks_and_impressions(service: ServiceSettings, tmp_path: Path) -> None:
    append(service, [fields(n, f"s{n % 5}", campaign="x") for n in range(40)])
    shown = {**fields(7, "s2"), "event_id": "shown", "type": "impression", "items": ["i1", "i9"]}
    append(service, [shown], Topic.IMPRESSIONS)
    writer = open_writer(service.log, service.redis)
    writer.append(Topic.CLICKS, [Record("s1", b"not json"), Record("s1", b'{"v":9}')])
    writer.close()
    out = tmp_path / "log.jsonl.zst"
    recorded = record_log(RecordOptions(out), service)
    assert recorded.header == read_header(out)
    assert (recorded.taken, recorded.broken, recorded.trimmed) == (41, {"not_json": 1, "unknown_version": 1}, 0)
    events = list(read_events(out))
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert {event.event_id for event in events} == {"shown", *(f"e{n}" for n in range(40))}
    assert events[0].model_extra == {"campaign": "x"}


def test_a_sample_of_the_log_holds_whole_sessions_and_can_be_anonymised(
    service: ServiceSettings, tmp_path: Path
) -> None:
    append(service, [fields(n, f"s{n % 50}") for n in range(150)])
    out = tmp_path / "log.jsonl.zst"
    recorded = record_log(RecordOptions(out, share=0.2), service, anonymiser=Anonymiser(b"k" * 16))
    sampled = sum(in_sample(f"s{n}", 0.2) for n in range(50))
    assert recorded.header is not None
    assert (recorded.header.sessions, recorded.header.events) == (sampled, 3 * sampled)
    assert recorded.header.anonymised
    assert 2 <= sampled <= 20


def test_recording_from_now_on_takes_what_arrives_and_stops_in_time(service: ServiceSettings, tmp_path: Path) -> None:
    append(service, [fields(1, "before")])
    out = tmp_path / "log.jsonl.zst"
    begun, looks = threading.Event(), 0

    def arrive() -> None:
        begun.wait()
        append(service, [fields(n, "during") for n in range(100, 105)])

    def seconds() -> float:
        """A tenth of a second from look to look, of which the first is when recording begins."""
        nonlocal looks
        if looks == 0:
            begun.set()
        elif looks == 1:
            arriving.join()
        looks += 1
        return looks / 10

    arriving = threading.Thread(target=arrive)
    arriving.start()
    recorded = record_log(RecordOptions(out, start=From.NOW, seconds=2.0), service, clock=seconds)
    assert {event.session_id for event in read_events(out)} == {"during"}
    assert recorded.taken == 5
    assert looks >= 20


def test_what_the_log_let_go_is_counted_not_waited_for(redis_settings: RedisSettings, tmp_path: Path) -> None:
    service = ServiceSettings(redis=redis_settings, log=LogSettings(partitions=1, kept_records=10))
    for start in range(0, 2000, 500):
        append(service, [fields(n, "s") for n in range(start, start + 500)], Topic.IMPRESSIONS)
    append(service, [fields(5000, "s")])
    recorded = record_log(RecordOptions(tmp_path / "log.jsonl"), service)
    assert partition_of("s", 1) == 0
    assert 11 <= recorded.taken < 2001
    assert recorded.header is not None
    assert recorded.header.last_ms == fields(5000, "s")["ts"]


@pytest.mark.parametrize("share", [0.0, 1.2])
def test_a_sample_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="share above 0"):
        RecordOptions(Path("x"), share=share)


def test_from_now_asks_how_long() -> None:
    with pytest.raises(SettingsError, match="--seconds"):
        RecordOptions(Path("x"), start=From.NOW)
