"""A Redis that is not the stack's own, and does not answer."""

from __future__ import annotations

import re

import pytest

from contracts.errors import StartupError
from contracts.settings import RedisSettings
from nextclick.stack.other_redis import await_redis
from state.ports import free_port


def test_it_is_named_while_it_is_waited_for_and_when_it_has_not_come(caplog: pytest.LogCaptureFixture) -> None:
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(StartupError, match=re.escape(f"no answer in 0.5 s: expected an answer from Redis at {place}")):
        await_redis(RedisSettings(url=f"redis://{place}/0"), 0.5)
    [waiting] = caplog.messages
    assert waiting.startswith(f"waiting up to 0.5 s: expected an answer from Redis at {place}")


def test_one_that_answers_is_not_waited_for(redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> None:
    await_redis(redis_settings, 0.5)
    assert caplog.messages == []
