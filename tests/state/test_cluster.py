"""A real Redis Cluster: three primaries and their replicas, slots that move, a primary that dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import redis

from contracts.errors import LogUnavailable, LogWentBack, StateUnavailable
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings, UserOptions
from eventlog.contract import Batch, Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader, RedisLogWriter
from state.async_tables import AsyncTableReader
from state.client import Connections, connect
from state.health import redis_health
from state.read_progress import StateWatch
from state.redis_line import open_line, packed
from state.redis_rounds import RedisRounds
from state.slots import slot_of
from state.tables import TableReader, TableWriter
from state.users import UserStore
from tests.redis_cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow
_PREFIXES = iter(range(1000))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def settings(cluster: Cluster) -> RedisSettings:
    prefix = f"c{next(_PREFIXES)}"
    return RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=10_000, prefix=prefix)


def on_a_line(settings: RedisSettings, *commands: tuple[bytes, ...]) -> list[Any]:
    async def asked() -> list[Any]:
        line = open_line(settings)
        try:
            return await line.call(packed(*commands), len(commands))
        finally:
            await line.close()

    return asyncio.run(asked())


def test_slots_are_those_that_redis_counts(cluster: Cluster) -> None:
    told = cluster.nodes[0].client
    for key in (b"foo", b"{foo", b"a{}{b}", b"a{{b}}c", b"nc:{p3}:progress", "ключ{ё}".encode()):
        assert told.execute_command("CLUSTER", "KEYSLOT", key) == slot_of(key)


def test_any_primary_that_takes_no_writes_is_noticed_whichever_slots_it_has(
    cluster: Cluster, settings: RedisSettings
) -> None:
    async def refused() -> str | None:
        watch = StateWatch(settings, within_s=10)
        try:
            return (await watch.look()).refuses
        finally:
            await watch.close()

    primaries = [node for node in cluster.nodes if node.client.role()[0] == b"master"]
    assert len(primaries) == 3
    for primary in primaries:
        assert (asyncio.run(refused()), redis_health(settings).refuses) == (None, None)
        primary.client.config_set("maxmemory", "1")
        try:
            assert asyncio.run(refused()) == "OOM: it is at its maxmemory: raise that, or take something out of it"
            assert "OOM" in (redis_health(settings).refuses or "")
        finally:
            primary.client.config_set("maxmemory", "0")
    assert [key for node in primaries for key in node.client.keys("*probe*")] == []


def test_many_answers_at_once_come_in_order_with_the_errors_among_them(settings: RedisSettings) -> None:
    client = connect(settings)
    commands = [("SET", f"{settings.prefix}:{n}", n) if n % 9 else ("LPOP", f"{settings.prefix}:7") for n in range(900)]
    commands[0] = ("SET", f"{settings.prefix}:7", "x")
    found = client.run(commands)
    assert [one for n, one in enumerate(found) if n % 9] == [b"OK"] * 800
    refused = [str(one) for n, one in enumerate(found) if n % 9 == 0]
    assert refused == ["b'OK'", *["WRONGTYPE Operation against a key holding the wrong kind of value"] * 99]
    client.close()


def test_answers_come_in_the_order_of_the_questions_whichever_nodes_they_come_from(settings: RedisSettings) -> None:
    client, names = connect(settings), [f"{settings.prefix}:{n}" for n in range(30)]
    rounds = RedisRounds(client)
    for n, name in enumerate(names):
        client.set(name, n)
    expected = [b"%d" % n for n in range(30)]
    assert rounds.ask([("GET", name) for name in names]) == expected
    assert on_a_line(settings, *((b"GET", name.encode()) for name in names)) == expected
    assert client.mget(names) == expected
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(name)
        assert pipe.execute() == expected
    assert set(client.scan_iter(match=f"{settings.prefix}:*", count=5)) == {name.encode() for name in names}
    assert client.unlink(*names) == 30
    tagged = [("MULTI",), ("SET", "{a}1", 1), ("INCR", "{a}1"), ("EXEC",)]
    assert rounds.ask([("PING",), *tagged, ("GET", "{a}1")]) == [
        *(b"PONG", b"OK", b"QUEUED", b"QUEUED"),
        [b"OK", 2],
        b"2",
    ]
    rounds.close()
    client.close()


def test_an_error_is_an_answer_among_others(settings: RedisSettings) -> None:
    client, key = connect(settings), f"{settings.prefix}:list"
    client.rpush(key, "x")
    answers = on_a_line(settings, (b"GET", key.encode()), (b"LLEN", key.encode()))
    assert (str(answers[0])[:9], answers[1]) == ("WRONGTYPE", 1)
    with pytest.raises(redis.ResponseError, match=r"CROSSSLOT|slot"):
        client.eval("return 1", 2, "a", "b")
    client.close()


def test_a_transaction_watches_and_is_refused_what_changed_meanwhile(settings: RedisSettings) -> None:
    client, key = connect(settings), f"{settings.prefix}:{{w}}:x"
    with client.pipeline() as pipe:
        pipe.watch(key)
        client.set(key, "another's")
        pipe.multi()
        pipe.set(key, "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.get(key) == b"another's"
    client.close()


def moving(cluster: Cluster, key: str) -> tuple[int, Iterator[int]]:
    """Return a key's slot, and its move to the next primary: step by step."""
    source = cluster.owner_of(key)
    primaries = [cluster.owner_of(name) for name in ("{p0}", "{p1}", "{p2}", "{p5}", "foo", "bar", "a", "b", "c")]
    target = next(one for one in primaries if one is not source)
    slot = slot_of(key.encode())
    return slot, cluster.move_slot(slot, source, target, keys_at_once=1)


def test_a_key_is_found_before_while_and_after_its_slot_moves(cluster: Cluster, settings: RedisSettings) -> None:
    client, tag = connect(settings), f"{settings.prefix}:{{moving}}"
    rounds, names = RedisRounds(client), [f"{tag}:{n}" for n in range(6)]
    for n, name in enumerate(names):
        client.set(name, n)

    async def read_while_it_moves() -> None:
        line = open_line(settings)
        _, steps = moving(cluster, names[0])
        commands = packed(*((b"GET", name.encode()) for name in names))
        expected = [b"%d" % n for n in range(6)]
        for moved in (0, *(count + 1 for count in steps)):
            assert await line.call(commands, 6) == expected, moved
            assert rounds.ask([("GET", name) for name in names]) == expected, moved
            assert [client.get(name) for name in names] == expected, moved
            assert client.set(f"{tag}:new", moved) is True  # a key that the source never had
        assert await line.call(commands, 6) == expected
        await line.close()

    asyncio.run(read_while_it_moves())
    assert client.get(f"{tag}:new") == b"7"  # the new key moves too
    rounds.close()
    client.close()


def test_an_offset_that_has_moved_is_read_before_what_stands_behind_it(
    cluster: Cluster, settings: RedisSettings
) -> None:
    """Both keys are at the new node by the time that the offset is read: what was read of the other is read again."""
    client, tag = connect(settings), f"{settings.prefix}:{{order}}"
    offset, session = f"{tag}:a-offset", f"{tag}:z-session"
    client.set(offset, 1)
    client.set(session, "one")
    _, steps = moving(cluster, offset)
    for _ in steps:
        assert on_a_line(settings, (b"GET", offset.encode()), (b"GET", session.encode())) == [b"1", b"one"]
    assert on_a_line(settings, (b"GET", offset.encode()), (b"GET", session.encode())) == [b"1", b"one"]
    client.close()


def test_users_documents_and_tables_are_written_and_followed(settings: RedisSettings) -> None:
    users = UserStore(settings, partitions=8, bounds=UserOptions())
    for n in range(8):
        users.change(f"u{n}", lambda _, n=n: {"segments": [f"s{n}"]})
    assert users.extent()[0] == 8
    assert sorted(users.user_ids()) == [f"u{n}" for n in range(8)]
    assert users.forget("u3", now_ms=1) == (True, False)
    assert users.get("u3") is None
    writer, reader = TableWriter(settings, "t"), TableReader(settings, "t")
    begun = reader.begin()
    writer.commit({b"k": b"row"})
    assert [(one.key, one.row) for one in reader.changes(begun)] == [(b"k", b"row")]
    for one in (users, writer, reader):
        one.close()


def test_rows_are_read_again_where_their_slot_moved_meanwhile(cluster: Cluster, settings: RedisSettings) -> None:
    """A cursor into a hash means nothing to another node: it passed by a fifth of the rows."""
    table, rows = "moves", 8000
    with closing(TableWriter(settings, table)) as writer:
        writer.commit({n.to_bytes(8, "little"): b"row" for n in range(rows)})
    reader, following = TableReader(settings, table), AsyncTableReader(settings, table)

    async def followed(meanwhile: Callable[[], object]) -> int | None:
        """Return how many rows the event loop's reader finds; `meanwhile` is called with each slice."""
        try:
            return sum([len(page) async for page in following.rows() if not meanwhile()])
        except StateUnavailable:
            return None

    def read(meanwhile: Callable[[], object]) -> int | None:
        try:
            return sum(len(page) for page in reader.rows() if not meanwhile())
        except StateUnavailable:
            return None

    def begin_to_move() -> Iterator[int]:
        return moving(cluster, Keys(settings.prefix).table_rows(table))[1]

    def nothing() -> None: ...

    async def settled() -> tuple[int | None, int | None]:
        """Read as often as it takes until nodes agree on who has the slot."""
        while True:
            found = await followed(nothing), read(nothing)
            if None not in found:
                return found

    async def read_rows_while_it_moves() -> None:
        def move() -> None:
            for _ in steps:
                pass

        assert await settled() == (rows, rows)
        steps = begin_to_move()
        next(steps)
        assert (await followed(nothing), read(nothing)) == (None, None)  # it may go at any moment
        move()
        assert await settled() == (rows, rows)
        steps = begin_to_move()
        assert await followed(move) is None
        steps = begin_to_move()
        assert read(move) is None
        assert await settled() == (rows, rows)
        await following.close()

    asyncio.run(read_rows_while_it_moves())
    reader.close()


def records(count: int, begin: int = 0) -> list[Record]:
    return [Record(f"s{n}", b'{"n":%d}' % n) for n in range(begin, begin + count)]


def read_all(settings: RedisSettings, log: LogSettings) -> list[bytes]:
    reader = RedisLogReader(settings, Topic.CLICKS, range(log.partitions), "sessions")
    found: list[bytes] = []
    while batches := reader.poll(1000, 0.0):
        found += [message.value for batch in batches for message in batch.messages]
    reader.close()
    return found


def test_a_reader_waits_on_all_its_partitions_and_takes_what_came_first(settings: RedisSettings) -> None:
    log = LogSettings(partitions=6)
    writer, reader = RedisLogWriter(log, settings), RedisLogReader(settings, Topic.CLICKS, range(6), "sessions")
    assert reader.poll(100, 0.01) == []
    found: list[Batch] = []
    waiting = threading.Thread(target=lambda: found.extend(reader.poll(100, 30.0)))
    waiting.start()
    writer.append(Topic.CLICKS, records(1))
    waiting.join(30)
    assert [message.value for batch in found for message in batch.messages] == [b'{"n":0}']
    writer.append(Topic.CLICKS, records(50, 1))
    seen = set()
    while len(seen) < 50:
        seen |= {message.value for batch in reader.poll(100, 5.0) for message in batch.messages}
    assert seen == {record.value for record in records(50, 1)}
    [partition] = [batch.partition for batch in found]
    reader.seek(partition, 0)
    assert b'{"n":0}' in {m.value for b in reader.poll(100, 5.0) for m in b.messages}
    writer.close()
    reader.close()


def test_a_reader_that_waits_follows_a_slot_that_moves_away_under_it(cluster: Cluster, settings: RedisSettings) -> None:
    log = LogSettings(partitions=3)
    writer, reader = RedisLogWriter(log, settings), RedisLogReader(settings, Topic.CLICKS, range(3), "sessions")
    writer.append(Topic.CLICKS, records(30))
    while reader.poll(100, 0.0):
        pass
    assert reader.poll(100, 0.01) == []  # it waits on all three now
    for partition in range(3):
        _, steps = moving(cluster, Keys(settings.prefix).log("clicks", partition))
        for _ in steps:
            pass
        writer.append(Topic.CLICKS, records(30, 30 * (partition + 1)))
        seen = set[bytes]()
        while len(seen) < 30:
            seen |= {message.value for batch in reader.poll(100, 5.0) for message in batch.messages}
        assert seen == {record.value for record in records(30, 30 * (partition + 1))}
    writer.close()
    reader.close()


def test_a_reader_that_knows_no_records_of_a_log_that_ends_too_early_goes_on_from_what_its_group_told(
    settings: RedisSettings,
) -> None:
    log = LogSettings(partitions=1)
    with closing(RedisLogWriter(log, settings)) as writer:
        writer.append(Topic.CLICKS, records(12))
    for told, goes_on_at in ((8, 8), (20, 12), (0, 0)):
        with closing(RedisLogReader(settings, Topic.CLICKS, [0], "counts")) as reader:
            reader.commit(0, told)
            reader.seek(0, 15)
            with pytest.raises(LogWentBack, match=f"read up to offset 15, and holds other records from {goes_on_at} "):
                reader.poll(10, 0.0)
            reader.seek(0, goes_on_at)
            assert [batch.next for batch in reader.poll(20, 0.0)] == [12] * (goes_on_at < 12)


async def append_until(
    writer: RedisAsyncLogWriter, done: Callable[[], bool], *, tasks: int = 4
) -> tuple[list[bytes], int]:
    """Append one by one, again where it was refused, until `done`; returns what was acknowledged, and refusals."""
    taken: list[bytes] = []
    refused, number = 0, iter(range(10_000_000))

    async def append() -> None:
        nonlocal refused
        while not done():
            value = b"%d" % next(number)
            while True:
                try:
                    await writer.append(Topic.CLICKS, [Record(f"s{value.decode()}", value)])
                except (LogUnavailable, TimeoutError):
                    refused += 1
                    await asyncio.sleep(0.02)
                else:
                    taken.append(value)
                    break

    await asyncio.gather(*(append() for _ in range(tasks)))
    return taken, refused


def test_a_slot_that_moves_under_load_loses_nothing(cluster: Cluster, settings: RedisSettings) -> None:
    log, key = LogSettings(partitions=4, gather_ms=0), Keys(settings.prefix).log("clicks", 0)
    writer, loaded, done = RedisAsyncLogWriter(log, settings), threading.Event(), threading.Event()
    asked = iter(range(10**9))

    def is_done() -> bool:
        if next(asked) > 8:  # some were taken by then
            loaded.set()
        return done.is_set()

    def move() -> None:
        assert loaded.wait(60)
        for _ in range(2):  # there, and on to the next
            _, steps = moving(cluster, key)
            for _ in steps:
                pass
        done.set()

    async def load() -> list[bytes]:
        mover = asyncio.create_task(asyncio.to_thread(move))
        taken, _ = await append_until(writer, is_done)
        await mover
        await writer.close()
        return taken

    taken = asyncio.run(load())
    assert taken
    found = read_all(settings, log)
    assert set(taken) <= set(found)


def test_a_lost_connection_to_any_node_is_told_once_and_a_first_one_is_not(
    cluster: Cluster, settings: RedisSettings
) -> None:
    connections = Connections(tells=True)
    client = connect(settings, connections)
    keys = [f"{{p{n}}}" for n in range(6)]
    assert [client.get(key) for key in keys] == [None] * 6
    assert connections.made == 1  # one each to three nodes, none in the place of another
    cluster.owner_of(keys[0]).client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(redis.ConnectionError):
        client.get(keys[0])
    with suppress(redis.ConnectionError):
        client.get(keys[0])
    assert client.get(keys[0]) is None
    assert connections.made == 2
    client.close()


def test_a_reader_that_waits_has_lost_no_connection_until_it_has(cluster: Cluster, settings: RedisSettings) -> None:
    """Who reads begins again some way back after each loss: a wait that looked like one would have it read for ever."""
    with closing(RedisLogReader(settings, Topic.CLICKS, range(8), "waits")) as reader:
        ends = reader.ends()
        for partition, end in ends.items():
            reader.seek(partition, end)
        before = reader.connections
        for _ in range(3):
            assert reader.poll(10, 0.05) == []
            assert reader.ends() == ends
        for partition, end in ends.items():
            reader.seek(partition, end)  # what was asked is left
            assert reader.poll(10, 0.01) == []
        assert reader.connections == before
        for node in cluster.nodes[:3]:
            node.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with suppress(LogUnavailable):
            reader.poll(10, 0.05)
        reader.poll(10, 0.05)
        assert reader.connections > before
