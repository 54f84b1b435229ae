"""Who holds the keys of one Redis: another one each time that it starts, and what it does not tell."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import connect
from state.embedded import EmbeddedRedis
from state.holders import expect_same, holders_of, replicas_have, slot_holder, walking, written_to


def test_a_redis_that_began_anew_is_another_holder(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        with closing(connect(settings)) as client:
            before = holders_of(client, settings)
            expect_same(before, holders_of(client, settings))
            assert replicas_have(client, settings, written_to(client, settings))
            server.kill()
            server.start()
            with walking(client, settings):  # one Redis has all keys, whenever it began
                pass
            with pytest.raises(StateUnavailable, match="Redis began anew"):
                expect_same(before, holders_of(client, settings))
        assert slot_holder(settings, "key") is None


def test_one_that_may_not_be_asked_is_taken_at_its_word(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        with closing(connect(RedisSettings(url=server.url))) as admin:
            admin.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~*", "+@all", "-info")
        settings = RedisSettings(url=server.url.replace(server.url.split("@")[0], "redis://hosted:pw"))
        with closing(connect(settings)) as client:
            assert [one.run for one in holders_of(client, settings)] == [""]
            assert replicas_have(client, settings, written_to(client, settings))
