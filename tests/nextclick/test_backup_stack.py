"""A stack that serves is backed up, and restored into an empty folder: clicks are there, and flows go on."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from pathlib import Path

import orjson
import pytest

from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from nextclick.stack.client import Client
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from tests.nextclick.backup_parts import backup, contents
from tests.nextclick.test_backup import restored
from tests.nextclick.test_stack_faults import ITEMS, clicks_of, takes, view
from tests.processes import wait_for

pytestmark = pytest.mark.slow

STANDS = ("{items}:rows", ":user:", "{scenarios}:", "{keys}:", "{experiments}:")


def settings_in(folder: Path) -> StackSettings:
    return StackSettings(stack=StackOptions(port=0, folder=folder))


def clicks_in_log(settings: ServiceSettings) -> Counter[str]:
    """Count a restored log's clicks by session, from its beginning."""
    partitions = list(range(settings.log.partitions))
    reader = open_reader(settings.log, settings.redis, Topic.CLICKS, partitions, "counted")
    counted: Counter[str] = Counter()
    while batches := reader.poll(10_000, 0.1):
        for batch in batches:
            counted.update(orjson.loads(message.value)["session_id"] for message in batch.messages)
    reader.close()
    return counted


def applied(stack: Stack) -> dict[str, int]:
    return totals(read_progress(stack.running_settings))


def standing(stack: Stack) -> dict[bytes, object]:
    """Return what the traffic of this test does not change."""
    return {key: held for key, held in contents(stack.redis_url).items() if any(one in key.decode() for one in STANDS)}


def test_what_was_clicked_before_the_backup_is_in_sessions_after_the_restore_and_flows_go_on(tmp_path: Path) -> None:
    sessions, stop = [f"s-{n}" for n in range(20)], threading.Event()
    first = settings_in(tmp_path / "stack")
    with Stack(first) as stack, Client(stack.url) as client:
        assert client.put_items(ITEMS)["visible"] is True
        client.put_scenario("homepage", {})
        token = client.send_events([view(session) for session in sessions for _ in range(3)])["token"]
        assert clicks_of(client, "s-0", after=token) == 3

        def click_on() -> None:
            with Client(stack.url) as own:
                while not stop.is_set():
                    assert takes(own, [view(sessions[uuid.uuid4().int % 20])])

        clicking = threading.Thread(target=click_on)
        clicking.start()
        try:
            wait_for(lambda: applied(stack)["applied"] > 100)
            backup(first, tmp_path / "b")
        finally:
            stop.set()
            clicking.join()
        before, clicked = standing(stack), applied(stack)["log_end"]

    second = settings_in(tmp_path / "new")
    restored(second, tmp_path / "b")
    with Stack(second) as stack, Client(stack.url) as client:
        assert standing(stack) == before
        wait_for(lambda: applied(stack)["lag"] == 0)
        counted = clicks_in_log(stack.running_settings)
        assert 100 < counted.total() <= clicked
        assert applied(stack)["applied"] == counted.total()
        assert {session: clicks_of(client, session) for session in sessions} == counted
        token = client.send_events([view("s-1"), view("s-new")])["token"]
        assert clicks_of(client, "s-1", after=token) == counted["s-1"] + 1
        assert applied(stack)["applied"] == counted.total() + 2
