"""Dead letters once more: each one's record through the check of the gateway's door, and into the log if it is taken.

A letter leaves the list after its record is durably in the log. Whoever is killed in between has the record in the log
and the letter in the list: replayed again, its event counts once, as events have ids; a catalogue change says what is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson

from contracts.events import Rejection
from contracts.ids import item_key, partition_of
from contracts.items import ItemPatch, ItemPut, ItemSeen, StockSet, decode_change, encode_change
from contracts.left_out import reason_of
from contracts.settings import ServiceSettings
from eventlog.contract import DeadLetter, DeadLetterReader, KeptLetter, LogWriter, Position, Record, Topic
from eventlog.letter_choice import batches
from gateway.appends import MAX_RAW
from gateway.events import sort_documents
from state.sessions import SessionStore
from state.shards import catalogue_reader

AT_ONCE = 200
"""Letters that are checked, appended and then removed together: what a kill can make come twice."""

_BYTES_AT_ONCE = 4_000_000
GATEWAY = "gateway"
_EVENTS = frozenset({Topic.CLICKS, Topic.IMPRESSIONS})


class Outcome(NamedTuple):
    """What became of one letter: where its record stands in the log now, or why it was refused again."""

    kept: KeptLetter
    topic: Topic | None = None
    position: Position | None = None
    refused: Rejection | None = None


class Replay:
    """Replays letters. For one thread; `close` it."""

    def __init__(
        self, settings: ServiceSettings, reader: DeadLetterReader, writer: LogWriter, clock_ms: Callable[[], int]
    ) -> None:
        self._reader, self._writer, self._clock_ms = reader, writer, clock_ms
        self._partitions, self._idle_gap_ms = settings.log.partitions, settings.session.idle_gap_ms
        self._most_bytes = settings.log.max_record_bytes
        self._sessions = SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)
        self._catalogue = catalogue_reader(settings.redis)
        self._put: set[str] = set()
        """Items that letters of this replay put, which the catalogue may not show yet."""

    def run(self, letters: Iterable[KeptLetter]) -> Iterator[Outcome]:
        """Replay letters in the order given, and yield what became of each once that is so.

        Those that are taken are gone from the list then; the others stay in it as they were. Raises LogUnavailable
        (LogFull) and StateUnavailable: what was yielded is done, the rest can be replayed again.
        """
        for batch in batches(letters, AT_ONCE, _BYTES_AT_ONCE):
            yield from self._replayed(batch)

    def close(self) -> None:
        self._sessions.close()
        self._catalogue.close()

    def _replayed(self, batch: Sequence[KeptLetter]) -> list[Outcome]:
        self._watermarks: dict[int, int] = {}
        checked = [self._checked(kept.letter) for kept in batch]
        outcomes = [
            Outcome(kept, refused=found) if isinstance(found, Rejection) else Outcome(kept, topic=found[0])
            for kept, found in zip(batch, checked, strict=True)
        ]
        for topic in Topic:
            places = [at for at, outcome in enumerate(outcomes) if outcome.topic is topic]
            records = [found[1] for at in places if not isinstance(found := checked[at], Rejection)]
            for at, position in zip(places, self._writer.append(topic, records), strict=True):
                outcomes[at] = outcomes[at]._replace(position=position)
        self._reader.remove([outcome.kept for outcome in outcomes if outcome.position is not None])
        return outcomes

    def _checked(self, letter: DeadLetter) -> tuple[Topic, Record] | Rejection:
        """Return a letter's record and the topic that it belongs to, or why it is refused."""
        topic = topic_of(letter)
        if topic is None:
            return Rejection("no_record", f"{letter.source} is a stored row, no record that could be sent: drop it")
        try:
            found = self._event(letter) if topic in _EVENTS else self._change(letter)
            return found if isinstance(found, Rejection) else self._that_fits(*found)
        except orjson.JSONDecodeError as error:
            if len(letter.raw) >= MAX_RAW and letter.source == GATEWAY:
                return Rejection("cut", f"a letter keeps {MAX_RAW:,} bytes, this record had more: send the original")
            return Rejection("not_json", str(error))
        except (ValueError, RecursionError, TypeError) as error:
            return Rejection("unreadable", reason_of(error))

    def _that_fits(self, topic: Topic, record: Record) -> tuple[Topic, Record] | Rejection:
        """Refuse a record that the log would: alone, not with the others of its append."""
        if record.size <= self._most_bytes:
            return topic, record
        return Rejection(
            "too_large", f"{record.size} bytes, expected at most {self._most_bytes}: send less, or drop it"
        )

    def _event(self, letter: DeadLetter) -> tuple[Topic, Record] | Rejection:
        document = orjson.loads(letter.raw)
        found = sort_documents([document], now_ms=self._clock_ms(), partitions=self._partitions)
        for again in found.letters:
            return Rejection(again.reason, again.detail)
        if found.impressions:
            return Topic.IMPRESSIONS, found.impressions[0]
        [click] = found.clicks
        return self._late(partition_of(click.key, self._partitions), document["ts"]) or (Topic.CLICKS, click)

    def _late(self, partition: int, ts_ms: int) -> Rejection | None:
        """Refuse a click that the sessions flow would: its session has closed, whatever session it names."""
        watermark_ms = self._watermarks.get(partition)
        if watermark_ms is None:
            watermark_ms = self._watermarks[partition] = self._sessions.progress(partition).watermark_ms
        behind_ms = watermark_ms - ts_ms
        if behind_ms <= self._idle_gap_ms:
            return None
        detail = (
            f"{behind_ms // 1000:,} s behind the newest click of partition {partition}, the idle gap is "
            f"{self._idle_gap_ms // 1000:,} s: its session has closed; drop it"
        )
        return Rejection("late", detail)

    def _change(self, letter: DeadLetter) -> tuple[Topic, Record] | Rejection:
        change = decode_change(letter.raw)
        if isinstance(change, Rejection):
            if change.reason == "not_json":
                orjson.loads(letter.raw)
            return change
        if isinstance(change, StockSet | ItemPatch) and not self._has(change.item_id):
            what = "stock for" if isinstance(change, StockSet) else "a patch of"
            detail = f"{what} {change.item_id!r}, which is not in the catalogue: put the item first"
            return Rejection("unknown_item", detail)
        record = Record(change.item_id, encode_change(change))
        if isinstance(change, ItemPut | ItemSeen):
            self._put.add(change.item_id)
        return Topic.ITEMS, record

    def _has(self, item_id: str) -> bool:
        if item_id in self._put:
            return True
        [row] = self._catalogue.get([item_key(item_id).to_bytes(8, "little")])
        return row is not None


def topic_of(letter: DeadLetter) -> Topic | None:
    """Return the topic that a letter's record came from or was sent to; None for a stored row that became a letter.

    An event that the gateway refused may be a click or an impression: CLICKS stands for both.
    """
    if letter.source == GATEWAY:
        return Topic.CLICKS
    name, _, place = letter.source.partition(":")
    if name in set(Topic) and place.partition(":")[0] == str(letter.partition):
        return Topic(name)
    return None
