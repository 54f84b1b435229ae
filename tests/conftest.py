"""Fixtures that every room's tests share: a real Redis, fresh keys, a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis

pytest_plugins = ["tests.kafka_broker"]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One real Redis for the whole run. Tests keep apart by key prefix, never by flushing."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server:
        yield server


@pytest.fixture
def redis_settings(redis_server: EmbeddedRedis) -> RedisSettings:
    """Settings with a prefix that no other test uses."""
    return RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}")
