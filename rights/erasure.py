"""Who is erased, by what hash, and what an erasure's receipt says. Pure: nothing here reads or writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from contracts.hashed_names import hashed
from rights.places import AGGREGATES, PLACES, Erased, Kind


class Subject(StrEnum):
    """What is erased: a user with all their sessions, or one session."""

    USER = "user"
    SESSION = "session"


class Status(StrEnum):
    RUNNING = "running"
    DONE = "done"


def as_json(name: str) -> bytes:
    """Return the bytes of a name as JSON writes it without escapes that it does not need."""
    return orjson.dumps(name)[1:-1]


@dataclass(frozen=True, slots=True)
class Names:
    """A visitor's names while an erasure is under way: the user (None: a session alone is erased), and sessions."""

    user: str | None
    sessions: frozenset[str] = frozenset()

    def owns(self, session_id: str | None, user_id: str | None) -> bool:
        """Tell whether a record is the visitor's: it names the user, or it is of one of the sessions and names nobody
        else. Who asked for a session alone has all of it taken away.
        """
        if self.user is None:
            return session_id in self.sessions
        return user_id == self.user or (session_id in self.sessions and user_id is None)

    @property
    def all(self) -> frozenset[str]:
        return self.sessions if self.user is None else self.sessions | {self.user}

    def with_sessions(self, more: Iterable[str]) -> Names:
        return Names(self.user, self.sessions | frozenset(more))


class _Told(msgspec.Struct):
    """What a record says of whom it is of, whatever else it is."""

    session_id: Any = None
    user_id: Any = None
    ts: Any = None
    type: Any = None
    request_id: Any = None


_decode_told: Final = msgspec.json.Decoder(_Told).decode


class Told(NamedTuple):
    """Whom a record names, and when it was."""

    session_id: str | None
    user_id: str | None
    ts_ms: int
    is_impression: bool = False
    request_id: str | None = None


def told_in(raw: bytes) -> Told | None:
    """Return whom a record names; None for one that cannot be read."""
    try:
        found = _decode_told(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    session, user, request = (
        one if isinstance(one, str) else None for one in (found.session_id, found.user_id, found.request_id)
    )
    ts = found.ts if isinstance(found.ts, int) and not isinstance(found.ts, bool) else 0
    return Told(session, user, ts, found.type == "impression", request)


class Found(msgspec.Struct, frozen=True):
    """What a later look found of the visitor: by place how many things that are older than the erasure."""

    at_ms: int
    places: dict[str, int] = {}

    @property
    def clean(self) -> bool:
        return not self.places


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An erasure as it is kept: by hashes, without a name. `removed`: by place (`redis:session`), how many things.
    `sessions`: hashes of the sessions that went with a user. `waits_for`: what keeps it from being done. `again`: it
    has to be carried out again, as what it took away came back with a backup.
    """

    id: str
    subject: Subject
    hash: str
    at_ms: int
    status: Status = Status.RUNNING
    done_ms: int | None = None
    sessions: tuple[str, ...] = ()
    removed: dict[str, int] = {}
    failed: dict[str, str] = {}
    waits_for: str | None = None
    again: bool = False
    runs: int = 0
    looked: Found | None = None

    def plus(self, removed: Mapping[str, int]) -> Erasure:
        """Return it with what was taken away besides."""
        total = dict(self.removed)
        for place, count in removed.items():
            if count:
                total[place] = total.get(place, 0) + count
        return msgspec.structs.replace(self, removed=total)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Erasure).decode


def encode_erasure(erasure: Erasure) -> bytes:
    return _encode(erasure)


def decode_erasure(raw: bytes) -> Erasure:
    """Decode what `encode_erasure` made. Raises ValueError for anything else."""
    try:
        return _decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"expected an erasure, got {raw[:40]!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class ErasedNames:
    """Who was erased, by hash, and when last (epoch ms): what readers of records ask. Empty, it costs a look."""

    secret: bytes = b""
    users: Mapping[str, int] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.users or self.sessions)

    def covers(self, session_id: str | None, user_id: str | None, ts_ms: int) -> bool:
        """Tell whether something that a visitor did at a moment was erased: what they did later is a new visitor's."""
        if not self:
            return False
        if user_id is not None:
            since = self.users.get(hashed(self.secret, Subject.USER, user_id), -1)
            if ts_ms <= since:
                return True
        return session_id is not None and ts_ms <= self.erased_ms(session_id)

    def erased_ms(self, session_id: str) -> int:
        """Return when a session was erased last; -1 where it never was."""
        return self.sessions.get(hashed(self.secret, Subject.SESSION, session_id), -1)


def erased_names(secret: bytes, erasures: Iterable[Erasure], *, since_ms: int = 0) -> ErasedNames:
    """Return who was erased by some erasures, those from a moment on."""
    users: dict[str, int] = {}
    sessions: dict[str, int] = {}
    for one in erasures:
        if one.at_ms < since_ms:
            continue
        named = users if one.subject is Subject.USER else sessions
        named[one.hash] = max(one.at_ms, named.get(one.hash, -1))
        for session in one.sessions:
            sessions[session] = max(one.at_ms, sessions.get(session, -1))
    return ErasedNames(secret, users, sessions)


def merged(here: Iterable[Erasure], kept: Iterable[Erasure]) -> list[Erasure]:
    """Return all erasures of a deployment, oldest first: those that its Redis knows, and those that are kept beside it.
    What Redis does not know, or not as done though it was, is to be carried out again: a backup was restored.
    """
    known = {one.id: one for one in here}
    for one in kept:
        before = known.get(one.id)
        if before is None or (one.status is Status.DONE and before.status is not Status.DONE and not before.again):
            known[one.id] = msgspec.structs.replace(one, status=Status.RUNNING, done_ms=None, again=True, looked=None)
    return sorted(known.values(), key=lambda one: (one.at_ms, one.id))


def remains(log_is_kept: bool, failed: Mapping[str, str], *, elsewhere: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return what remains of somebody who was erased, where, and why: for the receipt. `elsewhere`: other machines on
    which campaigns wrote files.
    """
    told = [{"where": f"aggregate:{name}", "why": why} for name, why in AGGREGATES.items()]
    told += [
        {"where": f"{place.kind}:{place.name}", "why": _WHY.get(place.name, place.holds)}
        for place in PLACES
        if place.erased is Erased.KEPT and place.name in _WHY
    ]
    if machines := ", ".join(elsewhere):
        told.append({"where": f"{Kind.FILE}:campaigns", "why": f"campaigns wrote on {machines}: {_CAMPAIGNS}"})
    if log_is_kept:
        why = "Kafka keeps records until its topics' retention.ms; nobody here reads them any more as the visitor's"
        told += [{"where": f"{Kind.LOG}:{name}", "why": why} for name in ("clicks", "impressions")]
    return told + [{"where": where, "why": why} for where, why in failed.items()]


_CAMPAIGNS: Final = (
    "files there stay as they are where no gateway of NEXTCLICK_ERASURE__CAMPAIGNS sees their folder: take the visitor "
    "out yourself (python -m eventlog.erase_tables)"
)
_WHY: Final = {
    "forgotten": "a keyed hash and a moment, for 7 days: what was done before it is not learnt",
    "erasures": "keyed hashes, so that a restored backup can be erased again",
    "table_changes": "item keys of ended sessions under a hash, until newer changes push them out",
    "process_logs": "lines about records that could not be read may name a visitor; they are bounded, and go by size",
    "backups": "a backup cannot be changed: its restore erases again. Keep backups no longer than you have to",
    "watched_sessions": "the quality flow knows open sessions by name in memory, until they end",
}
