"""Two regions on this machine: the first is gone at once, the second knows its sessions, items, keys and scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NextclickError
from contracts.settings import LogSettings
from nextclick.stack.client import Client, GatewayRefused
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from state.ports import free_port
from tests.gateway.conftest import event

pytestmark = pytest.mark.slow


def stack_in(folder: Path) -> Stack:
    options = StackOptions(port=0, folder=folder)
    return Stack(StackSettings(stack=options, log=LogSettings(partitions=2)))


@dataclass
class Region:
    """`nextclick up`: killed, it ends with all its processes."""

    process: subprocess.Popen[bytes]
    url: str


@contextmanager
def region(folder: Path, **settings: str) -> Iterator[Region]:
    port = free_port()
    environment = {**os.environ, "NEXTCLICK_LOG__PARTITIONS": "2", **settings}
    command = [sys.executable, "-m", "nextclick", "up", "--folder", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Region(process, f"http://127.0.0.1:{port}")
        until(lambda: is_ready(found.url), 240)
        yield found
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        with Client(url) as client:
            return client.is_ready()
    except NextclickError:
        return False


def until(holds: Callable[[], bool], within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def knows(client: Client, session: str, count: int) -> bool:
    """Say whether a session has so many events."""
    seen: dict[str, Any] = client.recommend("homepage", session)["session"]
    return bool(seen["events"] == count)


def has_user(client: Client, user_id: str) -> bool:
    with suppress(GatewayRefused):
        return bool(client._call("GET", f"/api/users/{user_id}"))
    return False


def test_when_a_region_goes_the_other_answers_with_its_sessions_and_lacks_what_the_mirror_had_not_copied(
    tmp_path: Path,
) -> None:
    with region(tmp_path / "a") as first, stack_in(tmp_path / "b") as second, ExitStack() as left:
        redis = second.running_settings.redis
        (tmp_path / "b.toml").write_text(f'[redis]\nurl = "{redis.url}"\n[log]\npartitions = 2\n')
        environment = {
            **os.environ,
            "NEXTCLICK_REDIS__URL": (tmp_path / "a" / "redis" / "url").read_text().strip(),
            "NEXTCLICK_LOG__PARTITIONS": "2",
        }
        command = [sys.executable, "-m", "nextclick", "mirror", str(tmp_path / "b.toml"), "--documents-every", "1"]
        mirror = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        left.callback(mirror.wait)
        left.callback(mirror.kill)
        with Client(first.url) as there, Client(second.url) as here:
            items = [b'{"item_id":"i-%d","title":"Boot %d","category":"shoes"}' % (n, n) for n in range(9)]
            there.put_items(items)
            there._call("PUT", "/api/users/anna", b'{"sizes":{"shoes":"43"}}')
            for n in range(20):
                there.send_events([event(f"e-{n}", f"s-{n % 4}", f"i-{n % 9}")])
            until(lambda: all(knows(here, f"s-{n}", 5) for n in range(4)))
            until(lambda: has_user(here, "anna"))
            mirror.kill()  # behind by what follows
            mirror.wait()
            token = there.send_events([event("late", "s-0", "i-3")])["token"]
            assert token
            first.process.kill()
            first.process.wait()
            assert knows(here, "s-0", 5)  # one acknowledged event of the first region is not here
            answer = here.send_events([event("next", "s-0", "i-4")])
            until(lambda: knows(here, "s-0", 6))
            assert answer["accepted"] == 1
            assert {one["item_id"] for one in here.recommend("homepage", "s-0", limit=9)["recommendations"]}
