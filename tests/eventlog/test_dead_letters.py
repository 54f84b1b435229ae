"""Dead letters by name, on both logs: they are read, chosen and removed, and a removed one stays away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, KeptLetter, Position
from eventlog.letter_choice import Choice, batches, chosen, count_by_reason, newest
from tests.eventlog.logs import Log


@pytest.fixture(params=["redis", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest, redis_settings: RedisSettings) -> Iterator[Log]:
    settings = LogSettings(partitions=4)
    if request.param == "kafka":
        settings = request.getfixturevalue("kafka_log_settings")
    found = Log(settings, redis_settings, lambda: None, lambda: None)
    yield found
    for opened in found.opened:
        opened.close()


def letter(source: str, reason: str = "invalid", at_ms: int = 1000, partition: int = 1) -> DeadLetter:
    return DeadLetter(source, partition, reason, "expected an object", at_ms, source.encode())


def sources(log: Log) -> list[str]:
    return [one.letter.source for one in log.letters().kept()]


def test_every_letter_has_a_name_and_comes_in_the_order_of_its_partition(log: Log) -> None:
    letters = [letter("clicks:3:7", partition=3), letter("clicks:1:9"), letter("gateway"), letter("clicks:1:2")]
    log.writer().dead_letter(letters)
    found = list(log.letters().kept())
    assert [(one.position.token, one.letter.source) for one in found] == [
        ("p1:0", "clicks:1:9"),
        ("p1:1", "gateway"),
        ("p1:2", "clicks:1:2"),
        ("p3:0", "clicks:3:7"),
    ]
    assert found[3].letter == letters[0]


def test_a_removed_letter_is_gone_and_the_others_stay(log: Log) -> None:
    writer, letters = log.writer(), log.letters()
    writer.dead_letter([letter("clicks:1:7"), letter("gateway"), letter("gateway"), letter("items:2:7", partition=2)])
    first, second, third, _ = letters.kept()
    assert (second.letter.source, third.letter.source) == ("gateway", "gateway")

    letters.remove([first, third])

    assert [one.position for one in letters.kept()] == [Position(1, 1), Position(2, 0)]
    assert [one.source for one in letters.read(10)] == ["gateway", "items:2:7"]
    assert letters.count() == 2


def test_a_removed_letter_does_not_come_back_when_its_record_is_read_again(log: Log) -> None:
    writer, letters = log.writer(), log.letters()
    writer.dead_letter([letter("clicks:1:7"), letter("clicks:1:8")])
    letters.remove(list(letters.kept())[:1])

    writer.dead_letter([letter("clicks:1:7"), letter("clicks:1:8"), letter("clicks:1:9")])

    assert sources(log) == ["clicks:1:8", "clicks:1:9"]


def test_removing_twice_or_nothing_does_no_harm(log: Log) -> None:
    log.writer().dead_letter([letter("clicks:1:7"), letter("clicks:1:8")])
    letters = log.letters()
    [first, _] = letters.kept()
    letters.remove([first])
    letters.remove([first])
    letters.remove([])
    assert sources(log) == ["clicks:1:8"]


def test_letters_may_be_removed_while_they_are_read(log: Log) -> None:
    log.writer().dead_letter([letter(f"clicks:1:{n}") for n in range(350)])
    letters, seen = log.letters(), list[int]()
    for one in letters.kept():
        seen.append(one.position.offset)
        if one.position.offset % 100 == 50:
            letters.remove([one])
    assert seen == list(range(350))
    assert letters.count() == 347


def test_letters_that_are_written_meanwhile_do_not_make_reading_endless(log: Log) -> None:
    writer = log.writer()
    writer.dead_letter([letter("gateway")] * 3)
    read = 0
    for _ in log.letters().kept():
        writer.dead_letter([letter("gateway")])
        read += 1
    assert read == 3
    assert log.letters().count() == 6


def test_a_partition_that_is_not_there_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match=r"a partition from 0 to 3 \(log.partitions\), got 4"):
        list(log.letters().kept([4]))


def test_letters_are_chosen_by_name_reason_partition_and_time(log: Log) -> None:
    log.writer().dead_letter(
        [
            letter("clicks:1:1", "late", 1000),
            letter("clicks:1:2", "invalid", 2000),
            letter("clicks:2:1", "late", 3000, partition=2),
            letter("gateway", "not_json", 4000, partition=0),
        ]
    )
    letters = log.letters()

    def chosen_by(choice: Choice) -> list[str]:
        return [one.letter.source for one in chosen(letters, choice)]

    assert chosen_by(Choice()) == ["gateway", "clicks:1:1", "clicks:1:2", "clicks:2:1"]
    assert chosen_by(Choice(reasons=frozenset({"late"}))) == ["clicks:1:1", "clicks:2:1"]
    assert chosen_by(Choice(reasons=frozenset({"late"}), partitions=frozenset({2}))) == ["clicks:2:1"]
    assert chosen_by(Choice(since_ms=2000, until_ms=4000)) == ["clicks:1:2", "clicks:2:1"]
    assert chosen_by(Choice(names=frozenset({Position(1, 1), Position(2, 0)}))) == ["clicks:1:2", "clicks:2:1"]
    assert chosen_by(Choice(names=frozenset({Position(1, 1)}), partitions=frozenset({2}))) == []
    assert newest(letters, Choice(), 2, lambda one: one.letter.source) == ["gateway", "clicks:2:1"]
    assert count_by_reason(letters, Choice()) == {"late": 2, "invalid": 1, "not_json": 1}


def test_letters_come_some_together_by_number_and_by_size() -> None:
    def letter(size: int) -> KeptLetter:
        return KeptLetter(Position(0, size), DeadLetter("gateway", 0, "late", "", 0, b"x" * size))

    sizes = [1, 1, 1, 50, 3, 2, 9]
    found = list(batches(map(letter, sizes), 3, 10))
    assert [[len(one.letter.raw) for one in batch] for batch in found] == [[1, 1, 1], [50], [3, 2, 9]]
    assert list(batches([], 3, 10)) == []


def test_letters_are_bounded_in_bytes_and_the_oldest_go(redis_settings: RedisSettings) -> None:
    settings = LogSettings(partitions=2, dead_letter_bytes=200_000)
    log = Log(settings, redis_settings, lambda: None, lambda: None)
    writer, letters = log.writer(), log.letters()

    def large(number: int) -> DeadLetter:
        return DeadLetter(f"clicks:1:{number}", 1, "invalid", "of 10,000 bytes", 1000, b"x" * 10_000)

    for number in range(30):
        writer.dead_letter([large(number)])
    assert [one.letter.source for one in letters.kept()] == [f"clicks:1:{n}" for n in range(21, 30)]

    letters.remove(list(letters.kept())[:5])
    writer.dead_letter([large(number) for number in range(30, 35)])
    assert [one.letter.source for one in letters.kept()] == [f"clicks:1:{n}" for n in range(26, 35)]

    writer.dead_letter([DeadLetter("clicks:1:35", 1, "invalid", "larger than all", 1000, b"x" * 300_000)])
    assert [one.letter.source for one in letters.kept()] == ["clicks:1:35"]
    for opened in log.opened:
        opened.close()
