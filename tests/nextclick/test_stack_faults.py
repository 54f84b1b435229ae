"""Faults under a running stack: whatever dies, the rest serves on, and what died comes back."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from tests.processes import descendants_of, wait_for

pytestmark = pytest.mark.slow

FOLLOWERS = ("gateway-0", "sessions", "items", "trends")
"""Processes that meet an outage of Redis."""

ITEMS = [f'{{"item_id": "p{n}", "title": "item {n}", "category": "things", "stock": 9}}'.encode() for n in range(50)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path_factory.mktemp("stack")))) as running:
        with Client(running.url) as client:
            assert client.put_items(ITEMS)["visible"] is True
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as made:
        yield made


def view(session: str, item_id: str = "p1") -> dict[str, Any]:
    event = {"v": 1, "event_id": uuid.uuid4().hex, "type": "view", "session_id": session, "item_id": item_id}
    return {**event, "ts": time.time_ns() // 1_000_000}


def takes(client: Client, events: list[dict[str, Any]]) -> bool:
    try:
        return int(client.send_events(events)["accepted"]) == len(events)
    except Exception:
        return False


def clicks_of(client: Client, session: str, **question: Any) -> int:
    return int(client.recommend("homepage", session, **question)["session"]["events"])


class LogsSince:
    """What processes have said since it was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._from = {path.stem: path.stat().st_size for path in folder.glob("*.log")}

    def of(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_bytes()[self._from[name] :].decode()


def pids(stack: Stack, *but: str) -> dict[str, int]:
    assert stack.supervisor is not None
    processes = {part.name: part.process for part in stack.supervisor.parts if part.name not in but}
    return {name: process.pid for name, process in processes.items() if process is not None}


def test_trends_killed_five_times_in_two_seconds_leave_the_gateway_and_redis_serving(
    stack: Stack, client: Client
) -> None:
    others, trends = pids(stack, "trends"), stack.child("trends")
    restarts, session = trends.restarts, uuid.uuid4().hex
    for kill in range(5):
        wait_for(lambda: trends.running)
        assert trends.process is not None
        trends.process.kill()
        assert takes(client, [view(session)])
        wait_for(lambda kill=kill: trends.restarts == restarts + kill + 1)  # type: ignore[misc]
    token = client.send_events([view(session)])["token"]
    assert clicks_of(client, session, after=token) == 6
    time.sleep(3)  # what was to be stopped with it would be
    assert takes(client, [view(session)])
    assert pids(stack, "trends") == others
    assert trends.running


def test_a_killed_redis_is_back_with_its_state_and_takes_events_within_five_seconds(
    stack: Stack, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert stack.redis is not None
    assert stack.redis.process is not None
    others, port, session = pids(stack, "redis", "trends"), stack.redis.port, uuid.uuid4().hex
    token = client.send_events([view(session), view(session, "p2")])["token"]
    assert clicks_of(client, session, after=token) == 2
    killed = stack.redis.process
    with caplog.at_level(logging.WARNING, "nextclick.stack.processes"):
        killed.kill()
        killed.wait()
        began = time.monotonic()
        wait_for(lambda: takes(client, [view(session, "p3")]))
        assert time.monotonic() - began < 5
        wait_for(lambda: any("redis runs again" in record.getMessage() for record in caplog.records))
    assert (stack.redis.port, stack.redis.pid != killed.pid) == (port, True)
    token = client.send_events([view(session, "p4")])["token"]
    wait_for(lambda: clicks_of(client, session, after=token) >= 4)  # one sent twice counts as one more at the most
    assert client.item("p7")["title"] == "item 7"
    assert pids(stack, "redis", "trends") == others
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("redis ")]
    assert said[0].startswith("redis was ended by SIGKILL; next start in 0.")
    assert "redis runs again, 0." in said[1]
    assert len(said) == 2


def test_a_redis_that_cannot_start_is_tried_until_it_can_and_answers_go_on_meanwhile(
    stack: Stack, client: Client
) -> None:
    assert stack.supervisor is not None
    assert stack.redis is not None
    [redis] = [part for part in stack.supervisor.parts if part.name == "redis"]
    [aof] = [*stack.redis.folder.glob("*.aof"), *stack.redis.folder.glob("appendonlydir/*.incr.aof")]
    wait_for(lambda: all(is_well(stack.folder / "logs" / f"{name}.log") for name in FOLLOWERS))
    session, logs = uuid.uuid4().hex, LogsSince(stack.folder / "logs")
    stack.redis.kill()
    whole = aof.read_bytes()
    aof.write_bytes(b"not a log\n" + whole)
    wait_for(lambda: redis.fate.quick_deaths >= 3)
    assert client.is_ready()
    assert len(client.recommend("homepage", session)["recommendations"]) > 0
    assert any("redis" in line for line in stack.supervisor.ailing())
    aof.write_bytes(whole)
    wait_for(lambda: takes(client, [view(session)]), timeout_s=120)
    wait_for(lambda: clicks_of(client, session) >= 1)
    wait_for(lambda: redis.fate.down_since is None)
    for name in FOLLOWERS:
        wait_for(lambda name=name: any(map(is_over, beside_appends(logs.of(name)))))  # type: ignore[misc]
        lines = beside_appends(logs.of(name))
        assert [outage_word(line) for line in lines] == ["waiting", "going on after"], lines
        said = re.compile(rf"\d{{4}}-\d\d-\d\d [\d:,]+ WARNING {name.removesuffix('-0')}\[\d+\] nextclick\.")
        assert all(said.match(line) for line in lines), lines


def outage_word(line: str) -> str | None:
    return next((word for word in ("waiting", "going on after") if f"{word} " in line or f"{word}: " in line), None)


def is_over(line: str) -> bool:
    return outage_word(line) == "going on after"


def beside_appends(text: str) -> list[str]:
    return [line for line in text.splitlines() if not is_of_appends(line)]


def is_of_appends(line: str) -> bool:
    """What a gateway says of its own appends stands beside what it says of Redis."""
    return "are not taken" in line or "are not written" in line


def is_well(log: Path) -> bool:
    said = [outage_word(line) for line in log.read_text().splitlines() if not is_of_appends(line)]
    return said.count("waiting") == said.count("going on after")


def test_stopping_ends_every_process_that_it_started(tmp_path: Path) -> None:
    before = set(descendants_of(os.getpid()))
    with Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path))) as running:
        started = set(descendants_of(os.getpid())) - before
        assert len(started) == 6
        assert running.redis is not None
        trends = running.child("trends")
        assert trends.process is not None
        trends.process.kill()
        wait_for(lambda: trends.restarts == 1 and trends.running)
    wait_for(lambda: set(descendants_of(os.getpid())) <= before)


def test_what_a_stack_writes_is_its_user_s_alone(stack: Stack) -> None:
    assert stack.redis is not None
    folders = [stack.folder / name for name in ("redis", "logs", "trends")]
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o700"] * 3
    files = [path for folder in folders[:2] for path in folder.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    for path in (stack.folder / "logs").glob("*.log"):
        assert stack.redis.password not in path.read_text()
    assert stack.redis.password not in stack.redis_place
