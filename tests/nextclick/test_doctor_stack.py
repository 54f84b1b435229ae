"""`nextclick doctor` on a stack that serves: planted faults have their lines, and it is well again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from nextclick.stack.client import Client
from nextclick.stack.doctor.checks import findings
from nextclick.stack.doctor.gather import gather
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from tests.nextclick.test_stack_faults import ITEMS, takes, view
from tests.processes import wait_for

pytestmark = pytest.mark.slow


def test_planted_faults_have_their_lines_and_a_stack_that_is_well_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "stack"

    def names() -> list[str]:
        return [one.name for one in findings(gather({"stack.folder": folder}))]

    with Stack(StackSettings(stack=StackOptions(port=0, folder=folder))) as stack, Client(stack.url) as client:
        assert client.put_items(ITEMS)["visible"] is True
        assert takes(client, [view("s")])
        wait_for(lambda: names() == [])
        with stopped(stack, "trends"):
            assert takes(client, [view("s")])
            assert names() == ["flow trends"]
        wait_for(lambda: names() == [])
        with redis.Redis.from_url(stack.redis_url) as own:
            held = own.config_get("maxmemory")["maxmemory"]
            own.config_set("maxmemory", 1)
            assert names()[0] == "redis writes"
            own.config_set("maxmemory", held)
            wait_for(lambda: names() == [])
            own.config_set("maxmemory-policy", "allkeys-lru")
            assert names() == ["redis policy"]
            own.config_set("maxmemory-policy", "volatile-lru")
        (folder / "logs").chmod(0o755)
        assert names() == ["private files"]
        (folder / "logs").chmod(0o700)
        assert stack.redis is not None
        with frozen(stack.redis.pid):
            assert names()[0] == "redis"
            assert set(names()) <= {"redis", "gateway ready", "gateway"}
        wait_for(lambda: names() == [])
    assert names() == ["stack"]


@contextmanager
def stopped(stack: Stack, part: str) -> Iterator[None]:
    process = stack.child(part).process
    assert process is not None
    with frozen(process.pid):
        yield


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
