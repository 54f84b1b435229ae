"""Fixtures that every room's tests share: a real Redis, fresh keys, a real broker.

No test may fail because the machine is slow, or stood still for a while: whatever has a time limit by default is given
a long one here, and a test that is about a limit sets its own.
"""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from contracts.loaded import loading
from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis

pytest_plugins = [
    *("tests.alone", "tests.browser", "tests.certificates", "tests.collecting", "tests.command_line"),
    *("tests.kafka_broker", "tests.kafka_tls", "tests.slow", "tests.small_disk", "tests.stale", "tests.tls_redis"),
]

PATIENT_MS = 60_000
os.environ.setdefault("NEXTCLICK_REDIS__TIMEOUT_MS", str(PATIENT_MS))  # for the processes that tests start
os.environ.setdefault("NEXTCLICK_GATEWAY__VISIBLE_WAIT_MS", str(PATIENT_MS))
os.environ.setdefault("NEXTCLICK_GATEWAY__DEADLINE_MS", "10000")
os.environ.setdefault("NEXTCLICK_GATEWAY__DRAIN_S", "60")

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector still while modules are imported."""
    with loading():
        return (yield)


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over all that was imported, also where a test has it collect: half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One real Redis for the whole run. Tests keep apart by key prefix, never by flushing."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server:
        yield server


@pytest.fixture
def redis_settings(redis_server: EmbeddedRedis) -> RedisSettings:
    """Settings with a prefix that no other test uses."""
    return RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=PATIENT_MS)
