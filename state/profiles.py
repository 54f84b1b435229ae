"""Profiles in Redis, each under its user's partition.

The profiles flow writes them together with how far each partition of the log has come; the gateway reads them with the
session view.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.errors import StateConflict
from contracts.hashed_names import hashed
from contracts.keys import REFUSALS, Keys
from contracts.left_out import LeftOutLog
from contracts.profiles import Profile, decode_profile, encode_profile, is_newer, revision_of
from contracts.redis_answers import WHOLE_LUA, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.erasure_secret import secret_of
from state.redis_rounds import RedisRounds
from state.refusals import refusal_row

log = logging.getLogger("nextclick.state")

_COMMIT: Final = f"""{WHOLE_LUA}
local stored = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(stored) == 'table' then
  forget_other_kind(KEYS[1], 'hash')
  stored = false
end
if (whole(stored) or 0) ~= tonumber(ARGV[2]) then return 0 end
for i = 3, #KEYS do
  local was = redis.pcall('GETRANGE', KEYS[i], 0, 7)
  if type(was) == 'table' then was = '' end
  if was ~= ARGV[4 * i - 7] then return 0 end
  local forgotten = redis.pcall('ZSCORE', KEYS[2], ARGV[4 * i - 5])
  if type(forgotten) ~= 'string' then forgotten = 0 end
  if tonumber(forgotten) ~= tonumber(ARGV[4 * i - 4]) then return 0 end
end
for i = 3, #KEYS do redis.call('SET', KEYS[i], ARGV[4 * i - 6], 'PX', ARGV[4]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
"""The offset moves last, as in the commit of sessions. Nothing is written where the offset, one profile's revision, or
when its user was deleted is another than was read. Of each profile: revision, bytes, user, when the user was deleted.
"""
_SHA: Final = hashlib.sha1(_COMMIT.encode()).hexdigest()
_READ_ON: Final = f"""{WHOLE_LUA}
local stored = redis.pcall('HGET', KEYS[1], 'next')
if type(stored) == 'table' then
  forget_other_kind(KEYS[1], 'hash')
  stored = false
end
stored = whole(stored) or 0
if stored == tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'next', ARGV[2]) end
return stored
"""
_OWNED_MS: Final = 86_400_000
_NEXT: Final = "next"


@dataclass(frozen=True, slots=True)
class Users:
    """Some users of one partition: how far they know a partition of the log, and what is stored of each."""

    partition: int
    known: int
    stored: Mapping[str, tuple[bytes, Profile | None]]
    """Revision as stored, and the profile; None where there is none, or it cannot be read: it begins afresh."""
    forgotten_ms: Mapping[str, int]
    """When users were deleted (epoch ms), of those who were lately: what they did until then is not learnt."""
    refused: Collection[str] = ()
    """Those who refuse personalisation: nothing is learnt of them."""
    newer: Collection[str] = ()
    """Those whose profile a newer release wrote: it is left as it is."""


class ProfileStore:
    """Profiles and offsets of the profiles flow, for one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, keep_ms: int) -> None:
        self._settings, self._keep_ms = settings, keep_ms
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        self._keys = Keys(settings.prefix)
        self._said = LeftOutLog(log)
        self._secret = b""

    def next_offset(self, partition: int) -> int:
        """Return the next offset of a partition of the log to read."""
        [answer] = self._ask([("HGET", self._keys.profile_progress(partition), _NEXT)])
        return whole(answer) or 0

    def read_on(self, partition: int, start: int, offset: int) -> None:
        """Say that all users know a partition of the log, which they knew up to `start`, up to an offset.

        Raises StateConflict, with nothing changed, when they knew it up to another: Redis went back.
        """
        key = self._keys.profile_progress(partition)
        [answer] = self._ask([("EVAL", _READ_ON, 1, key, start, offset)])
        if answer != start:
            raise StateConflict(f"profiles of partition {partition}", start, int(answer))

    def owners(self, partition: int, start: int, users: Mapping[str, str]) -> dict[str, str]:
        """Return, by session, the first user who was seen in it: the one of `users`, unless there was one before.

        Raises StateConflict where `read_on` would.
        """
        commands: list[Sequence[Any]] = [("HGET", self._keys.profile_progress(partition), _NEXT)]
        for session_id, user_id in users.items():
            key = self._keys.session_owner(partition, session_id)
            commands += [("SET", key, user_id, "NX", "PX", _OWNED_MS), ("GET", key)]
        stored, *answers = self._ask(commands)
        if (whole(stored) or 0) != start:
            raise StateConflict(f"profiles of partition {partition}", start, whole(stored) or 0)
        return {
            session_id: answer.decode(errors="replace") if isinstance(answer, bytes) else users[session_id]
            for session_id, answer in zip(users, answers[1::2], strict=True)
        }

    def load(self, source: int, asked: Mapping[int, Sequence[str]]) -> list[Users]:
        """Read users by their partitions, one round trip. `source` is the partition of the log that they learn of.

        The offset is read before the profiles: what is made of an older profile, or beside a deletion, is refused.
        """
        commands: list[Sequence[Any]] = []
        for partition, user_ids in asked.items():
            commands.append(("HGET", self._keys.profile_progress(partition), str(source)))
            commands.append(("MGET", *(self._keys.profile(partition, user_id) for user_id in user_ids)))
            commands.append(("ZMSCORE", self._keys.forgotten(partition), *map(self._sign, user_ids)))
            commands.append(("HMGET", self._keys.table_rows(REFUSALS), *map(refusal_row, user_ids)))
        answers = self._ask(commands)
        return [
            Users(
                partition,
                whole(known) or 0,
                {user_id: self._read(user_id, raw) for user_id, raw in zip(user_ids, raws, strict=True)},
                _moments(user_ids, scores),
                _refused(user_ids, rows),
                [user_id for user_id, raw in zip(user_ids, raws, strict=True) if is_newer(raw)],
            )
            for (partition, user_ids), known, raws, scores, rows in zip(
                asked.items(), *(answers[at::4] for at in range(4)), strict=True
            )
        ]

    def commit(self, source: int, changes: Sequence[tuple[Users, int, Mapping[str, Profile]]]) -> list[bool]:
        """Write users as (what was loaded, next offset of the source, profiles), each all or nothing, one round trip.

        Returns which were written; where one was not, somebody else wrote meanwhile: load again.
        """
        commands = [self._command(source, *change) for change in changes]
        with redis_errors_translated(self._settings):
            answers = self._rounds.scripts(_SHA, _COMMIT, commands)
        return [answer == 1 for answer in answers]

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _command(self, source: int, users: Users, next_offset: int, profiles: Mapping[str, Profile]) -> list[Any]:
        keys = [self._keys.profile_progress(users.partition), self._keys.forgotten(users.partition)]
        blobs: list[Any] = []
        for user_id, profile in profiles.items():
            keys.append(self._keys.profile(users.partition, user_id))
            forgotten_ms = users.forgotten_ms.get(user_id, 0)
            blobs += [users.stored[user_id][0], encode_profile(profile), self._sign(user_id), forgotten_ms]
        return [len(keys), *keys, source, users.known, next_offset, self._keep_ms, *blobs]

    def _sign(self, user_id: str) -> str:
        """Return what a user who was deleted is known by."""
        self._secret = self._secret or secret_of(self._redis, self._settings)
        return hashed(self._secret, "user", user_id)

    def _read(self, user_id: str, raw: bytes | None) -> tuple[bytes, Profile | None]:
        if raw is None:
            return b"", None
        try:
            return revision_of(raw), decode_profile(raw)
        except ValueError as error:
            self._said.say(f"the profile of {user_id!r}", error)
            return revision_of(raw), None

    def _ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        with redis_errors_translated(self._settings):
            return self._rounds.ask(commands)


def _moments(user_ids: Sequence[str], scores: object) -> dict[str, int]:
    """Return when users were deleted, of those who were; of a key that holds another kind of thing nobody was."""
    if not isinstance(scores, list):
        return {}
    return {user_id: int(float(one)) for user_id, one in zip(user_ids, scores, strict=True) if one is not None}


def _refused(user_ids: Sequence[str], rows: object) -> Collection[str]:
    """Return who refused; of a key that holds another kind of thing nobody did."""
    if not isinstance(rows, list):
        return ()
    return [user_id for user_id, row in zip(user_ids, rows, strict=True) if row is not None]
