"""What goes for its age, by settings."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from contracts.codec import EndedSession, encode_ended
from contracts.keys import ENDED, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.files import write_events
from eventlog.open_log import open_dead_letters, open_reader, open_writer
from gateway.retention import Retention
from gateway.settings import AnswerOptions, GatewaySettings, RecordOptions, RetentionOptions
from state.audit import ADMIN, CATALOGUE, AuditLog
from state.client import connect
from state.exposures import Exposures, Shown
from state.tables import TableReader, TableWriter

NOW = 1_800_000_000_000
DAY = timedelta(days=1)
DAY_MS = 86_400_000
LOG = LogSettings(partitions=2)


def looking(redis: RedisSettings, *, record: str = "", answers: str = "", **options: Any) -> Retention:
    settings = GatewaySettings(
        redis=redis,
        log=LOG,
        retention=RetentionOptions(**options),
        record=RecordOptions(to=record),
        answers=AnswerOptions(to=answers),
    )
    return Retention(settings, lambda: NOW)


def record(session_id: str, ts: int) -> Record:
    return Record(session_id, orjson.dumps({"ts": ts, "session_id": session_id}))


@pytest.fixture
def logged(redis_settings: RedisSettings) -> list[int]:
    """Clicks of one session: two from before a day ago, one that cannot be read, one newer, and one older again."""
    times = [NOW - 3 * DAY_MS, NOW - 2 * DAY_MS, NOW - 1000, NOW - 2 * DAY_MS]
    with closing(open_writer(LOG, redis_settings)) as writer:
        records = [record("s-1", ts) for ts in times]
        records.insert(2, Record("s-1", b"not JSON"))
        writer.append(Topic.CLICKS, records)
        writer.append(Topic.IMPRESSIONS, records)
    return times


def left(redis: RedisSettings, topic: Topic) -> int:
    with closing(open_reader(LOG, redis, topic, range(2), "a test")) as reader:
        earliest = reader.earliest()
        return sum(end - earliest[partition] for partition, end in reader.ends().items())


def applied(redis: RedisSettings, group: str, offset: int) -> None:
    with closing(connect(redis)) as client:
        for partition in range(2):
            client.hset(Keys(redis.prefix).log_groups("clicks", partition), group, offset)


def test_old_records_go_up_to_the_first_that_is_not(redis_settings: RedisSettings, logged: list[int]) -> None:
    applied(redis_settings, "sessions", 5)
    retention = looking(redis_settings, log=DAY)
    retention.look()
    assert (left(redis_settings, Topic.CLICKS), left(redis_settings, Topic.IMPRESSIONS)) == (2, 2)
    retention.look()
    assert retention.gone["log"] == 6
    looking(redis_settings, log=timedelta(milliseconds=500)).look()
    assert (left(redis_settings, Topic.CLICKS), left(redis_settings, Topic.IMPRESSIONS)) == (0, 0)


def test_what_flows_have_not_applied_stays_whatever_its_age(redis_settings: RedisSettings, logged: list[int]) -> None:
    looking(redis_settings, log=DAY).look()
    assert left(redis_settings, Topic.CLICKS) == 5
    applied(redis_settings, "sessions", 5)
    applied(redis_settings, "trends:hold", 1)
    looking(redis_settings, log=DAY).look()
    assert left(redis_settings, Topic.CLICKS) == 4


def test_a_log_goes_on_where_all_of_it_was_too_old(redis_settings: RedisSettings, logged: list[int]) -> None:
    applied(redis_settings, "sessions", 5)
    looking(redis_settings, log=timedelta(milliseconds=500)).look()
    with closing(open_writer(LOG, redis_settings)) as writer:
        [position] = writer.append(Topic.CLICKS, [record("s-1", NOW)])
    assert position.offset == 5
    assert left(redis_settings, Topic.CLICKS) == 1


def test_old_dead_letters_go(redis_settings: RedisSettings) -> None:
    with closing(open_writer(LOG, redis_settings)) as writer:
        writer.dead_letter(
            [DeadLetter("gateway", at % 2, "invalid", f"{at}", NOW - at * DAY_MS // 2, b"x") for at in (5, 4, 3, 1, 0)]
        )
    looking(redis_settings, dead_letters=DAY).look()
    with closing(open_dead_letters(LOG, redis_settings)) as reader:
        assert sorted(kept.letter.detail for kept in reader.kept()) == ["0", "1"]


def test_old_lines_of_the_audit_log_go(redis_settings: RedisSettings) -> None:
    with closing(connect(redis_settings)) as client, closing(AuditLog(redis_settings)) as audit:
        for about in (ADMIN, CATALOGUE):
            key = Keys(redis_settings.prefix).audit(about)
            client.xadd(key, {"e": b"{}"}, id=f"{NOW - 2 * DAY_MS}-0")
            client.xadd(key, {"e": b"{}"}, id=f"{NOW}-0")
        looking(redis_settings, audit=DAY).look()
        assert [len(list(audit.newest(about))) for about in (ADMIN, CATALOGUE)] == [1, 1]


def test_old_recordings_go_and_what_is_none_stays(redis_settings: RedisSettings, tmp_path: Path) -> None:
    for name in ("recorded-20260101T000000-1-1", "recorded-20260102T000000-1-2", "mine"):
        write_events(tmp_path / f"{name}.jsonl.zst", [b'{"ts":1,"type":"view","session_id":"s","item_id":"i"}'])
    for name in ("recorded-20260101T000000-1-1", "mine"):
        os.utime(tmp_path / f"{name}.jsonl.zst", (0, NOW / 1000 - 2 * 86_400))
    os.utime(tmp_path / "recorded-20260102T000000-1-2.jsonl.zst", (0, NOW / 1000))
    looking(redis_settings, record=str(tmp_path), recordings=DAY).look()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mine.jsonl.zst",
        "recorded-20260102T000000-1-2.jsonl.zst",
    ]


def test_kept_answers_go_for_their_age_where_no_new_file_is_begun(
    redis_settings: RedisSettings, tmp_path: Path
) -> None:
    for name in ("answers-20200101T000000-1.kept", "answers-20270115T070000-1.kept"):
        (tmp_path / name).write_bytes(b"")
    looking(redis_settings, answers=str(tmp_path)).look()
    assert [path.name for path in tmp_path.iterdir()] == ["answers-20270115T070000-1.kept"]


def test_ended_sessions_go_when_they_began_too_long_ago(redis_settings: RedisSettings) -> None:
    rows = {at.to_bytes(8, "little"): NOW - at * DAY_MS // 2 for at in range(5)}
    items = np.array([1, 2], np.uint64)
    with (
        closing(TableWriter(redis_settings, ENDED)) as writer,
        closing(TableReader(redis_settings, ENDED)) as reader,
    ):
        writer.commit({key: encode_ended(EndedSession(began, items)) for key, began in rows.items()})
        looking(redis_settings, ended=DAY).look()
        assert sorted(key[0] for page in reader.rows() for key, _ in page) == [0, 1, 2]


def test_nothing_looks_where_no_setting_asks(redis_settings: RedisSettings) -> None:
    assert not looking(redis_settings).is_asked
    assert looking(redis_settings, log=DAY).is_asked
    assert looking(redis_settings, answers="x").is_asked


async def test_shown_pages_are_remembered_as_long_as_is_set(redis_settings: RedisSettings) -> None:
    exposures = Exposures(redis_settings, partitions=1, kept_s=120)
    await exposures.note("v", Shown(1, [2]))
    await exposures.take("v", "push", Shown(1, [2]), since_ms=0, most=1)
    keys = Keys(redis_settings.prefix)
    with closing(connect(redis_settings)) as client:
        assert 60 < client.ttl(keys.exposures(0, "v")) <= 120
        assert 60 < client.ttl(keys.sent(0, "push", "v")) <= 120
    await exposures.close()
