"""What a writer says once of a Redis that cannot promise what is expected of it; it writes there all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogWriter
from state.embedded import EmbeddedRedis

pytestmark = pytest.mark.usefixtures("redis_family")

LOG = LogSettings(partitions=1)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[RedisSettings]:
    with EmbeddedRedis(tmp_path) as server:
        yield RedisSettings(url=server.url, timeout_ms=60_000)


def tell(settings: RedisSettings, *command: str) -> None:
    with redis.Redis.from_url(settings.url) as client:
        client.execute_command(*command)


def said(settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Append three times; return what was logged of it, without where Redis is."""
    writer = RedisLogWriter(LOG, settings)
    for _ in range(3):
        writer.append(Topic.CLICKS, [Record("anna", b"x")])
    writer.close()
    return [message.removeprefix(f"Redis at {settings.place} ") for message in caplog.messages]


def test_the_embedded_redis_is_what_is_expected(settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> None:
    assert said(settings, caplog) == []


def test_a_redis_without_an_append_only_file_is_said_once(
    settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    tell(settings, "CONFIG", "SET", "appendonly", "no")
    assert said(settings, caplog) == [
        "keeps no append-only file: what it takes is gone when it ends. Set appendonly to yes"
    ]


def test_how_often_a_file_that_there_is_not_would_be_synced_is_not_said(
    settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    tell(settings, "CONFIG", "SET", "appendonly", "no")
    tell(settings, "CONFIG", "SET", "appendfsync", "everysec")
    assert said(settings, caplog) == [
        "keeps no append-only file: what it takes is gone when it ends. Set appendonly to yes"
    ]


def test_a_redis_that_answers_before_it_writes_is_said_once(
    settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    tell(settings, "CONFIG", "SET", "appendfsync", "everysec")
    assert said(settings, caplog) == [
        "has appendfsync everysec: it may answer two seconds before it writes. Set it to no or always"
    ]


def test_a_redis_that_may_not_be_asked_is_said_once(settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> None:
    tell(settings, "ACL", "SETUSER", "default", "-ping", "-info", "-config", "resetkeys", "~nc:*")
    denied, unknown = said(settings, caplog)
    assert denied.startswith("refuses to tell whether it keeps an append-only file (")
    assert unknown.startswith("refuses to tell whether it wrote what it answered for (")
    assert unknown.endswith("): that is not checked")


async def test_the_event_loops_writer_looks_too(settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> None:
    tell(settings, "CONFIG", "SET", "appendonly", "no")
    writer = RedisAsyncLogWriter(LOG, settings)
    await writer.append(Topic.CLICKS, [Record("anna", b"x")])
    await writer.append(Topic.CLICKS, [Record("anna", b"x")])
    await writer.close()
    assert len(caplog.messages) == 1
