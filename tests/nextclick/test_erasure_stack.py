"""A real stack: visitors look around, one is erased, and nothing of them is left, also after a restore of a backup."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson
import pytest

from nextclick.stack.client import Client
from nextclick.stack.environment import environment_with
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from state.client import connect
from tests.nextclick.backup_parts import backup
from tests.nextclick.test_backup import restored
from tests.nextclick.test_stack_faults import ITEMS, clicks_of, view
from tests.processes import wait_for

pytestmark = pytest.mark.slow

ANNA, OTHERS = ("anna-of-the-test", ["anna-1", "anna-2"]), ("ben-of-the-test", ["ben-1"])


def visits(client: Client) -> None:
    for user, sessions in (ANNA, OTHERS):
        for session in sessions:
            came = [view(session) for _ in range(3)] + [{**view(session), "user_id": user}]
            token = client.send_events(came)["token"]
            assert clicks_of(client, session, after=token) == 4


def named_in(stack: Stack, *names: str) -> list[str]:
    """Keys of Redis that hold a name, in the key or in any byte that Redis would write down."""
    wanted = [name.encode() for name in names]
    with connect(stack.running_settings.redis) as redis:
        return sorted(
            key.decode(errors="replace")
            for key in redis.scan_iter(count=1000)
            if any(name in key or name in (redis.dump(key) or b"") for name in wanted)
        )


def files_naming(folder: Path, *names: str) -> list[str]:
    wanted = [name.encode() for name in names]
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and "trends" not in path.relative_to(folder).parts:
            raw = path.read_bytes()
            found += [str(path.relative_to(folder))] if any(name in raw for name in wanted) else []
    return sorted(found)


def asked(stack: Stack, method: str, path: str) -> dict[str, Any]:
    with urlopen(Request(f"{stack.url}{path}", method=method), timeout=60) as answer:
        found: dict[str, Any] = orjson.loads(answer.read())
        return found


def receipt(stack: Stack, erasure: str) -> dict[str, Any]:
    until = time.monotonic() + 120
    while True:
        found = asked(stack, "GET", f"/api/erasures/{erasure}")
        if found["status"] == "done":
            return found
        assert time.monotonic() < until, found
        time.sleep(0.2)


def test_a_visitor_of_a_stack_is_erased_everywhere_and_does_not_come_back_with_a_backup(tmp_path: Path) -> None:
    folder, names = tmp_path / "stack", (ANNA[0], *ANNA[1])
    first = StackSettings(stack=StackOptions(port=0, folder=folder))
    recorded = {"NEXTCLICK_RECORD__TO": str(folder / "recorded"), "NEXTCLICK_ATTRIBUTION__RUN": "true"}
    with environment_with(recorded), Stack(first) as stack, Client(stack.url) as client:
        client.put_items(ITEMS)
        visits(client)
        wait_for(lambda: totals(read_progress(stack.running_settings))["lag"] == 0)
        wait_for(lambda: any("profile" in key for key in named_in(stack, ANNA[0])))
        backup(first, tmp_path / "b")
        answer = asked(stack, "DELETE", f"/api/users/{ANNA[0]}")
        assert answer["status"] == "running"
        done = receipt(stack, answer["id"])
        assert named_in(stack, *names) == []
        assert done["looked"]["clean"] is True
        told = {one["where"]: one["count"] for one in done["removed"]}
        assert (told["log:clicks"], told["redis:profile"], told["redis:session"]) == (8, 1, 2)
        assert files_naming(folder, *names) == []
        assert files_naming(folder, "ben-of-the-test") != []
        assert clicks_of(client, "ben-1") == 4
        token = client.send_events([view("anna-1")])["token"]
        assert clicks_of(client, "anna-1", after=token) == 1
        assert totals(read_progress(stack.running_settings))["lag"] == 0
    second = StackSettings(stack=StackOptions(port=0, folder=tmp_path / "new"))
    (tmp_path / "erasures.json").write_bytes((folder / "erasures.json").read_bytes())
    with environment_with({"NEXTCLICK_ERASURE__LIST": str(tmp_path / "erasures.json")}):
        restored(StackSettings(stack=second.stack), tmp_path / "b")
    with Stack(second) as stack:
        again = receipt(stack, answer["id"])
        assert named_in(stack, *names) == []
        assert again["looked"]["clean"] is True
        assert named_in(stack, OTHERS[0]) != []
