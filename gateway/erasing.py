"""An erasure, carried out: the visitors' names are found, and what Redis and the log hold of them is taken away.

Several visitors go in one pass over the log. What is newer than its erasure is of a new visitor and stays. Everything
can be done again: a pass that was killed is begun anew, and finds what is left.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from attribution.rows import decode_row
from attribution.units import decode_unit
from campaigns.caps import written_in
from contracts.api import Placement
from contracts.codec import decode_ended
from contracts.hashed_names import hashed
from contracts.profiles import decode_profile
from contracts.settings import ServiceSettings
from eventlog.contract import KeptLetter, Topic
from eventlog.erasing import OF_VISITORS, RedisLogEraser, holds_any, open_eraser
from retrieval.ended_sessions import slot_of
from rights.erasure import Erasure, Names, Subject, Told, as_json, told_in
from state.erasing import RedisEraser
from state.erasures import Job
from state.users import FORGOTTEN_FOR_MS, UserStore

_FEW: Final = 12
"""So many names are looked for one by one in a record; of more, the record's own are looked up."""
_NAMES: Final = re.compile(rb'"(?:user_id|session_id)"\s*:\s*"([^"\\]*)"')


@dataclass
class Work:
    """One erasure under way: whose it is, and what of it was found and taken away."""

    erasure: Erasure
    names: Names
    ends: Mapping[str, int]
    forgot: bool
    removed: Counter[str] = field(default_factory=Counter)
    clicks: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By session, the moments of its clicks: one of them is its beginning."""
    requests: set[str] = field(default_factory=set)
    """Answers that were shown to the visitor."""

    @classmethod
    def of(cls, erasure: Erasure, job: Job) -> Work:
        work = cls(erasure, Names(job.user, frozenset(job.sessions)), job.ends, job.forgot)
        for session, moments in job.clicks.items():
            work.clicks[session].update(moments)
        work.requests.update(job.requests)
        return work

    @property
    def job(self) -> Job:
        clicks = {session: sorted(moments) for session, moments in self.clicks.items()}
        sessions, requests = tuple(sorted(self.names.sessions)), tuple(sorted(self.requests))
        return Job(self.names.user, sessions, dict(self.ends), self.forgot, clicks, requests)

    @property
    def at_ms(self) -> int:
        return self.erasure.at_ms

    def note(self, told: Told) -> None:
        """Remember of a record what leads to other things: ended sessions, answers that are kept."""
        if told.is_impression and told.request_id:
            self.requests.add(told.request_id)
        elif not told.is_impression and told.session_id is not None:
            self.clicks[told.session_id].add(told.ts_ms)

    def take_counts(self) -> Erasure:
        """Put what was taken away since the last time into the erasure, and return it."""
        self.erasure, self.removed = self.erasure.plus(self.removed), Counter()
        return self.erasure

    def is_past(self, place: str, offset: int, ts_ms: int) -> bool:
        """Tell whether a record was there when the erasure was asked for, or is of a time before."""
        return offset < self.ends.get(place, 0) or ts_ms <= self.at_ms


@dataclass
class Logged:
    """What of the visitors is in the log: offsets by topic and partition, and dead letters."""

    offsets: dict[tuple[Topic, int], list[int]] = field(default_factory=dict)
    letters: list[KeptLetter] = field(default_factory=list)
    _counts: list[tuple[Work, str]] = field(default_factory=list)

    def count(self, work: Work, place: str) -> None:
        self._counts.append((work, place))

    def counted(self) -> None:
        """It is gone: count it."""
        for work, place in self._counts:
            work.removed[place] += 1
        self._counts.clear()


class Sweep:
    """Takes visitors away from Redis and its log, or with `only_looks` counts what is there. For one thread. Raises
    StateUnavailable and LogUnavailable: begin again.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        clock_ms: Callable[[], int],
        *,
        only_looks: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._clock_ms, self._only_looks = settings, clock_ms, only_looks
        placements = [one.value for one in Placement]
        partitions = self._partitions = settings.log.partitions
        self.redis = RedisEraser(settings.redis, partitions=partitions, placements=placements, only_looks=only_looks)
        self.log: RedisLogEraser | None = open_eraser(settings.log, settings.redis, sleep)
        self._users = UserStore(settings.redis, partitions=partitions, bounds=settings.users)

    def close(self) -> None:
        self.redis.close()
        self._users.close()
        if self.log is not None:
            self.log.close()

    # who it is

    def recover(self, secret: bytes, erasures: Iterable[Erasure]) -> list[Work]:
        """Return erasures with names that a look at everything finds to fit their hashes."""
        erasures = list(erasures)
        users: dict[str, set[str]] = defaultdict(set)
        sessions: dict[str, set[str]] = defaultdict(set)
        named = (users, sessions)
        wanted = {one.hash for one in erasures} | {session for one in erasures for session in one.sessions}
        seen: set[tuple[str, str]] = set()
        for subject, name in self._everybody():
            if (subject, name) not in seen:
                seen.add((subject, name))
                if (sign := hashed(secret, Subject(subject), name)) in wanted:
                    named[subject == Subject.SESSION][sign].add(name)
        works = []
        for one in erasures:
            found = {name for sign in one.sessions for name in sessions.get(sign, ())}
            if one.subject is Subject.SESSION:
                names = Names(None, frozenset(found | sessions.get(one.hash, set())))
            else:
                names = Names(next(iter(users.get(one.hash, ())), None) or _NOBODY, frozenset(found))
            works.append(Work(one, names, self.log.ends() if self.log and one.again else {}, forgot=not one.again))
        return works

    def _everybody(self) -> Iterator[tuple[str, str]]:
        yield from self.redis.names()
        if self.log is None:
            return
        raws: Iterator[bytes] = (
            record.value
            for topic in OF_VISITORS
            for partition in range(self._partitions)
            for record in self.log.records(topic, partition, bool)
        )
        for raw in raws:
            yield from _names_in(raw)
        for letter in self.log.letters(lambda one: True):
            yield from _names_in(letter.letter.raw)

    def find_sessions(self, works: Iterable[Work]) -> None:
        """Add to users' names the sessions that the log and Redis tie to them."""
        by_user: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            if work.names.user is not None:
                by_user[work.names.user].append(work)
        found: dict[str, set[str]] = {user: set() for user in by_user}
        if self.log is not None and by_user:
            wanted = names_any(by_user)
            for topic in OF_VISITORS:
                for partition in range(self._partitions):
                    for record in self.log.records(topic, partition, wanted):
                        told = told_in(record.value)
                        if told is not None and told.user_id in found and told.session_id is not None:
                            place = f"{topic}:{partition}"
                            if any(one.is_past(place, record.offset, told.ts_ms) for one in by_user[told.user_id]):
                                found[told.user_id].add(told.session_id)
        for user, theirs in by_user.items():

            def names_user(raw: bytes, user: str = user) -> bool:
                with suppress(ValueError):
                    return user in decode_unit(raw[8:]).users
                return False

            sessions = found[user] | self.redis.sessions_of(user, names_user)
            for work in theirs:
                work.names = work.names.with_sessions(sessions)

    # what is taken away

    def forget(self, work: Work) -> None:
        """Take away a user's document and profile, once; again where that went with a server that died."""
        if work.names.user in (None, _NOBODY) or (work.forgot and not self._is_back(work)):
            return
        if not self._only_looks:
            document, profile = self._users.forget(work.names.user, now_ms=work.at_ms)
            work.removed.update({"redis:user": int(document), "redis:profile": int(profile)})
        work.forgot = True

    def _is_back(self, work: Work) -> bool:
        """Tell whether Redis has forgotten that it forgot a user."""
        is_noted = self._clock_ms() - work.at_ms < FORGOTTEN_FOR_MS
        return is_noted and work.names.user is not None and not self._users.is_forgotten(work.names.user, work.at_ms)

    def look_into_log(self, works: Iterable[Work]) -> Logged:
        """Return the visitors' records and dead letters, and note when they clicked and what they were shown."""
        found, whose = Logged(), _Whose(works)
        if self.log is None or not whose:
            return found
        wanted = names_any(whose.names)
        for topic in OF_VISITORS:
            for partition in range(self._partitions):
                found.offsets[topic, partition] = self._look_into(topic, partition, wanted, whose, found)
        for kept in self.log.letters(lambda letter: wanted(letter.raw)):
            for work in whose.of_letter(kept.letter.raw):
                found.count(work, "redis:dead_letters")
                found.letters.append(kept)
        return found

    def _look_into(
        self, topic: Topic, partition: int, wanted: Callable[[bytes], bool], whose: _Whose, found: Logged
    ) -> list[int]:
        assert self.log is not None
        place, gone = f"{topic}:{partition}", []
        for record in self.log.records(topic, partition, wanted):
            told = told_in(record.value)
            for work in whose.of(told, record.value):
                if told is not None and not work.is_past(place, record.offset, told.ts_ms):
                    continue
                gone.append(record.offset)
                found.count(work, f"log:{topic}")
                if told is not None:
                    work.note(told)
        return gone

    def empty_log(self, found: Logged) -> None:
        """Take away what was found."""
        if self.log is None or self._only_looks:
            return
        for (topic, partition), offsets in found.offsets.items():
            self.log.empty(topic, partition, offsets)
        if found.letters:
            self.log.remove_letters(list(dict.fromkeys(found.letters)))

    def sweep_redis(self, works: Iterable[Work]) -> None:
        """Take away what Redis keeps of the visitors beside the log."""
        works = list(works)
        for work in works:
            names, at_ms, told = work.names, work.at_ms, work.removed
            user = None if names.user is None or names.user == _NOBODY else names.user
            units = [("session", one) for one in sorted(names.sessions)]
            units += [("user", user)] if user is not None else []
            told["redis:session"] += self.redis.views(names.sessions, at_ms)
            told["redis:session_owner"] += self.redis.owners(names.sessions, at_ms, self._clock_ms())
            shown, sent = self.redis.shown([name for _, name in units], at_ms)
            told["redis:exposures"] += shown
            told["redis:sent"] += sent
            told["redis:attribution_unit"] += self.redis.units(units, lambda raw, at_ms=at_ms: _unit_ms(raw) <= at_ms)  # type: ignore[misc]
            told["redis:experiment_units"] += self.redis.rows(units, lambda raw, at_ms=at_ms: _row_ms(raw) <= at_ms)  # type: ignore[misc]
            told["redis:quality_bots"] += self.redis.flags(names.sessions)
            if user is not None:
                told.update(self.told_to_others(user, at_ms))
            told["redis:table_rows"] += self.redis.ended(self._slots(work), lambda row: decode_ended(row).started_ms)
        if self._only_looks:
            for work in works:
                work.removed["redis:profile"] += self._old_profile(work)

    def told_to_others(self, user: str, at_ms: int) -> dict[str, int]:
        """Take a user out of what waits to be told to others: webhooks, and the count of campaigns."""
        return {
            "redis:mailed": self.redis.mailed(user, lambda raw: any(one <= at_ms for one in written_in(raw).values())),
            "redis:waits": self.redis.waits(user, at_ms),
            "redis:calls": self.redis.calls(user, at_ms),
        }

    def mask_audit(self, works: Iterable[Work]) -> None:
        for work in works:
            work.removed["redis:audit"] += self.redis.audit(work.names.all)

    def _old_profile(self, work: Work) -> int:
        user = work.names.user
        raw = None if user is None else self.redis.profile(user)
        with suppress(ValueError):
            clicks = [] if raw is None else decode_profile(raw).clicks["ts_ms"].tolist()
            return int(any(ts <= work.at_ms for ts in clicks))
        return 1

    def _slots(self, work: Work) -> dict[bytes, set[int]]:
        slots: dict[bytes, set[int]] = defaultdict(set)
        most = self._settings.trend.sessions
        for session, moments in work.clicks.items():
            for ts_ms in moments:
                slots[slot_of(session, ts_ms, most).to_bytes(8, "little")].add(ts_ms)
        return slots


_NOBODY: Final = "\x00nobody"
"""In place of a user of whom nothing is left that fits the hash."""


class _Whose:
    """Which erasures a record belongs to."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._users: dict[str, list[Work]] = defaultdict(list)
        self._sessions: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            if work.names.user is not None:
                self._users[work.names.user].append(work)
            for session in work.names.sessions:
                self._sessions[session].append(work)
        self.names = {*self._users, *self._sessions}

    def __bool__(self) -> bool:
        return bool(self.names)

    def of(self, told: Told | None, raw: bytes) -> list[Work]:
        if told is None:
            return self.of_letter(raw)
        found = list(self._users.get(told.user_id, ())) if told.user_id is not None else []
        if told.session_id is not None:
            owners = self._sessions.get(told.session_id, ())
            found += [one for one in owners if one not in found and one.names.owns(told.session_id, told.user_id)]
        return found

    def of_letter(self, raw: bytes) -> list[Work]:
        """Of what cannot be read, whoever is named as a whole text in it."""
        told = told_in(raw)
        if told is not None and (told.user_id is not None or told.session_id is not None):
            return self.of(told, raw)
        named = [name for name in self.names if b'"%b"' % as_json(name) in raw]
        works = [work for name in named for work in (*self._users.get(name, ()), *self._sessions.get(name, ()))]
        return list({id(work): work for work in works}.values())


def names_any(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Return what tells whether a record may name one of many: exactly, by what it says, is looked at later."""
    needles = {as_json(name) for name in names}
    if len(needles) <= _FEW:
        return holds_any(needles)

    def wanted(value: bytes) -> bool:
        return b"\\" in value or not needles.isdisjoint(_NAMES.findall(value))

    return wanted


def _names_in(raw: bytes) -> Iterator[tuple[str, str]]:
    told = told_in(raw)
    if told is None:
        return
    if told.session_id is not None:
        yield "session", told.session_id
    if told.user_id is not None:
        yield "user", told.user_id


def _unit_ms(raw: bytes) -> int:
    """Return the oldest moment of a unit; of one that cannot be read, one before all others."""
    try:
        unit = decode_unit(raw)
    except ValueError:
        return -1
    stamps = [one.ts for kept in (unit.pages, unit.outcomes, unit.of_users) for one in kept.values()]
    return min(stamps, default=-1)


def _row_ms(raw: bytes) -> int:
    try:
        return decode_row(raw).first_ms
    except ValueError:
        return -1
