"""What Redis holds of one user, place by place, for an export. Reads alone; the keyspace is walked once, for sessions.

Places are named as in `rights.places`. Items are ItemKeys: whoever holds a catalogue names them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from contracts.api import Placement
from contracts.codec import decode_session
from contracts.events import EventCode
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.profiles import decode_profile
from contracts.redis_answers import is_other_kind
from contracts.sessions import Clicks
from contracts.settings import RedisSettings
from contracts.users import decode_user
from state.attribution import REVISION_BYTES
from state.campaign_ledger import mailed_key
from state.client import connect, redis_errors_translated
from state.exposures import decode_shown
from state.holders import walking
from state.users import plainly

Held = dict[str, Any]
_AT_ONCE: Final = 500
MOST_SESSIONS: Final = 10_000
"""Sessions of a user that are looked for elsewhere."""


class HeldInRedis:
    """For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, partitions: int) -> None:
        self._settings, self._partitions = settings, partitions
        self._redis: Any = connect(settings)
        self._keys = Keys(settings.prefix)
        self._places: Mapping[str, Callable[[str, Collection[str]], Iterator[Held]]] = {
            "user": self._user,
            "profile": self._profile,
            "session": self._sessions,
            "session_owner": self._owners,
            "exposures": self._exposures,
            "sent": self._sent,
            "quality_bots": self._bots,
            "attribution_unit": self._units,
            "experiment_units": self._experiments,
            "mailed": self._mailed,
            "waits": self._waits,
        }

    def reads(self, place: str) -> bool:
        """Return whether a place is read here."""
        return place in self._places

    def of(self, place: str, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        """Yield what a place holds of a user, and of sessions that are tied to the user."""
        with redis_errors_translated(self._settings):
            yield from self._places[place](user_id, sessions)

    def tied_sessions(self, user_id: str) -> set[str]:
        """Return sessions that are the user's: the stored session says so, or who was first seen in it."""
        found: set[str] = set()
        named = user_id.encode()
        with redis_errors_translated(self._settings), walking(self._redis, self._settings):
            for partition in range(self._partitions):
                for family in (self._keys.session(partition, ""), self._keys.session_owner(partition, "")):
                    for key, raw in self._under(family):
                        name = key[len(family.encode()) :].decode(errors="replace")
                        if named in raw and len(found) < MOST_SESSIONS and _is_of(name, raw, user_id):
                            found.add(name)
        return found

    def close(self) -> None:
        self._redis.close()

    def _under(self, family: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of a family of texts."""
        literal = "".join(f"\\{one}" if one in "\\*?[]^-" else one for one in family)
        cursor: Any = 0
        while True:
            cursor, keys = self._redis.scan(cursor, match=f"{literal}*", count=_AT_ONCE)
            values = self._redis.mget(keys) if keys else []
            yield from ((key, raw) for key, raw in zip(keys, values, strict=True) if raw is not None)
            if not cursor:
                return

    def _text(self, key: str) -> bytes | None:
        """Return a text; None for a key that holds another kind of thing."""
        [raw] = self._redis.mget([key])
        return raw if isinstance(raw, bytes) else None

    def _asked(self, *command: Any) -> Any:
        try:
            return self._redis.execute_command(*command)
        except Exception as error:
            if is_other_kind(error):
                return None
            raise

    def _partition(self, name: str) -> int:
        return partition_of(name, self._partitions)

    def _user(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        raw = self._text(self._keys.user(self._partition(user_id), user_id))
        if raw is not None:
            yield _read(raw, decode_user)

    def _profile(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        raw = self._text(self._keys.profile(self._partition(user_id), user_id))
        if raw is not None:
            yield _read(raw, _profile_told)

    def _sessions(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for name in sessions:
            raw = self._text(self._keys.session(self._partition(name), name))
            if raw is not None:
                yield {"session_id": name, **_read(raw, lambda raw, name=name: _session_told(name, raw))}  # type: ignore[misc]

    def _owners(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for name in sessions:
            raw = self._text(self._keys.session_owner(self._partition(name), name))
            if raw == user_id.encode():
                yield {"session_id": name}

    def _mailed(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        raw = self._asked("HGET", mailed_key(self._keys, self._partitions, user_id), user_id)
        for campaign, at_ms in struct.iter_unpack("<Qq", raw) if raw and len(raw) % 16 == 0 else ():
            yield {"campaign_hash": f"{campaign:016x}", "at_ms": at_ms}

    def _waits(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        prefix = self._keys.waits(0).removesuffix(f"{0:016x}")
        with walking(self._redis, self._settings):
            keys = list(self._redis.scan_iter(match=f"{plainly(prefix)}*", count=_AT_ONCE))
        for key in keys:
            clicked_ms = self._asked("ZSCORE", key, user_id)
            if clicked_ms is not None:
                yield {"items": [int(key[-16:], 16)], "clicked_ms": int(float(clicked_ms))}

    def _exposures(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for name in (user_id, *sessions):
            for row in self._asked("LRANGE", self._keys.exposures(self._partition(name), name), 0, -1) or ():
                if (shown := decode_shown(row)) is not None:
                    yield {"visitor": name, "at_ms": shown.at_ms, "items": list(shown.keys)}

    def _sent(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for placement in Placement:
            for name in (user_id, *sessions):
                key = self._keys.sent(self._partition(name), placement.value, name)
                for row in self._asked("LRANGE", key, 0, -1) or ():
                    if (shown := decode_shown(row)) is not None:
                        yield {"visitor": name, "placement": placement.value, "at_ms": shown.at_ms}

    def _bots(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for name in sessions:
            score = self._asked("ZSCORE", self._keys.quality_bots(), name)
            if score is not None:
                yield {"session_id": name, "last_ms": int(float(score))}

    def _units(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for kind, name in (("user", user_id), *(("session", name) for name in sessions)):
            raw = self._text(self._keys.attribution_unit(kind, name))
            if raw is not None:
                yield {kind: name, **_read(raw, lambda raw: {"unit": _unpacked(raw[REVISION_BYTES:])})}

    def _experiments(self, user_id: str, sessions: Collection[str]) -> Iterator[Held]:
        for experiment in self._asked("ZRANGE", self._keys.attribution_experiments(), 0, -1) or ():
            for kind, name in (("user", user_id), *(("session", name) for name in sessions)):
                key = self._keys.experiment_units(experiment.decode(errors="replace"), kind)
                raw = self._asked("HGET", key, name)
                if raw is not None:
                    about = {"experiment": experiment.decode(errors="replace"), kind: name}
                    yield {**about, **_read(raw, lambda raw: {"row": _unpacked(raw)})}


def _is_of(session_id: str, raw: bytes, user_id: str) -> bool:
    if raw == user_id.encode():  # of who was first seen
        return True
    try:
        return decode_session(session_id, raw).user_id == user_id
    except MemoryError:
        raise
    except Exception:
        return False  # it cannot be read, and counts as none everywhere


def _read(raw: bytes, decode: Callable[[bytes], Held]) -> Held:
    """Return what stored bytes say; of those that cannot be read, themselves."""
    try:
        return decode(raw)
    except MemoryError:
        raise
    except Exception:
        return {"unreadable": raw.hex()}


def _unpacked(raw: bytes) -> Any:
    """Return a message of arrays as JSON can hold it."""
    return msgspec.to_builtins(msgspec.msgpack.decode(raw), str_keys=True)


def _session_told(session_id: str, raw: bytes) -> Held:
    session = decode_session(session_id, raw)
    return {
        "user_id": session.user_id,
        "started_ms": session.started_ms,
        "last_ms": session.last_ms,
        "events": session.events,
        "clicks": _clicks(session.window),
        "embedding": session.embedding.tolist(),
    }


def _profile_told(raw: bytes) -> Held:
    profile = decode_profile(raw)
    return {
        "events": profile.events,
        "purchases": profile.purchases,
        "device": profile.device,
        "region": profile.region,
        "seen_ms": profile.seen_ms,
        "clicks": _clicks(profile.clicks),
        "vectors": profile.vectors.tolist(),
        "older": profile.older.tolist(),
    }


def _clicks(window: Clicks) -> list[Held]:
    return [
        {"ts_ms": ts_ms, "item": item, "event": f"{event:016x}", "type": EventCode(code).name.lower()}
        for ts_ms, item, event, code in window.tolist()
    ]
