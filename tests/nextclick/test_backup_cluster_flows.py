"""The flows on a Redis Cluster that was killed whole and restored into another: each goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest

from contracts.codec import encode_row
from contracts.events import Event
from contracts.ids import item_key, partition_of
from contracts.items import CatalogueRow, Item
from contracts.keys import Keys
from contracts.settings import AttributionOptions, LogSettings, RedisSettings, ServiceSettings, TrendOptions
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from replay.reference.compare import Reference, compare
from replay.reference.log import LoggedEvent, events_of, read_topic
from state.attribution import read_ledger
from state.client import connect
from state.profiles import ProfileStore
from state.sessions import SessionStore
from state.shards import catalogue_writer
from tests.chaos.traffic import Traffic
from tests.processes import ROOT, wait_for
from tests.redis_cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow

LOG = LogSettings(partitions=4, kept_records=10_000_000)
FLOWS = ("sessions", "profiles", "attribution")
"""Beside trends."""
SLOTS = 100_000_000
"""So many that hardly two sessions share one."""
ITEMS = [f"i-{n}" for n in range(120)]
A_DAY_MS = 86_400_000
PATIENT_S = 240
Places = dict[tuple[Topic, int], int]
"""Offsets by topic and partition."""


def settings_of(cluster: Cluster) -> ServiceSettings:
    return ServiceSettings(
        redis=RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=60_000),
        log=LOG,
        trend=TrendOptions(sessions=SLOTS),
        attribution=AttributionOptions(run=True),
    )


def environment_of(cluster: Cluster) -> dict[str, str]:
    return {
        **os.environ,
        "NEXTCLICK_REDIS__URL": cluster.url,
        "NEXTCLICK_REDIS__KIND": "cluster",
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_LOG__KEPT_RECORDS": str(LOG.kept_records),
        "NEXTCLICK_TREND__SESSIONS": str(SLOTS),
        "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "500",
        "NEXTCLICK_TREND__SHOWINGS_INTERVAL_MS": "500",
        "NEXTCLICK_FLOW__BATCH_RECORDS": "100",
    }


def load(settings: ServiceSettings) -> None:
    """Write the catalogue: what is shown of an item that it has not is not kept."""
    rows = [CatalogueRow(item_id, Item(title=item_id), 1, 1, 0, b"") for item_id in ITEMS]
    with closing(catalogue_writer(settings.redis)) as writer:
        writer.commit({item_key(row.item_id).to_bytes(8, "little"): encode_row(row) for row in rows}, [])


@contextmanager
def flows(cluster: Cluster, recovery: Path) -> Iterator[None]:
    """Run the flows; at the end they are killed."""
    bytewax = [[sys.executable, "-m", "bytewax.run", f"flows.{one}:flow"] for one in FLOWS]
    commands = [*bytewax, [sys.executable, "-m", "flows.run_trends", str(recovery)]]
    running = [subprocess.Popen(command, env=environment_of(cluster), cwd=ROOT) for command in commands]
    try:
        yield
        assert [process.poll() for process in running] == [None] * len(running)
    finally:
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()


def append(settings: ServiceSettings, events: list[dict[str, object]]) -> None:
    """Append events as a gateway does: what was shown apart from what was clicked."""
    with closing(open_writer(settings.log, settings.redis)) as writer:
        for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
            own = [one for one in events if (one["type"] == "impression") is (topic is Topic.IMPRESSIONS)]
            if own:
                writer.append(topic, [Record(str(one["session_id"]), orjson.dumps(one)) for one in own])


@contextmanager
def clicking(settings: ServiceSettings, traffic: Traffic) -> Iterator[None]:
    """Let visitors click meanwhile."""
    stop, wrong = threading.Event(), list[BaseException]()

    def go_on() -> None:
        try:
            while not stop.is_set():
                append(settings, list(traffic.events(50)))
                stop.wait(0.5)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert wrong == []


def held_by_trends(settings: ServiceSettings) -> Places:
    """Return from where on the trends flow would have to read again."""
    keys, topics = Keys(settings.redis.prefix), (Topic.CLICKS, Topic.IMPRESSIONS)
    with connect(settings.redis) as client:
        return {
            (topic, at): int(client.hget(keys.log_groups(topic, at), "trends:hold") or 0)
            for topic in topics
            for at in range(LOG.partitions)
        }


def places(settings: ServiceSettings) -> dict[str, Places]:
    """Return the next offset of each flow."""
    redis, partitions, clicks = settings.redis, range(LOG.partitions), Topic.CLICKS
    with closing(SessionStore(redis, idle_gap_ms=settings.session.idle_gap_ms)) as store:
        sessions = {(clicks, at): store.progress(at).next_offset for at in partitions}
    with closing(ProfileStore(redis, keep_ms=settings.profile.keep_ms)) as kept:
        profiles = {(clicks, at): kept.next_offset(at) for at in partitions}
    offsets = read_ledger(redis, 0, 0).offsets
    figures = {
        (topic, at): offsets.get(f"{topic}:{at}", 0) for topic in (clicks, Topic.IMPRESSIONS) for at in partitions
    }
    return {
        "sessions": sessions,
        "profiles": profiles,
        "attribution": figures,
        "trends": held_by_trends(settings),
    }


def trim(settings: ServiceSettings) -> int:
    """Take away what every flow has behind it: one that began anew would not find it. Returns how many records went."""
    found, keys, gone = places(settings), Keys(settings.redis.prefix), 0
    with connect(settings.redis) as client:
        for topic, at in found["trends"]:
            behind = min(one[topic, at] for one in found.values() if (topic, at) in one)
            gone += client.xtrim(keys.log(topic, at), minid=f"{behind}-1", approximate=False)
    return gone


Whole = dict[Topic, dict[tuple[int, int], tuple[LoggedEvent, Event]]]


def whole_log(settings: ServiceSettings) -> Whole:
    """Return what the log holds, by partition and offset."""
    return {
        topic: {(one.partition, one.offset): (one, event) for one, event in events_of(read_topic(settings, topic))}
        for topic in (Topic.CLICKS, Topic.IMPRESSIONS)
    }


def command(cluster: Cluster, *arguments: str) -> None:
    """Run a command of docs/backup.md."""
    done = subprocess.run(
        [sys.executable, "-m", "nextclick", *arguments, "--redis", cluster.url],
        env=environment_of(cluster),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def settle(settings: ServiceSettings, reference: Reference) -> None:
    """Return once nothing differs from what the log says. Items have no vectors to make states of sessions of."""
    end = time.monotonic() + PATIENT_S
    while found := compare(reference, settings, states=False):
        assert time.monotonic() < end, (found.lost, found.twice, found.said)
        time.sleep(0.5)


def until(condition: Callable[[], bool]) -> None:
    wait_for(condition, PATIENT_S)


@pytest.mark.timeout(900)
def test_every_flow_goes_on_where_it_was_in_a_cluster_that_was_restored_and_counts_nothing_twice(
    tmp_path: Path,
) -> None:
    traffic = Traffic(7, ITEMS, time.time_ns() // 1_000_000 - A_DAY_MS)
    with running_cluster(tmp_path / "first", replicas=0) as cluster:
        first = settings_of(cluster)
        load(first)
        with flows(cluster, tmp_path / "trends"), clicking(first, traffic):
            until(lambda: all(min(one.values()) > 0 for one in places(first).values()))
            command(cluster, "backup", str(tmp_path / "b"), "--trends", str(tmp_path / "trends"))
            ahead = places(first)
            until(lambda: places(first)["sessions"] != ahead["sessions"])

    with running_cluster(tmp_path / "second", replicas=0) as cluster:
        second = settings_of(cluster)
        command(cluster, "restore", str(tmp_path / "b"), "--folder", str(tmp_path / "restored"))
        assert all(min(one.values()) > 0 for one in places(second).values())
        log = whole_log(second)
        assert trim(second) > 100
        with flows(cluster, tmp_path / "restored" / "trends"):
            append(second, list(traffic.events(1000)))
            append(second, traffic.last(LOG.partitions, partition_of))
            for topic, events in whole_log(second).items():
                log[topic] |= events
            clicks, shown = ([log[topic][at] for at in sorted(log[topic])] for topic in log)
            settle(second, Reference.made(second, clicks, shown))
