"""Session views in Redis. The sessions flow writes them together with its offset; the gateway reads them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from contracts.codec import decode_session, encode_session
from contracts.errors import StateConflict
from contracts.ids import partition_of
from contracts.keys import CATALOGUE, SCENARIOS, Keys, shard_names
from contracts.left_out import LeftOutLog
from contracts.plausible import expect_session
from contracts.redis_answers import WHOLE_LUA, is_other_kind, whole
from contracts.sessions import Session
from contracts.settings import RedisSettings
from state.client import answered, connect, redis_errors_translated
from state.redis_line import open_line, packed
from state.redis_rounds import RedisRounds
from state.session_arrays import SessionArrays

log = logging.getLogger("nextclick.state")

_COMMIT = f"""{WHOLE_LUA}
local stored = redis.pcall('HGET', KEYS[1], 'next')
if type(stored) == 'table' then
  forget_other_kind(KEYS[1], 'hash')
  stored = redis.call('HGET', KEYS[1], 'next')
end
if (whole(stored) or 0) ~= tonumber(ARGV[1]) then return string.format('%.0f', whole(stored) or 0) end
local counts = tonumber(ARGV[5])
local blobs = 5 + 2 * counts
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[blobs + i - 1], 'PX', ARGV[4])
end
for i = 1, counts do
  local counted = redis.pcall('HINCRBY', KEYS[1], ARGV[4 + 2 * i], ARGV[5 + 2 * i])
  if type(counted) == 'table' then redis.call('HSET', KEYS[1], ARGV[4 + 2 * i], ARGV[5 + 2 * i]) end
end
redis.call('HSET', KEYS[1], 'next', ARGV[2], 'watermark', ARGV[3])
return false
"""
"""Redis takes nothing back of a script that is refused half-way, so the offset moves last. A counter that is none
begins again, and an offset that is none counts as 0: what the log still holds is read again, as from an emptied Redis.
"""
_COMMIT_SHA = hashlib.sha1(_COMMIT.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored session that cannot be read, and counts as none: its bytes, and what reading them raised."""

    session_id: str
    raw: bytes
    error: Exception


@dataclass(frozen=True, slots=True)
class Loaded:
    """A partition at one moment: the next offset to apply, the watermark (epoch ms), and the sessions asked for.

    `unreadable` are those that are there and cannot be read: without a session of their name, they begin afresh.
    """

    next_offset: int
    watermark_ms: int
    sessions: Mapping[str, Session]
    unreadable: Sequence[Unreadable] = ()


@dataclass(frozen=True, slots=True)
class LoadedArrays:
    """Of each partition asked for, its next offset, its watermark, and those of its sessions that cannot be read; and
    all the sessions asked for as arrays, one partition after the other, where the others do not exist.
    """

    next_offsets: Sequence[int]
    watermarks_ms: Sequence[int]
    unreadable: Sequence[Sequence[Unreadable]]
    sessions: SessionArrays


@dataclass(frozen=True, slots=True)
class Change:
    """What a batch makes of a partition: from offset `start` on to `next`, with encoded sessions by name."""

    partition: int
    start: int
    next: int
    watermark_ms: int
    sessions: Mapping[str, bytes]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition's session path has come, and how many records went each way."""

    next_offset: int
    watermark_ms: int
    counts: Mapping[str, int] = field(default_factory=dict)


Ends = tuple[int, ...]
"""The number of the next change of each shard of a table."""


@dataclass(frozen=True, slots=True)
class View:
    """What one request reads: the session, the next offset its partition applies, the change counters of the catalogue
    and of the scenarios, one a shard.

    `unreadable` when a session is stored and cannot be read: `session` is None then. `catalogue_ends` is None when a
    counter cannot be read: nobody knows then whether a catalogue is the newest.
    """

    session: Session | None
    applied_offset: int
    catalogue_ends: Ends | None
    scenarios_ends: Ends | None = (0,)
    unreadable: Unreadable | None = None
    user: bytes | None = None
    """The document of the user that was asked for, as it is stored."""
    profile: bytes | None = None
    """What was learnt of that user, as it is stored."""

    def includes(self, offset: int) -> bool:
        """Tell whether the record at `offset` of the session's partition has been applied."""
        return self.applied_offset > offset


class SessionStore:
    """Sessions and offsets of the session path, for one worker thread. State and offset move in one script."""

    def __init__(self, settings: RedisSettings, *, idle_gap_ms: int) -> None:
        self._settings = settings
        self._keys = Keys(settings.prefix)
        self._idle_gap_ms = idle_gap_ms
        self._said = LeftOutLog(log)
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)

    def load(self, partition: int, session_ids: Sequence[str]) -> Loaded:
        """Read a partition's offset and watermark, and then the named sessions: one round trip."""
        [(next_offset, watermark_ms, blobs)] = self._stored([(partition, session_ids)])
        found = [_read(name, blob) for name, blob in zip(session_ids, blobs, strict=True)]
        return Loaded(
            next_offset,
            watermark_ms,
            {one.session_id: one for one in found if isinstance(one, Session)},
            [one for one in found if isinstance(one, Unreadable)],
        )

    def load_arrays(
        self, asked: Sequence[tuple[int, Sequence[str]]], *, text: bytes, room: int, width: int, version: int
    ) -> LoadedArrays:
        """Read (partition, names of sessions) as arrays, one round trip: see `SessionArrays.of`."""
        stored = self._stored(asked)
        blobs = [blob for _, _, found in stored for blob in found]
        sessions, odd = SessionArrays.of(blobs, text, room=room, width=width, version=version)
        unreadable: list[list[Unreadable]] = [[] for _ in asked]
        named = [(part, name) for part, (_, names) in enumerate(asked) for name in names]
        for at in odd.tolist():
            part, name = named[at]
            found = _read(name, blobs[at])
            if isinstance(found, Unreadable):
                sessions.exists[at] = False
                unreadable[part].append(found)
        return LoadedArrays([one[0] for one in stored], [one[1] for one in stored], unreadable, sessions)

    def _stored(self, asked: Sequence[tuple[int, Sequence[str]]]) -> list[tuple[int, int, list[bytes | None]]]:
        """Return each partition's next offset, watermark, and what is stored of its sessions.

        Redis reads the offset first, so no session lacks a click that the offset claims. One that has a click more was
        written by another worker, which moved the offset on: `commit` refuses what is made of it.
        """
        commands: list[Sequence[Any]] = []
        for partition, session_ids in asked:
            place = self._keys.session(partition, "")
            commands.append(("HMGET", self._keys.progress(partition), "next", "watermark"))
            commands.append(("MGET", *([place + name for name in session_ids] or [place])))
        with redis_errors_translated(self._settings):
            answers = self._rounds.ask(commands)
        found = []
        for part, (partition, session_ids) in enumerate(asked):
            progress, blobs = answers[2 * part : 2 * part + 2]
            next_offset, watermark_ms = self._place(partition, progress)
            found.append((next_offset, watermark_ms, blobs[: len(session_ids)]))
        return found

    def _place(self, partition: int, progress: Any) -> tuple[int, int]:
        """Return what a partition's progress says: its next offset and watermark. What cannot be read counts as 0."""
        if isinstance(progress, Exception):
            self._said.say(f"the progress of partition {partition}", progress)
            return 0, 0
        for name, answer in zip(("next offset", "watermark"), progress, strict=True):
            if answer is not None and whole(answer) is None:
                self._said.say(f"the {name} of partition {partition}", ValueError(f"expected a number, got {answer!r}"))
        return whole(progress[0]) or 0, whole(progress[1]) or 0

    def commit(
        self,
        partition: int,
        *,
        start: int,
        next: int,
        watermark_ms: int,
        sessions: Iterable[Session],
        counts: Mapping[str, int],
    ) -> None:
        """Write sessions, counters, watermark and the new offset, all or nothing.

        Raises StateConflict, with nothing written, when the stored offset is not `start`.
        """
        encoded = {session.session_id: encode_session(session) for session in sessions}
        [conflict] = self.commit_all([Change(partition, start, next, watermark_ms, encoded, counts)])
        if conflict is not None:
            raise conflict

    def commit_all(self, changes: Sequence[Change]) -> list[StateConflict | None]:
        """Commit changes of different partitions in one round trip, each by itself as `commit` does; returns the
        conflict of each that was refused."""
        commands = [self._command(change) for change in changes]
        with redis_errors_translated(self._settings):
            answers = self._rounds.scripts(_COMMIT_SHA, _COMMIT, commands)
        return [
            None if stored is None else StateConflict(f"partition {change.partition}", change.start, int(stored))
            for change, stored in zip(changes, answers, strict=True)
        ]

    def _command(self, change: Change) -> list[Any]:
        place = self._keys.session(change.partition, "")
        keys = [self._keys.progress(change.partition), *(place + name for name in change.sessions)]
        counts = [part for name, n in change.counts.items() for part in (name, n)]
        header = (change.start, change.next, change.watermark_ms, self._idle_gap_ms, len(change.counts))
        return [len(keys), *keys, *header, *counts, *change.sessions.values()]

    def progress(self, partition: int) -> Progress:
        """Return how far the partition has come; zeros before its first batch."""
        told: Any = answered(self._settings, lambda: self._redis.hgetall(self._keys.progress(partition))) or {}
        fields = {name.decode(errors="replace"): n for name, value in told.items() if (n := whole(value)) is not None}
        next_offset, watermark = fields.pop("next", 0), fields.pop("watermark", 0)
        return Progress(next_offset, watermark, fields)

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()


class SessionReader:
    """Reads session views from an event loop. `within_s` bounds one read; the settings' time limit when left out."""

    def __init__(self, settings: RedisSettings, *, partitions: int, within_s: float | None = None) -> None:
        self._settings = settings
        self._partitions = partitions
        self._line = open_line(settings, within_s=within_s)
        keys = Keys(settings.prefix)
        self._session_keys = [keys.session(partition, "").encode() for partition in range(partitions)]
        self._user_keys = [
            (keys.user(partition, "").encode(), keys.profile(partition, "").encode()) for partition in range(partitions)
        ]
        shards = shard_names(CATALOGUE, settings.shards(CATALOGUE))
        self._shards = len(shards)
        ends = [(b"GET", keys.table_end(table).encode()) for table in (*shards, SCENARIOS)]
        progress = [(b"HGET", keys.progress(partition).encode(), b"next") for partition in range(partitions)]
        self._progress = [packed(one) for one in progress]
        self._before = [packed(*ends, one) for one in progress]

    async def view(self, session_id: str, user_id: str | None = None) -> View:
        """Read one view, and of a user what is kept, in the same round trip. Reads that are under way at once share a
        connection, and Redis's turn. Raises StateUnavailable.

        The offset is read before the session, so a view never lacks a click that its offset claims.
        """
        partition = partition_of(session_id, self._partitions)
        key = self._session_keys[partition] + session_id.encode()
        commands = b"%b*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (self._before[partition], len(key), key)
        of_user: Any = (None, None)
        with redis_errors_translated(self._settings):
            if user_id is None:
                *ends, scenarios, applied, stored = await self._line.call(commands, 3 + self._shards)
            else:
                asked = commands + self._of_user(user_id)
                *ends, scenarios, applied, stored, of_user = await self._line.call(asked, 4 + self._shards)
            for answer in (*ends, scenarios, applied, of_user):
                if isinstance(answer, Exception) and not is_other_kind(answer):
                    raise answer
        found = _read(session_id, stored)
        unreadable = found if isinstance(found, Unreadable) else None
        session = None if isinstance(found, Unreadable) else found
        user, profile = of_user
        return View(session, whole(applied) or 0, _ends(ends), _ends([scenarios]), unreadable, user, profile)

    def _of_user(self, user_id: str) -> bytes:
        """Return the command that reads a user. MGET, as it takes a key of another kind for none."""
        own, (document, profile) = user_id.encode(), self._user_keys[partition_of(user_id, self._partitions)]
        document, profile = document + own, profile + own
        sizes = len(document), document, len(profile), profile
        return b"*3\r\n$4\r\nMGET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % sizes

    async def read(self, session_ids: Sequence[str]) -> list[View]:
        """Read several views at once, in the order asked. Raises StateUnavailable."""
        return list(await asyncio.gather(*map(self.view, session_ids)))

    async def applied(self, partition: int) -> int:
        """Return the next offset that the partition's session path applies. Raises StateUnavailable."""
        return whole(await self._answer(self._progress[partition])) or 0

    async def ping(self) -> None:
        """Return when Redis answers. Raises StateUnavailable."""
        await self._answer(packed((b"PING",)))

    async def close(self) -> None:
        await self._line.close()

    async def _answer(self, command: bytes) -> Any:
        with redis_errors_translated(self._settings):
            [answer] = await self._line.call(command, 1)
            if isinstance(answer, Exception) and not is_other_kind(answer):
                raise answer
        return answer


def _ends(answers: list[Any]) -> Ends | None:
    """Return the numbers that Redis answered; None where one is none."""
    ends = [0 if answer is None else whole(answer) for answer in answers]
    return None if None in ends else cast(Ends, tuple(ends))


def _read(session_id: str, answer: bytes | Exception | None) -> Session | Unreadable | None:
    """Return what Redis answered for a session's key. One that cannot be read keeps no other from being read."""
    if answer is None:
        return None
    if isinstance(answer, Exception):  # the key holds something that is no string
        return Unreadable(session_id, b"", answer)
    try:
        session = decode_session(session_id, answer)
        expect_session(session)
    except MemoryError:
        raise
    except Exception as error:
        return Unreadable(session_id, answer, error)
    return session
