"""A mirror of an original that a backup brought a part of, or that was emptied."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import pytest
import redis

from contracts.keys import Keys
from eventlog.contract import Topic
from eventlog.mirror_targets import name_of, open_target
from eventlog.mirroring import OthersWrite, TopicMirror
from tests.nextclick.test_mirroring import Pair, copy, mirror, opened, put, source, values  # noqa: F401


def restored(source: Pair, copy: Pair) -> None:
    """Make the copy's keys those of the source, as a restored backup does."""
    with redis.Redis.from_url(source[1].url) as client:
        for key in client.scan_iter(f"{source[1].prefix}:*"):
            name = copy[1].prefix.encode() + key.removeprefix(source[1].prefix.encode())
            client.restore(name, 0, client.dump(key), replace=True)  # type: ignore[arg-type]


def trimmed(where: Pair, topic: Topic, kept: int) -> None:
    """Leave so many records of each partition."""
    keys = Keys(where[1].prefix)
    with redis.Redis.from_url(where[1].url) as client:
        for at in range(where[0].partitions):
            end = int(client.get(keys.log_end(topic, at)) or 0)  # type: ignore[arg-type]
            client.xtrim(keys.log(topic, at), minid=f"{max(0, end - kept)}-1", approximate=False)


def test_a_copy_that_was_restored_from_a_backup_gets_what_came_after_it_and_nothing_twice(
    source: Pair, copy: Pair
) -> None:
    for topic in Topic:
        put(source, 0, 200, topic)
    trimmed(source, Topic.ITEMS, 10)
    restored(source, copy)
    for topic in Topic:
        put(source, 200, 30, topic)
    before = {topic: values(source, topic) for topic in Topic}
    trimmed(source, Topic.CLICKS, 60)  # more than came since the backup
    mirrored = mirror(source, copy)
    assert [one.copied.records for one in mirrored.topics.values()] == [30, 30, 30]
    assert {topic: values(copy, topic) for topic in Topic} == before
    put(source, 230, 10)
    assert mirror(source, copy).topics[Topic.CLICKS].copied.records == 10
    assert sum(map(len, values(copy).values())) == 240


def test_a_restored_copy_whose_newest_record_was_erased_since_the_backup_is_known_all_the_same(
    source: Pair, copy: Pair
) -> None:
    put(source, 0, 40)
    restored(source, copy)
    keys = Keys(source[1].prefix)
    with redis.Redis.from_url(source[1].url) as client:
        for at in range(2):
            [(newest, _)] = client.xrevrange(keys.log("clicks", at), count=1)  # type: ignore[misc]
            client.xdel(keys.log("clicks", at), newest)
    put(source, 40, 10)
    assert mirror(source, copy).topics[Topic.CLICKS].copied.records == 10


def test_a_restored_copy_of_which_the_original_trimmed_what_came_next_lacks_that_and_says_so(
    source: Pair, copy: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    put(source, 0, 100)
    restored(source, copy)
    put(source, 100, 60)
    trimmed(source, Topic.CLICKS, 5)
    with caplog.at_level("WARNING"):
        assert mirror(source, copy).topics[Topic.CLICKS].copied.records == 10
    assert sum(map(len, values(copy).values())) == 110
    assert "clicks: the original keeps its first 150 records no more; the copy lacks them, but for" in caplog.text


def test_a_restored_copy_that_took_records_of_its_own_is_refused_before_anything_is_copied(
    source: Pair, copy: Pair
) -> None:
    put(source, 0, 40)
    restored(source, copy)
    put(copy, 1000, 10)  # somebody tried it
    put(source, 40, 20)
    before = values(copy)
    with pytest.raises(
        OthersWrite, match=r"clicks partition . of the copy: .* got records of its own: .* Restore it again"
    ):
        mirror(source, copy)
    assert values(copy) == before


def test_a_log_that_has_records_of_its_own_is_no_restored_copy(source: Pair, copy: Pair) -> None:
    put(copy, 1000, 50)
    put(source, 0, 40)
    assert mirror(source, copy).topics[Topic.CLICKS].copied.records == 40
    assert sum(map(len, values(copy).values())) == 90


def emptied(where: Pair) -> None:
    with redis.Redis.from_url(where[1].url) as client:
        for key in client.scan_iter(match=f"{where[1].prefix}:*"):
            client.delete(key)


@pytest.mark.parametrize("count", [40, 14_000])
def test_of_an_original_that_was_emptied_every_record_comes_whatever_it_held_before(
    source: Pair, copy: Pair, count: int
) -> None:
    put(source, 0, 14_000)
    mirror(source, copy)
    emptied(source)
    put(source, 50_000, count)
    mirror(source, copy)
    for at in range(2):
        assert set(values(source)[at]) <= set(values(copy)[at])


def test_an_original_that_is_emptied_under_a_mirror_is_copied_from_its_first_record(source: Pair, copy: Pair) -> None:
    put(source, 0, 100)
    target = open_target(*copy, name_of(*source))
    copying = TopicMirror(source, target, Topic.CLICKS)
    while copying.step():
        pass
    emptied(source)
    copying.step()
    put(source, 50_000, 400)
    while copying.step():
        pass
    for at in range(2):
        assert set(values(source)[at]) <= set(values(copy)[at])
    target.close()


def test_an_original_that_is_emptied_before_anything_of_it_was_copied_is_copied(source: Pair, copy: Pair) -> None:
    put(source, 0, 100)
    with redis.Redis.from_url(source[1].url) as client:
        for at in range(2):
            client.xtrim(Keys(source[1].prefix).log("clicks", at), maxlen=0, approximate=False)
    mirror(source, copy)
    emptied(source)
    put(source, 50_000, 20)
    mirror(source, copy)
    assert values(copy) == values(source)
