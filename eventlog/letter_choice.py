"""Choosing among the dead letters that are kept: by name, reason, partition and time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

from eventlog.contract import DeadLetterReader, KeptLetter, Position

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters. What is empty or None chooses all; times are epoch milliseconds, `until_ms` is left out itself."""

    names: frozenset[Position] = frozenset()
    reasons: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == Choice()

    def takes(self, kept: KeptLetter) -> bool:
        """Tell whether a letter is among the chosen."""
        letter = kept.letter
        return (
            (not self.names or kept.position in self.names)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.partitions or letter.partition in self.partitions)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
        )

    def read(self) -> frozenset[int] | None:
        """Return the partitions that have to be read, None for all."""
        named = frozenset(position.partition for position in self.names)
        if self.partitions and self.names:
            return self.partitions & named
        return self.partitions or named or None


def chosen(reader: DeadLetterReader, choice: Choice) -> Iterator[KeptLetter]:
    """Yield the chosen letters as `DeadLetterReader.kept` does, and raises as it does."""
    return (one for one in reader.kept(choice.read()) if choice.takes(one))


def newest(reader: DeadLetterReader, choice: Choice, limit: int, as_shown: Callable[[KeptLetter], T]) -> list[T]:
    """Return the newest `limit` of the chosen letters, newest first, as they are to be shown. Holds no more than these,
    and none of them whole unless `as_shown` does.
    """
    made = (((one.letter.at_ms, one.position), as_shown(one)) for one in chosen(reader, choice))
    return [shown for _, shown in heapq.nlargest(limit, made, key=itemgetter(0))]


def batches(letters: Iterable[KeptLetter], most: int, most_bytes: int) -> Iterator[list[KeptLetter]]:
    """Yield letters some together: `most` of them, or fewer that hold `most_bytes` with the last."""
    batch, size = list[KeptLetter](), 0
    for one in letters:
        batch.append(one)
        size += len(one.letter.raw)
        if len(batch) >= most or size >= most_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def count_by_reason(reader: DeadLetterReader, choice: Choice) -> Counter[str]:
    """Return how many of the chosen letters have which reason."""
    return Counter(one.letter.reason for one in chosen(reader, choice))
