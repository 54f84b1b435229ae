"""Calls over one connection: each keeps to its own time limit, whatever was sent before it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis
from state.redis_line import RedisLine, packed

pytestmark = pytest.mark.usefixtures("redis_family")


async def test_a_call_after_a_greeting_with_a_password_keeps_its_own_time_limit(tmp_path: Path) -> None:
    """The greeting may take as long as the settings say; its timer is not the next call's."""
    with EmbeddedRedis(tmp_path) as server:
        line = RedisLine(RedisSettings(url=server.url, timeout_ms=600_000), within_s=0.2)
        assert await line.call(packed((b"PING",)), 1) == [b"PONG"]
        os.kill(server.pid, signal.SIGSTOP)
        began = monotonic()
        try:
            with pytest.raises(TimeoutError):
                await line.call(packed((b"PING",)), 1)
            assert monotonic() - began < 30
        finally:
            os.kill(server.pid, signal.SIGCONT)
            await line.close()
