"""Restores into a Redis Cluster that are killed or fail: what is there then, and what it is marked as."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import OutputRefused, RestoreUnderWay, StateUnavailable
from nextclick.stack.settings import StackSettings
from state.client import connect
from state.redis_snapshot import keys_of
from state.restore_mark import RestoreMark, Step, expect_whole
from tests.nextclick.backup_parts import backup, beside, deployment, emptied, fill, held, restored
from tests.nextclick.test_backup_cluster import cluster, names, shop  # noqa: F401
from tests.processes import ROOT

pytestmark = pytest.mark.slow


KILLED = """
import os, sys, threading
from pathlib import Path
import state.key_copies as copies
from contracts.settings import RedisSettings
from nextclick.stack.backup.restoring import restore_backup
from tests.nextclick.backup_parts import deployment
url, prefix, step, folder, file = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])
own = RedisSettings(url=url, kind="cluster", timeout_ms=10_000, prefix=prefix)
copies._KEYS_AT_ONCE = 3
really, alone = getattr(copies, step), threading.Lock()
def once(*given, **named):
    with alone:
        really(*given, **named)
        os.kill(os.getpid(), 9)
setattr(copies, step, once)
settings = deployment(folder).model_copy(update={"redis": own})
restore_backup(settings, file, now="20261129T070000Z", replace=True)
"""
PLACES, COPIES = "transacted", "_put"
"""What is done once more before the restore is killed: the changes of one primary, or copies of some keys."""


def restore_that_is_killed(settings: StackSettings, step: str, file: Path) -> None:
    command = [sys.executable, "-c", KILLED, settings.redis.url, settings.redis.prefix, step]
    ended = subprocess.run(
        [*command, str(settings.stack.folder), str(file)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert ended.returncode == -signal.SIGKILL


def test_a_restore_that_is_killed_between_two_primaries_says_so_and_is_run_again(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    before = held(shop)
    backup(shop, tmp_path / "b")
    client = connect(shop.redis)
    client.set(f"{shop.redis.prefix}:late", 1)
    new = beside(deployment(tmp_path / "new"), shop.redis)
    with pytest.raises(OutputRefused, match=r"no keys of 'b\d+', found \d+: they were left as they are"):
        restored(new, tmp_path / "b")
    restore_that_is_killed(new, PLACES, tmp_path / "b")
    assert client.ttl(f"{shop.redis.prefix}:restoring") == -1  # for good
    with pytest.raises(RestoreUnderWay, match=r"half of a backup: a restore began at 20261129T070000Z .* --replace"):
        expect_whole(shop.redis)
    with pytest.raises(RestoreUnderWay, match=r"half of a backup"):
        backup(shop, tmp_path / "half")
    with pytest.raises(OutputRefused, match=r"was stopped\. Start nothing on it; .* restore again with --replace"):
        restored(beside(deployment(tmp_path / "third"), shop.redis), tmp_path / "b")
    restored(new, tmp_path / "b", replace=True)
    assert held(shop) == before
    expect_whole(shop.redis)
    assert list(keys_of(client, "restoring.")) == []
    client.close()


def test_a_restore_that_is_killed_while_it_copies_has_changed_nothing_and_its_mark_goes_by_itself(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    backup(shop, tmp_path / "b")
    client = connect(shop.redis)
    client.set(f"{shop.redis.prefix}:late", 1)
    before = held(shop)
    restore_that_is_killed(beside(deployment(tmp_path / "new"), shop.redis), COPIES, tmp_path / "b")
    with pytest.raises(RestoreUnderWay, match=r"being restored into it since 20261129T070000Z.* within 2 minutes"):
        expect_whole(shop.redis)
    assert 0 < client.pttl(f"{shop.redis.prefix}:restoring") <= 120_000
    client.delete(f"{shop.redis.prefix}:restoring")
    assert held(shop) == before
    client.close()


def test_a_restore_into_an_empty_cluster_that_is_killed_leaves_a_mark_until_another_ends(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    before = held(shop)
    backup(shop, tmp_path / "b")
    emptied(shop)
    new = beside(deployment(tmp_path / "new"), shop.redis)
    restore_that_is_killed(new, COPIES, tmp_path / "b")
    with pytest.raises(RestoreUnderWay, match="half of a backup"):
        expect_whole(shop.redis)
    assert 0 < len(held(shop)) < len(before)
    restored(new, tmp_path / "b", replace=True)
    assert held(shop) == before


def test_a_restore_that_fails_leaves_no_mark_and_no_keys_of_its_own(
    shop: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shop)
    backup(shop, tmp_path / "b")
    before = held(shop)
    monkeypatch.setattr("state.key_copies._KEYS_AT_ONCE", 3)
    monkeypatch.setattr("state.restore_mark.RestoreMark.look", lambda mark, client: client.execute_command("NONE", "x"))
    for there in (before, {}):
        with pytest.raises(StateUnavailable, match="unknown command"):
            restored(beside(deployment(tmp_path / "new"), shop.redis), tmp_path / "b", replace=True)
        assert held(shop) == there
        emptied(shop)


def test_of_two_restores_the_one_that_began_first_stops(shop: StackSettings, tmp_path: Path) -> None:
    fill(shop)
    first, second = (RestoreMark(shop.redis.prefix, "20261129T070000Z") for _ in range(2))
    client = connect(shop.redis)
    first.set(client, Step.COPYING)
    first.expect_own(client)
    second.set(client, Step.COPYING)
    with pytest.raises(StateUnavailable, match="another restore of this deployment has begun since: this one stops"):
        first.expect_own(client)
    second.remove(client)
    client.close()
