"""The profiles flow as it runs, beside a sessions flow, on a real Redis: each click once, for all devices of a user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import StateConflict
from contracts.ids import event_key, partition_of
from contracts.keys import Keys
from contracts.profiles import Profile
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from state.client import connect
from state.embedded import EmbeddedRedis
from state.profiles import ProfileStore
from state.refusals import RefusalStore
from state.users import FORGOTTEN_FOR_MS, UserStore
from tests.redis_cut import losing_what_is_written

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=4)
NOW = time.time_ns() // 1_000_000
DAY = 86_400_000
_numbers = iter(range(10**9))


@contextmanager
def running(redis: RedisSettings, flow: str, batch: int = 50) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_FLOW__BATCH_RECORDS": str(batch),
        "NEXTCLICK_PROFILE__MAX_EVENTS": "1000",
    }
    command = [sys.executable, "-m", "bytewax.run", f"flows.{flow}:flow"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def click(session: str, user: str | None, n: int, kind: str = "view", **more: Any) -> Record:
    named = {} if user is None else {"user_id": user}
    event = {"v": 1, "event_id": f"e{n}", "type": kind, "session_id": session, "item_id": f"i{n % 7}", "ts": NOW + n}
    return Record(session, orjson.dumps({**event, **named, **more}))


def append(redis: RedisSettings, *records: Record) -> None:
    writer = open_writer(LOG, redis)
    for start in range(0, len(records), 50):
        writer.append(Topic.CLICKS, records[start : start + 50])
    writer.close()


def profile(redis: RedisSettings, user: str) -> Profile:
    store = ProfileStore(redis, keep_ms=DAY)
    try:
        [found] = store.load(0, {partition_of(user, LOG.partitions): [user]})
        return found.stored[user][1] or Profile()
    finally:
        store.close()


def keys(*numbers: int) -> list[int]:
    return [event_key(f"e{n}") for n in numbers]


def wait_for(holds: Callable[[], bool], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_flow_killed_again_and_again_counts_each_click_once(redis_settings: RedisSettings) -> None:
    """Twenty sessions in four partitions are of two users, so that each commit changes users of other partitions."""
    users = ("anna", "ben")

    def counted() -> int:
        return sum(profile(redis_settings, user).events for user in users)

    with running(redis_settings, "sessions"):
        for killed_after in (100, 350, 600):
            numbers = range(killed_after, killed_after + 300)
            append(redis_settings, *(click(f"s{n % 20}", users[n % 20 % 2], n) for n in numbers))
            with running(redis_settings, "profiles", batch=7) as process:
                wait_for(lambda least=killed_after: counted() >= least)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                process.wait()
        with running(redis_settings, "profiles"):
            wait_for(lambda: counted() >= 800)
            time.sleep(0.3)
    assert counted() == 800
    for at, user in enumerate(users):
        found = profile(redis_settings, user).clicks["event"].tolist()
        assert found == keys(*(n for n in range(100, 900) if n % 20 % 2 == at))


@pytest.mark.slow
def test_what_a_visitor_did_before_the_log_in_is_joined_once_and_never_anothers(redis_settings: RedisSettings) -> None:
    context = {"device": "phone", "region": "eu"}
    with running(redis_settings, "sessions"), running(redis_settings, "profiles"):
        append(redis_settings, click("home", None, 1), click("home", None, 2))
        append(redis_settings, click("home", "anna", 3, "purchase", context=context))
        wait_for(lambda: profile(redis_settings, "anna").events >= 3)
        append(redis_settings, click("home", "anna", 4), click("home", "anna", 3, "purchase"))
        append(redis_settings, click("home", "ben", 5), click("away", "anna", 6))
        wait_for(lambda: profile(redis_settings, "anna").events >= 5 and profile(redis_settings, "ben").events >= 1)
        time.sleep(0.3)
    anna, ben = profile(redis_settings, "anna"), profile(redis_settings, "ben")
    assert anna.clicks["event"].tolist() == keys(1, 2, 3, 4, 6)
    assert (anna.events, anna.purchases, anna.device, anna.region) == (5, 1, "phone", "eu")
    assert ben.clicks["event"].tolist() == keys(5)


@pytest.mark.slow
def test_two_devices_at_the_same_time_share_one_profile(redis_settings: RedisSettings) -> None:
    devices = [f"device-{n}" for n in range(8)]
    records = [click(devices[n % 8], "anna", n) for n in range(400)]
    with (
        running(redis_settings, "sessions"),
        running(redis_settings, "profiles", 5),
        running(redis_settings, "profiles", 3),
    ):
        append(redis_settings, *records)
        wait_for(lambda: profile(redis_settings, "anna").events >= 400)
        time.sleep(0.3)
    found = profile(redis_settings, "anna")
    assert (found.events, found.clicks["event"].tolist()) == (400, keys(*range(400)))


@pytest.mark.slow
def test_what_no_session_could_take_is_no_profile_and_a_damaged_profile_begins_afresh(
    redis_settings: RedisSettings,
) -> None:
    redis = connect(redis_settings)
    place = partition_of("anna", LOG.partitions)
    redis.set(Keys(redis_settings.prefix).profile(place, "anna"), b"broken")
    redis.lpush(Keys(redis_settings.prefix).profile(partition_of("ben", LOG.partitions), "ben"), b"a list")
    redis.close()
    with running(redis_settings, "sessions"), running(redis_settings, "profiles"):
        append(redis_settings, Record("s", b'{"user_id": 3'), Record("s", b'{"user_id":"anna"}'), click("s", "anna", 1))
        append(redis_settings, click("t", "ben", 2))
        wait_for(lambda: profile(redis_settings, "anna").events + profile(redis_settings, "ben").events >= 2)
    found = [profile(redis_settings, user).clicks["event"].tolist() for user in ("anna", "ben")]
    assert found == [keys(1), keys(2)]


def deleted(redis: RedisSettings, user: str, now_ms: int) -> None:
    store = UserStore(redis, partitions=LOG.partitions)
    store.forget(user, now_ms=now_ms)
    store.close()


@pytest.mark.slow
def test_what_a_deleted_user_did_before_is_not_learnt_again(redis_settings: RedisSettings) -> None:
    """Clicks that wait in the log, that come late, and that the session still holds; ben is nobody's concern."""
    with running(redis_settings, "sessions"):
        with running(redis_settings, "profiles"):
            append(redis_settings, click("home", "anna", 1), click("work", "ben", 2))
            wait_for(lambda: profile(redis_settings, "anna").events + profile(redis_settings, "ben").events >= 2)
        append(redis_settings, click("home", "anna", 3), click("home", None, 4), click("work", "ben", 5))
        deleted(redis_settings, "anna", NOW + 10)
        assert profile(redis_settings, "anna").events == 0
        with running(redis_settings, "profiles"):
            append(redis_settings, click("car", "anna", 6), click("work", "ben", 7))
            wait_for(lambda: profile(redis_settings, "ben").events >= 3)
            time.sleep(0.3)
            assert profile(redis_settings, "anna").events == 0
            append(redis_settings, click("home", None, 20), click("home", "anna", 21), click("new", "anna", 22))
            wait_for(lambda: profile(redis_settings, "anna").events >= 3)
            time.sleep(0.3)
    anna, ben = profile(redis_settings, "anna"), profile(redis_settings, "ben")
    assert (anna.events, anna.clicks["event"].tolist()) == (3, keys(20, 21, 22))
    assert ben.clicks["event"].tolist() == keys(2, 5, 7)


def test_a_user_who_is_deleted_between_reading_and_writing_is_not_written(redis_settings: RedisSettings) -> None:
    store, place = ProfileStore(redis_settings, keep_ms=DAY), partition_of("anna", LOG.partitions)
    [before] = store.load(1, {place: ["anna"]})
    deleted(redis_settings, "anna", NOW)
    assert store.commit(1, [(before, 10, {"anna": Profile(events=1, revision=NOW)})]) == [False]
    [after] = store.load(1, {place: ["anna"]})
    assert (after.known, after.stored["anna"], after.forgotten_ms) == (0, (b"", None), {"anna": NOW})
    assert store.commit(1, [(after, 10, {"anna": Profile(events=1, revision=NOW)})]) == [True]
    assert profile(redis_settings, "anna").events == 1
    store.close()


@pytest.mark.slow
def test_of_a_user_who_refuses_nothing_is_learnt(redis_settings: RedisSettings) -> None:
    refusals = RefusalStore(redis_settings)
    refusals.put("anna")
    with running(redis_settings, "sessions"), running(redis_settings, "profiles"):
        append(redis_settings, click("s", "anna", 1), click("s", "ben", 2), click("s", "ben", 3, consent=False))
        append(redis_settings, click("s", "ben", 4))
        wait_for(lambda: profile(redis_settings, "ben").events >= 2)
        assert profile(redis_settings, "anna").events == 0
        refusals.take_back("anna")
        append(redis_settings, click("s2", "anna", 5))
        wait_for(lambda: profile(redis_settings, "anna").events >= 1)
    assert profile(redis_settings, "anna").clicks["event"].tolist() == keys(5)
    assert profile(redis_settings, "ben").clicks["event"].tolist() == keys(2, 4)
    refusals.close()


def test_deletions_are_bounded_expire_and_survive_damage(
    redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.users.FORGOTTEN_MOST", 3 * LOG.partitions)
    redis, store = connect(redis_settings), ProfileStore(redis_settings, keep_ms=DAY)
    place = partition_of("anna", LOG.partitions)
    key = Keys(redis_settings.prefix).forgotten(place)
    redis.set(key, b"no set")
    assert store.load(1, {place: ["anna"]})[0].forgotten_ms == {}
    assert store.commit(1, [(store.load(1, {place: ["anna"]})[0], 5, {"anna": Profile(revision=NOW)})]) == [True]
    users = [name for n in range(100) if partition_of(name := f"u{n}", LOG.partitions) == place][:5]
    for at, user in enumerate(users):
        deleted(redis_settings, user, NOW + at)
    assert store.load(1, {place: users})[0].forgotten_ms == {users[at]: NOW + at for at in (2, 3, 4)}
    assert 0 < redis.pttl(key) <= FORGOTTEN_FOR_MS
    deleted(redis_settings, users[0], NOW + 3 + FORGOTTEN_FOR_MS)
    assert sorted(store.load(1, {place: users})[0].forgotten_ms) == sorted([users[0], users[4]])
    store.close()
    redis.close()


def test_a_batch_that_does_not_begin_where_redis_went_back_to_changes_nothing(redis_settings: RedisSettings) -> None:
    store = ProfileStore(redis_settings, keep_ms=DAY)
    store.read_on(1, 0, 100)
    for start in (0, 99, 101):
        with pytest.raises(StateConflict, match=f"starts at {start}, the stored offset is 100"):
            store.read_on(1, start, 200)
        with pytest.raises(StateConflict, match=f"starts at {start}, the stored offset is 100"):
            store.owners(1, start, {"s": "u"})
    assert (store.next_offset(1), store.owners(1, 100, {"s": "v"})) == (100, {"s": "u"})
    store.read_on(1, 100, 200)
    assert store.next_offset(1) == 200
    store.close()


@pytest.mark.slow
def test_clicks_that_take_the_offsets_of_lost_ones_are_learnt(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis = RedisSettings(url=server.url)
        with running(redis, "sessions"), running(redis, "profiles"):
            append(redis, *(click(f"s{n}", "u", n) for n in range(40)))
            wait_for(lambda: profile(redis, "u").events == 40)
            for turn in range(1, 5):
                with losing_what_is_written(server):
                    append(redis, *(click(f"s{n}", "lost", 1000 * turn + n) for n in range(40)))
                    wait_for(lambda: profile(redis, "lost").events == 40)
                append(redis, *(click(f"s{n}", f"u{turn}", 5000 * turn + n) for n in range(80)))
                wait_for(lambda: profile(redis, f"u{turn}").events == 80)  # noqa: B023
            assert profile(redis, "lost").events == 0
