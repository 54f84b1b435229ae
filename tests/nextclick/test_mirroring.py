"""A log that is copied into another: every record once and in order, whatever is killed, trimmed or lost meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts.errors import LogUnavailable, SettingsError
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from contracts.stopping import Stopping
from eventlog.contract import ERASED, Batch, Message, Record, Topic
from eventlog.mirror_mark import MirrorMark
from eventlog.mirror_settings import target_of
from eventlog.mirror_targets import RedisTarget, name_of, open_target
from eventlog.mirroring import Bond, LogMirror, OthersWrite, Target, TopicMirror, dense, portions
from eventlog.open_log import open_reader, open_writer
from eventlog.redis_log import RedisLogWriter
from nextclick.cli import build_app

LOG = LogSettings(partitions=2)
Pair = tuple[LogSettings, RedisSettings]


@pytest.fixture
def source(redis_settings: RedisSettings) -> Pair:
    return LOG, redis_settings


@pytest.fixture
def copy(redis_settings: RedisSettings) -> Pair:
    return LOG, redis_settings.model_copy(update={"prefix": f"copy{uuid.uuid4().hex[:8]}"})


def put(where: Pair, first: int, count: int, topic: Topic = Topic.CLICKS) -> None:
    with closing(open_writer(*where)) as writer:
        writer.append(topic, [Record(f"s-{at % 7}", b'{"n":%d}' % at) for at in range(first, first + count)])


def values(where: Pair, topic: Topic = Topic.CLICKS) -> dict[int, list[bytes]]:
    """Return what a log holds, by partition."""
    partitions = range(where[0].partitions)
    found: dict[int, list[bytes]] = {at: [] for at in partitions}
    with closing(open_reader(*where, topic, partitions, "look")) as reader:
        for at, offset in reader.earliest().items():
            reader.seek(at, offset)
        ends, at_least = reader.ends(), time.monotonic() + 20
        reached = reader.earliest()
        while any(reached[at] < ends[at] for at in partitions) and time.monotonic() < at_least:
            for batch in reader.poll(1000, 0.2):
                found[batch.partition] += [message.value for message in batch.messages]
                reached = {**reached, batch.partition: batch.next}
    return found


def opened(source: Pair, copy: Pair) -> Callable[[], Target]:
    return partial(open_target, *copy, name_of(*source))


def mirror(source: Pair, copy: Pair) -> LogMirror:
    copying = LogMirror(source, opened(source, copy))
    copying.run(Stopping(), until_copied=True)
    return copying


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(1, 5), st.integers(1, 40))
def test_portions_are_all_values_in_order_and_bounded(given_values: list[bytes], most: int, most_bytes: int) -> None:
    made = list(portions(given_values, most, most_bytes))
    assert [value for part in made for value in part] == given_values
    assert all(1 <= len(part) <= most for part in made)
    assert all(len(part) == 1 or sum(map(len, part)) <= most_bytes for part in made)


def test_what_a_reading_lacks_is_an_erased_record_of_the_copy() -> None:
    batch = Batch(Topic.CLICKS, 1, start=4, next=8, messages=[Message(5, b"b"), Message(6, b"c")])
    assert dense(batch) == [ERASED, b"b", b"c", ERASED]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**6))
def test_a_bond_says_which_record_is_which_both_ways(at_source: int, at_target: int, more: int) -> None:
    bond = Bond(at_source, at_target)
    assert bond.source_at(at_target + more) == at_source + more
    assert bond.target_at(bond.source_at(at_target + more)) == at_target + more


def test_a_copy_holds_every_record_of_every_topic_once_and_goes_on_where_it_was(source: Pair, copy: Pair) -> None:
    put(source, 0, 2500)
    put(source, 0, 30, Topic.ITEMS)
    put(source, 0, 40, Topic.IMPRESSIONS)
    first = mirror(source, copy)
    assert {topic: one.copied.records for topic, one in first.topics.items()} == {
        Topic.CLICKS: 2500,
        Topic.ITEMS: 30,
        Topic.IMPRESSIONS: 40,
    }
    put(source, 2500, 10)
    second = mirror(source, copy)
    assert second.topics[Topic.CLICKS].copied.records == 10
    for topic in Topic:
        assert values(copy, topic) == values(source, topic)


@pytest.mark.slow
def test_a_redis_log_is_copied_into_kafka_and_back(source: Pair, kafka_log_settings: LogSettings) -> None:
    log, redis_settings = source
    log = log.model_copy(update={"partitions": kafka_log_settings.partitions})
    source = log, redis_settings
    kafka = kafka_log_settings, redis_settings.model_copy(update={"prefix": f"k{uuid.uuid4().hex[:8]}"})
    back = log, redis_settings.model_copy(update={"prefix": f"b{uuid.uuid4().hex[:8]}"})
    put(source, 0, 300)
    mirror(source, kafka)
    put(source, 300, 20)
    mirror(source, kafka)
    mirror(kafka, back)
    assert values(kafka) == values(source) == values(back)
    assert sum(map(len, values(kafka).values())) == 320


def test_a_log_that_began_before_what_is_kept_is_copied_from_there(source: Pair, copy: Pair) -> None:
    log, redis_settings = source
    source = log.model_copy(update={"kept_records": 10, "max_backlog": 0}), redis_settings
    put(source, 0, 2000, Topic.IMPRESSIONS)
    for at in range(2000, 2400, 100):
        put(source, at, 100, Topic.IMPRESSIONS)
    kept = values(source, Topic.IMPRESSIONS)
    assert sum(map(len, kept.values())) < 2400
    mirror(source, copy)
    assert values(copy, Topic.IMPRESSIONS) == kept


def test_records_that_are_trimmed_before_their_turn_are_counted(source: Pair, copy: Pair) -> None:
    put(source, 0, 100)
    mirror(source, copy)
    before = sum(map(len, values(copy).values()))
    put(source, 100, 50)
    keys = Keys(source[1].prefix)
    with redis.Redis.from_url(source[1].url) as client:
        ends = [int(client.get(keys.log_end("clicks", at)) or 0) for at in range(2)]  # type: ignore[arg-type]
        for at in range(2):
            client.xtrim(keys.log("clicks", at), minid=f"{ends[at] - 5}-1", approximate=False)
    copied = mirror(source, copy).topics[Topic.CLICKS].copied
    assert (copied.records, copied.trimmed) == (10, 40)
    assert sum(map(len, values(copy).values())) == before + 10


def test_a_source_that_lost_its_last_records_is_read_again(source: Pair, copy: Pair) -> None:
    put(source, 0, 100)
    mirror(source, copy)
    keys = Keys(source[1].prefix)
    with redis.Redis.from_url(source[1].url) as client:  # as a Redis whose machine died comes back
        for at in range(2):
            stream = keys.log("clicks", at)
            entries = list(client.xrange(stream))  # type: ignore[arg-type]
            client.delete(stream)
            for entry, fields in entries[:-5]:
                client.xadd(stream, fields, entry)
            client.decrby(keys.log_end("clicks", at), 5)
    put(source, 1000, 40)  # their offsets are given to others
    copied = mirror(source, copy).topics[Topic.CLICKS].copied
    assert copied.again > 0
    for at in range(2):
        assert set(values(source)[at]) <= set(values(copy)[at])


def test_an_erased_record_is_one_in_the_copy_too(source: Pair, copy: Pair) -> None:
    put(source, 0, 20)
    keys = Keys(source[1].prefix)
    with redis.Redis.from_url(source[1].url) as client:
        stream = keys.log("clicks", 0)
        entries = list(client.xrange(stream))  # type: ignore[arg-type]
        client.delete(stream)
        for at, (entry, fields) in enumerate(entries):
            client.xadd(stream, {"v": ERASED} if at == 3 else fields, entry)
    copied = mirror(source, copy).topics[Topic.CLICKS].copied
    assert (copied.records, copied.erased) == (20, 1)
    assert values(copy) == values(source)


def test_a_mirror_stops_where_somebody_else_writes_to_the_copy(source: Pair, copy: Pair) -> None:
    put(source, 0, 20)
    target = open_target(*copy, name_of(*source))
    copying = TopicMirror(source, target, Topic.CLICKS)
    while copying.step():
        pass
    put(copy, 500, 20)
    put(source, 20, 20)
    with pytest.raises(OthersWrite, match="somebody else writes there"):
        copying.run(Stopping())
    target.close()


def test_what_others_wrote_while_no_mirror_ran_stops_the_next_one_and_is_not_taken_for_its_own(
    source: Pair, copy: Pair
) -> None:
    put(source, 0, 20)
    mirror(source, copy)
    put(copy, 50_000, 12_000)  # more than is ever read again
    put(source, 20, 20)
    with pytest.raises(OthersWrite, match="somebody else writes there"):
        mirror(source, copy)
    before = values(copy)
    with pytest.raises(OthersWrite):
        mirror(source, copy)
    assert values(copy) == before


def test_a_bond_that_cannot_be_read_is_told_with_its_key(source: Pair, copy: Pair) -> None:
    put(source, 0, 20)
    mirror(source, copy)
    with redis.Redis.from_url(copy[1].url) as client:
        client.hset(Keys(copy[1].prefix).mirror(), "clicks:0", "x:y")
    with pytest.raises(SettingsError, match="expected two offsets in clicks:0, got b'x:y'"):
        mirror(source, copy)


def test_a_copy_has_one_original(source: Pair, copy: Pair) -> None:
    mirror(source, copy)
    other = LOG, source[1].model_copy(update={"prefix": "other"})
    with pytest.raises(SettingsError, match="a log has one original"):
        open_target(*copy, name_of(*other))


def test_a_mirror_that_is_ended_writes_no_more_until_it_is_begun_again_and_goes_on_where_it_was(
    source: Pair, copy: Pair
) -> None:
    put(source, 0, 30)
    with closing(MirrorMark(copy[1])) as mark:
        with pytest.raises(SettingsError, match="expected the copy of another deployment, got none"):
            mark.end()
        mirror(source, copy)
        mark.look()
        for change in (mark.end, partial(mark.again, name_of(*source))):
            with pytest.raises(SettingsError, match=r"expected no mirror that still runs, found one: end it first"):
                change()
        mark.stopped()
        assert mark.end() == name_of(*source)
        put(source, 30, 5)
        with pytest.raises(SettingsError, match=r"got one that was ended .*nextclick mirror TARGET --again"):
            opened(source, copy)()
        with pytest.raises(SettingsError, match=r"expected an ended copy of redis elsewhere, got one of redis "):
            mark.again("redis elsewhere")
        mark.again(name_of(*source))
        assert mirror(source, copy).topics[Topic.CLICKS].copied.records == 5


def test_a_copy_whose_mirror_was_ended_becomes_that_of_another_from_its_beginning(source: Pair, copy: Pair) -> None:
    put(source, 0, 30)
    mirror(source, copy)
    with closing(MirrorMark(copy[1])) as mark:
        mark.end()
    other = LOG, source[1].model_copy(update={"prefix": f"other{uuid.uuid4().hex[:8]}"})
    put(other, 100, 12)
    assert mirror(other, copy).topics[Topic.CLICKS].copied.records == 12
    with pytest.raises(SettingsError, match=r"nextclick mirror TARGET --end"):
        opened(source, copy)()


def test_the_command_ends_a_copy_and_says_of_what(source: Pair, copy: Pair, tmp_path: Path) -> None:
    put(source, 0, 3)
    mirror(source, copy)
    (file := tmp_path / "b.toml").write_text(
        f'[redis]\nurl = "{copy[1].url}"\nprefix = "{copy[1].prefix}"\n[log]\npartitions = 2\n'
    )
    environment = {
        "NEXTCLICK_REDIS__URL": source[1].url,
        "NEXTCLICK_REDIS__PREFIX": source[1].prefix,
        "NEXTCLICK_LOG__PARTITIONS": "2",
    }
    said = CliRunner(env=environment).invoke(build_app("mirror"), ["mirror", str(file), "--end"])
    assert said.exit_code == 0, said.exception
    assert said.output == (
        f"Redis at {copy[1].place} was the copy of {name_of(*source)}, and is a deployment of its own now\n"
    )


def test_who_names_an_original_that_is_not_there_has_made_no_copy_of_it(source: Pair, copy: Pair) -> None:
    away = LOG, RedisSettings(url="redis://127.0.0.1:1/0", timeout_ms=100)
    copying = LogMirror(away, opened(away, copy))
    stopping = Stopping()
    copying.run(stopping, told=stopping.set)
    assert copying.seen_s is None
    put(source, 0, 10)
    assert mirror(source, copy).seen_s is not None  # the right one is not refused


class Cut(RedisTarget):
    """A target whose answer to every second append is lost, after it was carried out."""

    turn = 0

    def append(self, topic: Topic, partition: int, values: object) -> int:
        first = super().append(topic, partition, values)  # type: ignore[arg-type]
        self.turn += 1
        if self.turn % 2:
            raise LogUnavailable("the answer was lost")
        return first


def test_an_append_whose_answer_was_lost_is_not_made_twice(
    source: Pair, copy: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.mirroring._PAUSE_S", 0.0)
    put(source, 0, 5000)
    copying = LogMirror(source, lambda: Cut(*copy, name_of(*source)))
    copying.run(Stopping(), until_copied=True)
    assert values(copy) == values(source)


@pytest.mark.slow
def test_a_mirror_that_is_killed_again_and_again_copies_every_record_once(
    source: Pair, copy: Pair, tmp_path: Path
) -> None:
    file = tmp_path / "copy.toml"
    file.write_text(f'[redis]\nurl = "{copy[1].url}"\nprefix = "{copy[1].prefix}"\n[log]\npartitions = 2\n')
    environment = {
        "NEXTCLICK_REDIS__URL": source[1].url,
        "NEXTCLICK_REDIS__PREFIX": source[1].prefix,
        "NEXTCLICK_LOG__PARTITIONS": "2",
    }
    command = [sys.executable, "-m", "nextclick", "mirror", str(file)]
    writer, at = RedisLogWriter(*source), 0
    for _ in range(4):
        process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        end = Keys(copy[1].prefix).log_end("clicks", 0)
        with redis.Redis.from_url(copy[1].url) as client:
            before = int(client.get(end) or 0)  # type: ignore[arg-type]
            while int(client.get(end) or 0) < before + 200 and time.monotonic() < until:  # type: ignore[arg-type]
                writer.append(Topic.CLICKS, [Record(f"s-{n % 7}", b'{"n":%d}' % n) for n in range(at, at + 300)])
                at += 300
                time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    writer.close()
    done = subprocess.run([*command, "--once"], env={**os.environ, **environment}, timeout=120, check=False)
    assert done.returncode == 0
    assert values(copy) == values(source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[redis]\nurl=", "expected a TOML file"),
        ("[log]\npartitions = 2\n", r"expected the groups \[redis\] and \[log\], got log"),
        ("[log]\npartitions = 3\n[redis]\nprefix = 'x'\n", "expected 2, as this log has, got 3"),
        ("[log]\npartitions = 0\n[redis]\n", "greater than or equal to 1"),
        ("[log]\npartitions = 2\n[redis]\n", "names the log that is read"),
    ],
)
def test_a_file_that_names_no_target_is_refused_with_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        target_of(tmp_path / "b.toml", LOG, RedisSettings())
