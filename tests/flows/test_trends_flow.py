"""The trends flow in Bytewax: through testing sources with a crash in between, then in processes on a real Redis."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pytest
import redis
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink, TestingSource, run_main

from contracts.codec import ItemTrend, decode_ended, decode_showings, decode_trend
from contracts.ids import item_key
from contracts.items import ItemSeen, decode_change
from contracts.keys import ENDED, TRENDS, Keys
from contracts.settings import LogSettings, RedisSettings, TrendOptions
from eventlog.contract import Batch, Message, Record, Topic
from eventlog.open_log import open_dead_letters, open_reader, open_writer
from flows.settings import FlowSettings
from flows.trend_recovery import prepare_recovery, state_version
from flows.trend_steps import SessionRows, ShowingRow, TrendRows
from flows.trends import Bots, no_bots, wire
from retrieval.ended_sessions import slot_of
from retrieval.groups import groups_of
from retrieval.trend_counts import KnownOf, all_known
from state.ports import free_port
from state.tables import TableReader

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=4)
T0 = 1_700_000_000_000
NOW_MS = time.time_ns() // 1_000_000  # of all clicks alike: what was counted long ago would have faded


def event(number: int, session: str, **fields: Any) -> bytes:
    return orjson.dumps({"v": 1, "event_id": f"e{number}", "type": "view", "session_id": session, "ts": T0} | fields)


def batch(topic: Topic, start: int, values: Sequence[bytes]) -> Batch:
    messages = [Message(start + at, value) for at, value in enumerate(values)]
    return Batch(topic, 0, start, start + len(values), messages)


def run(
    redis_settings: RedisSettings,
    clicks: Sequence[Any],
    shown: Sequence[Any],
    recovery: RecoveryConfig | None = None,
    ended: list[tuple[str, SessionRows]] | None = None,
    blocks: list[tuple[str, ShowingRow]] | None = None,
    known: KnownOf = all_known,
    bots: Bots = no_bots,
) -> dict[int, ItemTrend]:
    """Run the flow over the given batches; returns each item's last row."""
    settings = FlowSettings(
        redis=redis_settings, log=LOG, trend=TrendOptions(emit_interval_ms=0, showings_interval_ms=0)
    )
    written: list[tuple[str, TrendRows | ItemSeen]] = []
    writer = open_writer(LOG, redis_settings)
    flow = wire(
        settings,
        clicks=TestingSource(clicks),
        impressions=TestingSource(shown),
        sink=TestingSink(written),
        session_sink=TestingSink(ended if ended is not None else []),
        showing_sink=TestingSink(blocks if blocks is not None else []),
        writer=writer,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        known=known,
        bots=bots,
    )
    run_main(flow, epoch_interval=timedelta(0), recovery_config=recovery)
    writer.close()
    rows: dict[int, bytes] = {}
    for _, out in written:
        if isinstance(out, TrendRows):
            rows |= out.rows
    return {key: decode_trend(row) for key, row in rows.items()}


CLICKS = [
    batch(Topic.CLICKS, 0, [event(1, "s", item_id="a"), event(2, "s", item_id="b")]),
    batch(Topic.CLICKS, 2, [event(3, "s", item_id="c"), event(4, "other", item_id="a"), b"broken"]),
    batch(Topic.CLICKS, 5, [event(5, "s", item_id="a"), event(5, "s", item_id="a")]),
]


def test_clicks_and_impressions_become_rows(redis_settings: RedisSettings) -> None:
    shown = [batch(Topic.IMPRESSIONS, 0, [event(9, "s", type="impression", items=["a", "d"]), b"broken"])]

    blocks: list[tuple[str, ShowingRow]] = []
    rows = run(redis_settings, CLICKS, shown, blocks=blocks)

    a = rows[item_key("a")]
    assert a.popularity == 3.0
    assert item_key("d") not in rows  # what is only shown has no trends
    assert showings(blocks) == {item_key("a"): (1.0, 1.0), item_key("d"): (1.0, 0.0)}
    assert dict(zip(a.neighbours.tolist(), a.weights.tolist(), strict=True)) == {
        item_key("b"): [1.0, 0.5, 1.25],  # b followed a; then a followed b at distance 2, lately at half weight
        item_key("c"): [0.5, 1.0, 1.0],  # c followed a at distance 2; then a followed c
    }
    letters = open_dead_letters(LOG, redis_settings)
    assert [letter.source for letter in letters.read(10)] == ["impressions:0:1"]
    letters.close()


def showings(blocks: Sequence[tuple[str, ShowingRow]]) -> dict[int, tuple[float, float]]:
    """Return how often every item was shown and clicked, by the last block of each shard."""
    counts = {}
    for out in dict(blocks).values():
        block = decode_showings(out.row)
        counts |= dict(
            zip(block.keys.tolist(), zip(block.shown.tolist(), block.clicked.tolist(), strict=True), strict=True)
        )
    return counts


def test_after_a_crash_showings_are_counted_once(redis_settings: RedisSettings, tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    recovery = RecoveryConfig(str(tmp_path))
    pages = [
        batch(Topic.IMPRESSIONS, at, [event(90 + at, "s", type="impression", items=["a", "d", f"only-{at}"])])
        for at in range(4)
    ]
    crashing = [*pages[:2], TestingSource.ABORT(), *pages[2:]]
    blocks: list[tuple[str, ShowingRow]] = []

    run(redis_settings, CLICKS, crashing, recovery, blocks=blocks)
    run(redis_settings, CLICKS, crashing, recovery, blocks=blocks)

    found = showings(blocks)
    assert (found[item_key("d")], found[item_key("only-3")]) == ((4.0, 0.0), (1.0, 0.0))
    assert found[item_key("a")][0] == 4.0


def test_after_a_crash_the_rows_are_those_of_a_run_without_one(redis_settings: RedisSettings, tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    recovery = RecoveryConfig(str(tmp_path))
    crashing = [*CLICKS[:2], TestingSource.ABORT(), *CLICKS[2:]]

    run(redis_settings, crashing, [], recovery)
    resumed = run(redis_settings, crashing, [], recovery)

    whole = run(redis_settings, CLICKS, [])
    a = item_key("a")
    assert resumed[a].popularity == whole[a].popularity == 3.0
    assert resumed[a].neighbours.tolist() == whole[a].neighbours.tolist()
    assert resumed[a].weights.tolist() == whole[a].weights.tolist()


def test_after_a_crash_a_region_has_counted_each_click_once(redis_settings: RedisSettings, tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    recovery = RecoveryConfig(str(tmp_path))
    clicks = [
        batch(Topic.CLICKS, at, [event(at, f"s{at}", item_id="ab"[at % 2], context={"region": "eu", "age": 30})])
        for at in range(5)
    ]
    crashing = [*clicks[:4], TestingSource.ABORT(), *clicks[4:]]

    run(redis_settings, crashing, [], recovery)
    rows = run(redis_settings, crashing, [], recovery)

    for group in groups_of("EU ", age=34):
        assert (rows[group].popularity, rows[group].origin_counts) == (5.0, (0.0, 0.0, 0.0, 0.0))
        assert dict(zip(rows[group].neighbours.tolist(), rows[group].weights[:, 0].tolist(), strict=True)) == {
            item_key("a"): 3.0,
            item_key("b"): 2.0,
        }
    assert rows[item_key("a")].popularity == 3.0


def test_a_region_of_too_few_visitors_is_not_handed_on(redis_settings: RedisSettings) -> None:
    def clicks(sessions: int) -> list[Batch]:
        context = {"region": "eu"}
        return [
            batch(Topic.CLICKS, 0, [event(at, f"s{at % sessions}", item_id="a", context=context) for at in range(9)])
        ]

    [group] = groups_of("eu")
    assert group not in run(redis_settings, clicks(2), [], known=only("a"))
    assert run(redis_settings, clicks(3), [], known=only("a"))[group].popularity == 9.0


def only(*names: str) -> KnownOf:
    """Say that the catalogue has these items alone."""
    here = np.array([item_key(name) for name in names], np.uint64)
    return lambda keys: np.isin(keys, here)


def test_a_session_that_is_over_becomes_a_row(redis_settings: RedisSettings) -> None:
    ended: list[tuple[str, SessionRows]] = []
    later = [batch(Topic.CLICKS, 7, [event(6, "s", item_id="d", ts=T0 + 1_800_001)])]

    run(redis_settings, [*CLICKS, *later], [], ended=ended)

    [(_, session_rows)] = ended
    [(slot, row)] = session_rows.rows.items()
    assert slot == slot_of("s", T0, TrendOptions().sessions)
    assert decode_ended(row).items.tolist() == [item_key("a"), item_key("b"), item_key("c"), item_key("a")]


def test_a_session_that_no_human_has_neither_counts_nor_votes_from_when_it_is_known(
    redis_settings: RedisSettings,
) -> None:
    ended: list[tuple[str, SessionRows]] = []
    nobody, bots, asked = frozenset[str](), frozenset({"s"}), 0

    def known_later() -> frozenset[str]:  # asked twice for each batch
        nonlocal asked
        asked += 1
        return bots if asked > 2 else nobody

    later = [batch(Topic.CLICKS, 7, [event(6, "next", item_id="d", ts=T0 + 1_800_001)])]
    rows = run(redis_settings, [*CLICKS, *later], [], ended=ended, bots=known_later)
    assert rows[item_key("a")].popularity == 2.0  # once by "s" before it was known, once by "other"
    assert item_key("c") not in rows
    assert ended == []  # it would be a row: see above


@contextmanager
def worker(
    redis_settings: RedisSettings, *arguments: str, says_to: IO[bytes] | None = None, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "100",
        **env,
    }
    command = [sys.executable, "-m", "bytewax.run", "flows.trends:flow", *arguments]
    says = says_to or subprocess.DEVNULL
    process = subprocess.Popen(command, env=settings, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=says)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def append(redis_settings: RedisSettings, count: int, first: int = 0, log: LogSettings = LOG) -> None:
    """Append clicks on items a and b in turn, by fifty sessions."""
    writer = open_writer(log, redis_settings)
    records = [
        Record(f"s{n % 50}", event(n, f"s{n % 50}", item_id="ab"[n // 50 % 2], ts=NOW_MS))
        for n in range(first, first + count)
    ]
    writer.append(Topic.CLICKS, records)
    writer.close()


@pytest.fixture
def trends(redis_settings: RedisSettings) -> Iterator[Callable[[str], ItemTrend | None]]:
    reader = TableReader(redis_settings, TRENDS)

    def row(item: str) -> ItemTrend | None:
        (found,) = reader.get([item_key(item).to_bytes(8, "little")])
        return decode_trend(found) if found is not None else None

    yield row
    reader.close()


def wait_for_popularity(trends: Callable[[str], ItemTrend | None], item: str, count: float) -> None:
    until = time.monotonic() + 120
    while (found := trends(item)) is None or abs(found.popularity - count) > 0.05:
        assert time.monotonic() < until, f"expected popularity {count} of {item}, got {found}"
        time.sleep(0.05)


def test_the_running_flow_fills_the_trends_table_and_the_catalogue(
    redis_settings: RedisSettings, trends: Callable[[str], ItemTrend | None]
) -> None:
    append(redis_settings, 200)
    with worker(redis_settings, NEXTCLICK_TREND__CATALOGUE_FROM_CLICKS="true"):
        wait_for_popularity(trends, "a", 100)
        wait_for_popularity(trends, "b", 100)
        append(redis_settings, 100, first=200)
        wait_for_popularity(trends, "a", 150)
    found = trends("a")
    assert found is not None
    assert found.neighbours.tolist() == [item_key("b")]
    reader = open_reader(LOG, redis_settings, Topic.ITEMS, range(4), "items")
    seen = [decode_change(m.value) for b in reader.poll(10, 0.0) for m in b.messages]
    reader.close()
    assert sorted(change.item_id for change in seen if isinstance(change, ItemSeen)) == ["a", "b"]


def test_the_running_flow_keeps_sessions_that_are_over(redis_settings: RedisSettings) -> None:
    two_hours_ago = NOW_MS - 7_200_000
    times = {"a": two_hours_ago, "b": two_hours_ago + 5, "c": NOW_MS}
    writer = open_writer(LOG, redis_settings)
    clicks = [event(n, "s", item_id=item, ts=ts) for n, (item, ts) in enumerate(times.items())]
    writer.append(Topic.CLICKS, [Record("s", click) for click in clicks])
    writer.close()
    reader, until = TableReader(redis_settings, ENDED), time.monotonic() + 120
    with worker(redis_settings):
        while not (rows := [row for part in reader.rows() for row in part]):
            assert time.monotonic() < until, "expected a session in the table, got none"
            time.sleep(0.05)
    reader.close()
    [(key, row)] = rows
    assert int.from_bytes(key, "little") == slot_of("s", two_hours_ago, TrendOptions().sessions)
    assert decode_ended(row).items.tolist() == [item_key("a"), item_key("b")]


def wait_for_snapshots(folder: Path, more: int) -> None:
    """Wait until the recovery store holds so many epochs more than now: those under way may not have all in them."""
    (part,) = folder.glob("part-*.sqlite3")

    def whole_epochs() -> int:
        with closing(sqlite3.connect(part, timeout=60)) as store:
            return int(store.execute("SELECT coalesce(max(worker_frontier), 0) FROM fronts").fetchone()[0])

    enough, until = whole_epochs() + more, time.monotonic() + 120
    while whole_epochs() < enough:
        assert time.monotonic() < until, "gave up waiting for snapshots"
        time.sleep(0.05)


def empty_the_log(redis_settings: RedisSettings) -> None:
    keys = Keys(redis_settings.prefix)
    with redis.Redis.from_url(redis_settings.url) as client:
        for partition in range(LOG.partitions):
            assert client.xtrim(keys.log("clicks", partition), maxlen=0, approximate=False) > 0


@pytest.mark.slow
def test_a_killed_flow_resumes_from_its_recovery_store_and_counts_nothing_twice(
    redis_settings: RedisSettings, trends: Callable[[str], ItemTrend | None], tmp_path: Path
) -> None:
    recovery = [*prepare_recovery(tmp_path), "-s", "1"]
    append(redis_settings, 200)
    with worker(redis_settings, *recovery) as process:
        wait_for_popularity(trends, "a", 100)
        wait_for_snapshots(tmp_path, 3)
        process.kill()
        process.wait()
    empty_the_log(redis_settings)  # what was counted is in the recovery store alone now
    append(redis_settings, 200, first=200)
    with worker(redis_settings, *prepare_recovery(tmp_path), "-s", "1"):
        wait_for_popularity(trends, "b", 200)
        time.sleep(0.5)
        wait_for_popularity(trends, "a", 200)


@pytest.mark.slow
def test_what_was_trimmed_before_the_flow_read_it_is_a_line_and_a_count(
    redis_settings: RedisSettings, trends: Callable[[str], ItemTrend | None], tmp_path: Path
) -> None:
    recovery = tmp_path / "recovery"
    append(redis_settings, 200)
    with worker(redis_settings, *prepare_recovery(recovery), "-s", "1") as process:
        wait_for_popularity(trends, "a", 100)
        wait_for_snapshots(recovery, 3)
        process.kill()
        process.wait()
    append(redis_settings, 200, first=200)
    empty_the_log(redis_settings)
    append(redis_settings, 100, first=400)
    with (tmp_path / "said").open("wb") as said, worker(redis_settings, *prepare_recovery(recovery), says_to=said):
        wait_for_popularity(trends, "a", 150)
        wait_for_popularity(trends, "b", 150)
    assert lost(redis_settings) == {b"trends:clicks:lost": b"200"}
    [line] = (tmp_path / "said").read_text().splitlines()
    assert re.search(r" ERROR trends\[\d+\] .*: 200 records of 4 partitions were trimmed before they were read", line)


@pytest.mark.slow
@pytest.mark.parametrize(("wait_bytes", "counted"), [(256_000_000, 3400), (0, None)], ids=["waits", "does not wait"])
def test_what_is_appended_while_the_flow_is_away_waits_for_it_beyond_the_records_kept(
    redis_settings: RedisSettings,
    trends: Callable[[str], ItemTrend | None],
    tmp_path: Path,
    wait_bytes: int,
    counted: int | None,
) -> None:
    """34,000 of 60,000 clicks were once trimmed before the flow read them."""
    log = LOG.model_copy(update={"kept_records": 100, "wait_bytes": wait_bytes})
    append(redis_settings, 400, log=log)
    with worker(redis_settings, *prepare_recovery(tmp_path), "-s", "1") as process:
        wait_for_popularity(trends, "a", 200)
        wait_for_snapshots(tmp_path, 4)
        process.kill()
        process.wait()
    for first in range(400, 6800, 400):
        append(redis_settings, 400, first=first, log=log)
        for partition in range(LOG.partitions):
            reader = open_reader(log, redis_settings, Topic.CLICKS, [partition], "sessions")
            reader.commit(partition, reader.ends()[partition])
            reader.close()
    with worker(redis_settings, *prepare_recovery(tmp_path), "-s", "1"):
        if counted is not None:
            wait_for_popularity(trends, "a", counted)
            assert lost(redis_settings) == {}
        else:
            until = time.monotonic() + 120
            while not (told := lost(redis_settings)):
                assert time.monotonic() < until
                time.sleep(0.05)
            assert int(told[b"trends:clicks:lost"]) > 3000


def lost(redis_settings: RedisSettings) -> dict[bytes, bytes]:
    with redis.Redis.from_url(redis_settings.url) as client:
        told: dict[bytes, bytes] = client.hgetall(Keys(redis_settings.prefix).read_progress())  # type: ignore[assignment]
    return {name: count for name, count in told.items() if name.endswith(b"lost")}


def test_a_recovery_store_of_another_release_is_put_aside_and_the_flow_starts_afresh(
    redis_settings: RedisSettings, trends: Callable[[str], ItemTrend | None], tmp_path: Path
) -> None:
    prepare_recovery(tmp_path)
    assert (tmp_path / "state-version").read_text() == state_version()
    (tmp_path / "state-version").write_text("3")
    append(redis_settings, 100)
    with worker(redis_settings, *prepare_recovery(tmp_path)):
        wait_for_popularity(trends, "a", 50)
    assert [part.name for part in tmp_path.glob("before-version-6/*")] == ["part-0.sqlite3"]
    assert (tmp_path / "state-version").read_text() == state_version()


def test_two_processes_share_the_work(redis_settings: RedisSettings, trends: Callable[[str], ItemTrend | None]) -> None:
    addresses = f"127.0.0.1:{free_port()};127.0.0.1:{free_port()}"
    append(redis_settings, 200)
    with worker(redis_settings, "-i", "0", "-a", addresses), worker(redis_settings, "-i", "1", "-a", addresses):
        wait_for_popularity(trends, "a", 100)
        wait_for_popularity(trends, "b", 100)


@pytest.mark.kafka
@pytest.mark.slow
def test_the_flow_reads_kafka_just_so(
    redis_settings: RedisSettings, kafka_log_settings: LogSettings, trends: Callable[[str], ItemTrend | None]
) -> None:
    env = {f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in kafka_log_settings.model_dump().items()}
    append(redis_settings, 200, log=kafka_log_settings)
    with worker(redis_settings, **env):
        wait_for_popularity(trends, "a", 100)
        append(redis_settings, 100, first=200, log=kafka_log_settings)
        wait_for_popularity(trends, "a", 150)
        wait_for_popularity(trends, "b", 150)
