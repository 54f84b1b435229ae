"""What is held of one user, read place by place (`rights.places`): Redis, the log, and the files of this machine.

For one thread. Nothing is held but one entry and the names of the user's sessions and answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from contracts.codec import decode_ended
from contracts.errors import ImportFormatError, OffsetTrimmed
from contracts.keys import ENDED
from eventlog.contract import LogReader, Message, Topic
from eventlog.files import read_raw
from eventlog.open_log import open_dead_letters, open_reader
from gateway.answer_records import bodies
from gateway.record_files import FINISHED, PREFIX, parts_in
from gateway.settings import GatewaySettings
from retrieval.ended_sessions import slot_of
from rights.places import Place, exported
from state.held_of import MOST_SESSIONS, HeldInRedis
from state.tables import TableReader

Held = dict[str, Any]
_GROUP: Final = "export"
_ENDED: Final = "table_rows"
_AT_ONCE: Final = 500
_MOST_ANSWERS: Final = 100_000
"""Answers of a user that are looked for among kept ones."""

NOT_READ: Final = {
    "ledger": "files that `nextclick kpi export` wrote, wherever they are: the log's records are here",
    "campaigns": "files that campaigns wrote: they are with who ran them",
}
"""Places that are named in an export, and not read."""


class Entry(NamedTuple):
    """One thing that a place holds; None before the first one, of each place that is read."""

    place: str
    held: Held | None


class Whose(NamedTuple):
    """A user, the sessions that are tied to the user, and answers that were shown."""

    user_id: str
    sessions: set[str]
    requests: set[str]

    def is_of(self, event: Any) -> bool:
        """Return whether an event is the user's: it says so, or it is of a tied session and of no other user."""
        if not isinstance(event, dict):
            return False
        named = event.get("user_id")
        return named == self.user_id or (named is None and event.get("session_id") in self.sessions)


class Exporting:
    """Reads what is held of a user."""

    def __init__(self, settings: GatewaySettings, user_id: str) -> None:
        self._settings = settings
        self._redis = HeldInRedis(settings.redis, partitions=settings.log.partitions)
        self.whose = Whose(user_id, set(), set())
        self._clicked: dict[str, set[int]] = defaultdict(set)
        """By session, the moments of its clicks: one of them is its beginning."""

    def entries(self) -> Iterator[Entry]:
        """Yield all that is held, place by place. Raises StateUnavailable, LogUnavailable."""
        self._find_sessions()
        for place in sorted(exported(), key=lambda place: place.name == _ENDED):  # by what the log says of sessions
            if place.name not in NOT_READ:
                yield Entry(place.name, None)
                for held in self._of(place):
                    yield Entry(place.name, held)

    def close(self) -> None:
        self._redis.close()

    def _of(self, place: Place) -> Iterator[Held]:
        if self._redis.reads(place.name):
            return self._redis.of(place.name, self.whose.user_id, self.whose.sessions)
        readers: dict[str, Callable[[], Iterator[Held]]] = {
            "clicks": lambda: self._logged(Topic.CLICKS),
            "impressions": lambda: self._logged(Topic.IMPRESSIONS),
            _ENDED: self._ended,
            "dead_letters": self._letters,
            "recordings": self._recorded,
            "answers": self._answers,
        }
        return readers[place.name]() if place.name in readers else iter(())

    def _find_sessions(self) -> None:
        """Find the user's sessions, where one is tied to the user and where an event names both."""
        self.whose.sessions.update(self._redis.tied_sessions(self.whose.user_id))
        for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
            for message in self._messages(topic):
                event = _json(message.value)
                if isinstance(event, dict) and event.get("user_id") == self.whose.user_id:
                    if len(self.whose.sessions) < MOST_SESSIONS and isinstance(event.get("session_id"), str):
                        self.whose.sessions.add(event["session_id"])
                    if len(self.whose.requests) < _MOST_ANSWERS and isinstance(event.get("request_id"), str):
                        self.whose.requests.add(event["request_id"])

    def _logged(self, topic: Topic) -> Iterator[Held]:
        for message in self._messages(topic):
            event = _json(message.value)
            if self.whose.is_of(event):
                session, ts = event.get("session_id"), event.get("ts")
                if topic is Topic.CLICKS and isinstance(session, str) and isinstance(ts, int):
                    self._clicked[session].add(ts)
                yield event

    def _ended(self) -> Iterator[Held]:
        """Yield what is kept of the user's ended sessions: those of which the log still has the first click."""
        most = self._settings.trend.sessions
        named = ((session, ts) for session, moments in self._clicked.items() for ts in moments)
        slots = {slot_of(session, ts, most).to_bytes(8, "little"): (session, ts) for session, ts in named}
        with closing(TableReader(self._settings.redis, ENDED)) as reader:
            for at in range(0, len(slots), _AT_ONCE):
                names = list(islice(slots, at, at + _AT_ONCE))
                for name, row in zip(names, reader.get(names), strict=True):
                    if row is not None and (held := _ended_told(row, *slots[name])) is not None:
                        yield held

    def _messages(self, topic: Topic) -> Iterator[Message]:
        """Yield what the log holds of a topic now, partition by partition."""
        log = self._settings.log
        partitions = range(log.partitions)
        with closing(open_reader(log, self._settings.redis, topic, partitions, _GROUP)) as reader:
            yield from _up_to_the_ends(reader)

    def _letters(self) -> Iterator[Held]:
        names = [self.whose.user_id.encode(), *(name.encode() for name in self.whose.sessions)]
        with closing(open_dead_letters(self._settings.log, self._settings.redis)) as reader:
            for kept in reader.kept():
                letter = kept.letter
                event = _json(letter.raw)
                if self.whose.is_of(event) or (event is None and any(name in letter.raw for name in names)):
                    raw = letter.raw.decode(errors="replace")
                    yield {"at_ms": letter.at_ms, "reason": letter.reason, "detail": letter.detail, "record": raw}

    def _recorded(self) -> Iterator[Held]:
        if not self._settings.record.to:
            return
        folder = Path(self._settings.record.to)
        for path in sorted(folder.glob(f"{PREFIX}*{FINISHED}")):
            try:
                for raw in read_raw(path):
                    if self.whose.is_of(event := _json(raw)):
                        yield event
            except (OSError, ImportFormatError):
                continue  # it was let go of meanwhile, or is none
        for path in parts_in(folder):
            with open(path, "rb") as file:
                for raw in file:
                    if self.whose.is_of(event := _json(raw)):
                        yield event

    def _answers(self) -> Iterator[Held]:
        if self._settings.answers.to:
            for body in bodies(Path(self._settings.answers.to), self.whose.requests):
                if isinstance(answer := _json(body), dict):
                    yield answer


def _ended_told(row: bytes, session_id: str, started_ms: int) -> Held | None:
    """Return what a row says of a session; None for that of another, or one that cannot be read."""
    try:
        ended = decode_ended(row)
    except ValueError:
        return None
    if ended.started_ms != started_ms:
        return None
    return {"session_id": session_id, "started_ms": started_ms, "items": ended.items.tolist(), "taken": ended.taken}


def _up_to_the_ends(reader: LogReader) -> Iterator[Message]:
    """Yield all that is there now, and nothing that comes meanwhile."""
    ends, earliest = reader.ends(), reader.earliest()
    left = {partition for partition, end in ends.items() if earliest[partition] < end}
    for partition, offset in earliest.items():
        reader.seek(partition, offset if partition in left else ends[partition])
    while left:
        try:
            batches = reader.poll(_AT_ONCE, 1.0)
        except OffsetTrimmed as error:  # the oldest went meanwhile
            reader.seek(error.partition, error.earliest)
            if error.earliest >= ends[error.partition]:
                left.discard(error.partition)
            continue
        for batch in batches:
            if batch.partition not in left:
                continue
            yield from (one for one in batch.messages if one.offset < ends[batch.partition])
            if batch.next >= ends[batch.partition]:
                left.discard(batch.partition)


def _json(raw: bytes) -> Any:
    """Return what a record says; None for what is no JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
