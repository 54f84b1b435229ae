"""One real gateway, with the flows' steps beside it, for all tests of a client; the Python client on the path."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.settings import LogSettings, RedisSettings
from state.embedded import EmbeddedRedis
from tests.console_gateway import gateway
from tests.gateway.streams import Streams

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
sys.path.insert(0, str(CLIENTS / "python" / "src"))


@pytest.fixture(scope="package")
def gateway_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """Serve in a thread; tests keep apart by their ids."""
    redis = RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)
    with Streams(LogSettings(partitions=4), redis), gateway(redis) as url:
        yield url


@pytest.fixture
def name() -> str:
    """A word that no other test uses."""
    return uuid.uuid4().hex[:8]
