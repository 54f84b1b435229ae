"""What Redis keeps of a visitor beside the log, found and taken away: views, pages shown, owners, units, rows, flags.

What is newer than the erasure is of a new visitor, and stays, wherever its time is known. Keys are looked through in
slices. Nothing here keeps Redis for longer than a slice takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
import redis

from contracts.codec import decode_session
from contracts.ids import partition_of
from contracts.keys import ENDED, WEBHOOKS, Keys
from contracts.settings import RedisSettings
from state.audit import ADMIN, CATALOGUE, masked_path
from state.campaign_ledger import mailed_key
from state.client import connect, redis_errors_translated
from state.holders import Holder, all_servers, expect_same, holders_of, replicas_have, written_to
from state.rewriting import rewrite
from state.tables import TableReader, TableWriter
from state.users import plainly

_PAGE: Final = 500
_OWNED_MS: Final = 86_400_000
_SHOWN_UNTIL: Final = """
local gone = 0
for _, page in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if #page < 8 or struct.unpack('<I8', page) <= tonumber(ARGV[1]) then
    gone = gone + (ARGV[2] == '1' and 1 or redis.call('LREM', KEYS[1], 1, page))
  end
end
return gone
"""
_HOLDS: Final = """
local found = {}
for i, key in ipairs(KEYS) do
  local raw = redis.pcall('GET', key)
  if type(raw) == 'string' and string.find(raw, ARGV[1], 1, true) then found[#found + 1] = i end
end
return found
"""

_REPLACE: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
"""Of a hash: a field, what it was when it was read, and what it becomes; returns 0 where it is another by now."""

Unit = tuple[str, str]
"""`session` or `user`, and its id."""


class RedisEraser:
    """For one thread. Raises StateUnavailable."""

    def __init__(
        self, settings: RedisSettings, *, partitions: int, placements: Collection[str], only_looks: bool = False
    ) -> None:
        """One that `only_looks` counts what it would take away, and takes away nothing."""
        self._settings, self._partitions, self._placements = settings, partitions, placements
        self._only_looks = only_looks
        self._redis = connect(settings)
        self._keys = Keys(settings.prefix)
        names = "|".join(("session", "owner", "user", "profile", "shown", "sent"))
        self._family = re.compile(rf"{re.escape(settings.prefix)}:\{{(?:p\d+|attribution)\}}:({names}):(.*)", re.DOTALL)

    # who a user is

    def sessions_of(self, user_id: str, in_unit: Callable[[bytes], bool]) -> set[str]:
        """Return the sessions that Redis ties to a user; `in_unit` tells whether a unit of attribution names them."""
        needle, found = user_id.encode(errors="surrogatepass"), set[str]()
        for page in self._pages(("session", "owner")):
            with redis_errors_translated(self._settings):
                held = [one for part in _by_slot(page) for one in self._holding(part, needle)]
                raws = self._redis.mget([key for key, _, _ in held]) if held else []
            for (key, family, name), raw in zip(held, raws, strict=True):
                if raw is not None and self._is_of(key, family, name, raw, user_id, in_unit):
                    found.add(name)
        return found

    def _holding(self, page: Sequence[tuple[bytes, str, str]], needle: bytes) -> list[tuple[bytes, str, str]]:
        places = self._redis.eval(_HOLDS, len(page), *(key for key, _, _ in page), needle)
        return [page[at - 1] for at in places]

    def _is_of(
        self, key: bytes, family: str, name: str, raw: bytes, user_id: str, in_unit: Callable[[bytes], bool]
    ) -> bool:
        if family == "owner":
            return raw.decode(errors="replace") == user_id
        if b"{attribution}" in key:
            return in_unit(raw)
        try:
            return decode_session(name, raw).user_id == user_id
        except ValueError:
            return False

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (`user` or `session`, name) of all visitors that keys name, some of them more than once."""
        for page in self._pages(("session", "owner", "user", "profile", "shown", "sent")):
            owners = [key for key, family, _ in page if family == "owner"]
            with redis_errors_translated(self._settings):
                for raw in self._redis.mget(owners) if owners else ():
                    if raw is not None:
                        yield "user", raw.decode(errors="replace")
            for _, family, name in page:
                if family in ("session", "owner"):
                    yield "session", name
                elif family in ("user", "profile"):
                    yield "user", name
                else:
                    own = name.partition(":")[2] if family == "sent" else name
                    yield from (("user", own), ("session", own))
        with redis_errors_translated(self._settings):
            for flagged in self._redis.zrange(self._keys.quality_bots(), 0, -1):
                yield "session", flagged.decode(errors="replace")
        for kind in ("session", "user"):
            for key in self._experiments(kind):
                with redis_errors_translated(self._settings):
                    for unit, _ in self._redis.hscan_iter(key, count=_PAGE):
                        yield kind, unit.decode(errors="replace")

    def _pages(self, families: Sequence[str]) -> Iterator[list[tuple[bytes, str, str]]]:
        """Yield keys of some families in slices, with the family and what the key names."""
        cursor = 0
        while True:
            with redis_errors_translated(self._settings):
                cursor, found = self._redis.scan(cursor, match=f"{self._keys.prefix}:{{*", count=_PAGE)
            page = []
            for key in found:
                matched = self._family.fullmatch(key.decode(errors="replace"))
                if matched and matched[1] in families:
                    page.append((key, matched[1], matched[2]))
            if page:
                yield page
            if cursor == 0:
                return

    # what is taken away; each returns how many things went

    def views(self, sessions: Iterable[str], at_ms: int) -> int:
        """Take away open sessions that began before a moment, and what cannot be read."""
        gone = 0
        for name in sessions:
            key = self._keys.session(partition_of(name, self._partitions), name)
            with redis_errors_translated(self._settings):
                raw = self._redis.get(key)
                if raw is not None and _began_ms(name, raw) <= at_ms:
                    gone += self._take(key)
        return gone

    def owners(self, sessions: Iterable[str], at_ms: int, now_ms: int) -> int:
        """Take away who owns sessions, as far as it was noted before a moment: it is kept for a day from then on."""
        gone = 0
        for name in sessions:
            key = self._keys.session_owner(partition_of(name, self._partitions), name)
            with redis_errors_translated(self._settings):
                left_ms = self._redis.pttl(key)
                if left_ms == -1 or (left_ms >= 0 and now_ms - (_OWNED_MS - left_ms) <= at_ms):
                    gone += self._take(key)
        return gone

    def shown(self, visitors: Iterable[str], at_ms: int) -> tuple[int, int]:
        """Take away pages that were shown, and that count for caps, until a moment."""
        shown = sent = 0
        for name in visitors:
            partition = partition_of(name, self._partitions)
            shown += self._until(self._keys.exposures(partition, name), at_ms)
            for placement in self._placements:
                sent += self._until(self._keys.sent(partition, placement, name), at_ms)
        return shown, sent

    def _until(self, key: str, at_ms: int) -> int:
        with redis_errors_translated(self._settings):
            looks = int(self._only_looks)
            return int(self._redis.eval(_SHOWN_UNTIL, 1, key, at_ms, looks)) if self._redis.exists(key) else 0

    def units(self, units: Iterable[Unit], is_old: Callable[[bytes], bool]) -> int:
        """Take away what was shown and what came of it, where `is_old` says so of the bytes behind the revision."""
        gone = 0
        for unit in units:
            key = self._keys.attribution_unit(*unit)
            with redis_errors_translated(self._settings):
                raw = self._redis.get(key)
                if raw is not None and is_old(raw[8:]):
                    gone += self._take(key)
        return gone

    def rows(self, units: Collection[Unit], is_old: Callable[[bytes], bool]) -> int:
        """Take away rows of experiments."""
        gone = 0
        for kind in ("session", "user"):
            names = [name for of, name in units if of == kind]
            for key in self._experiments(kind) if names else ():
                with redis_errors_translated(self._settings):
                    found = self._redis.hmget(key, names)
                    old = [name for name, raw in zip(names, found, strict=True) if raw is not None and is_old(raw)]
                    gone += len(old) if self._only_looks or not old else self._redis.hdel(key, *old)
        return gone

    def _experiments(self, kind: str) -> list[str]:
        with redis_errors_translated(self._settings):
            found = self._redis.zrange(self._keys.attribution_experiments(), 0, -1)
        return [self._keys.experiment_units(name.decode(errors="replace"), kind) for name in found]

    def flags(self, sessions: Collection[str]) -> int:
        """Take sessions off the list of those that no human has."""
        if not sessions:
            return 0
        with redis_errors_translated(self._settings):
            if self._only_looks:
                return sum(one is not None for one in self._redis.zmscore(self._keys.quality_bots(), list(sessions)))
            return int(self._redis.zrem(self._keys.quality_bots(), *sessions))

    def mailed(self, user: str, is_old: Callable[[bytes], bool]) -> int:
        """Forget which campaigns wrote to a user, where one did before the erasure."""
        key = mailed_key(self._keys, self._partitions, user)
        with redis_errors_translated(self._settings):
            raw = self._redis.hget(key, user)
            if raw is None or not is_old(raw):
                return 0
            return 1 if self._only_looks else int(self._redis.hdel(key, user))

    def waits(self, user: str, at_ms: int) -> int:
        """Take a user off the lists of those who wait for an item: looks at each item that anybody waits for."""
        found = 0
        pattern = plainly(self._keys.waits(0).removesuffix(f"{0:016x}"))
        with redis_errors_translated(self._settings):
            for key in self._redis.scan_iter(match=f"{pattern}*", count=_PAGE):
                clicked_ms = self._redis.zscore(key, user)
                if clicked_ms is not None and clicked_ms <= at_ms:
                    found += 1 if self._only_looks else int(self._redis.zrem(key, user))
        return found

    def calls(self, user: str, at_ms: int) -> int:
        """Take a user out of webhooks that wait. One that is sent meanwhile was sent."""
        found, key = 0, self._keys.calls(WEBHOOKS)
        with redis_errors_translated(self._settings):
            for name, raw in self._redis.hscan_iter(key, count=_PAGE):
                if (without := _called_without(raw, user, at_ms)) is not None:
                    found += 1 if self._only_looks else int(self._redis.eval(_REPLACE, 1, key, name, raw, without))
        return found

    def ended(self, slots: Mapping[bytes, Collection[int]], began_ms: Callable[[bytes], int]) -> int:
        """Take away ended sessions: rows by their key, where they began at one of the moments given."""
        reader, writer = TableReader(self._settings, ENDED), TableWriter(self._settings, ENDED)
        try:
            names, gone = list(slots), list[bytes]()
            for at in range(0, len(names), _PAGE):
                page = names[at : at + _PAGE]
                rows = zip(page, reader.get(page), strict=True)
                gone += [name for name, row in rows if row is not None and began_ms(row) in slots[name]]
            if gone and not self._only_looks:
                writer.commit({}, gone)
            return len(gone)
        finally:
            reader.close()
            writer.close()

    def audit(self, names: Collection[str]) -> int:
        """Take names out of the paths that the audit log keeps."""
        masked = 0
        for about in (ADMIN, CATALOGUE):
            stream = self._keys.audit(about)
            changes: dict[bytes, bytes] = {}
            for entry, raw in self._entries(stream):
                told = _without(raw, names)
                if told is not None:
                    changes[entry] = told
            if changes and not self._only_looks:
                rewrite(self._settings, stream, changes)
            masked += len(changes)
        return masked

    def _entries(self, stream: str) -> Iterator[tuple[bytes, bytes]]:
        start = "-"
        while True:
            with redis_errors_translated(self._settings):
                found: Any = self._redis.xrange(stream, min=start, max="+", count=_PAGE)
            for entry, fields in found:
                yield entry, fields.get(b"e", b"")
            if len(found) < _PAGE:
                return
            start = f"({found[-1][0].decode()}"

    def holders(self) -> tuple[Holder, ...]:
        """Return the servers that hold all keys now."""
        return holders_of(self._redis, self._settings)

    def expect_holders(self, before: tuple[Holder, ...]) -> None:
        """Raise StateUnavailable unless the same servers held all keys all along: else some were passed by, or came
        back with a replica that took over.
        """
        expect_same(before, self.holders())

    def written(self) -> dict[str, int]:
        """Return how far servers have written: see `is_copied`."""
        return written_to(self._redis, self._settings)

    def is_copied(self, written: Mapping[str, int]) -> bool:
        """Tell whether replicas have what was written: what was taken away does not come back with one of them."""
        return replicas_have(self._redis, self._settings, written)

    def rewrite_files(self) -> str | None:
        """Have Redis write its append-only files again, as they hold what was taken away; returns why it does not."""
        with redis_errors_translated(self._settings), all_servers(self._redis, self._settings) as servers:
            try:
                for server in servers:
                    told = server.info("persistence")
                    if int(told.get("aof_enabled", 0)) and not _is_rewriting(told):
                        server.bgrewriteaof()
            except redis.ResponseError as error:
                return f"Redis does not write its append-only file again when asked ({error}): have it do so"
        return None

    def rewrites_files(self) -> bool:
        """Tell whether Redis is still at it."""
        with redis_errors_translated(self._settings), all_servers(self._redis, self._settings) as servers:
            return any(_is_rewriting(server.info("persistence")) for server in servers)

    def profile(self, user_id: str) -> bytes | None:
        """Return what was learnt of a user, as it is stored."""
        with redis_errors_translated(self._settings):
            found: bytes | None = self._redis.get(self._keys.profile(partition_of(user_id, self._partitions), user_id))
        return found

    def _take(self, key: str) -> int:
        return 1 if self._only_looks else int(self._redis.delete(key))

    def close(self) -> None:
        self._redis.close()


def _is_rewriting(told: Mapping[str, Any]) -> bool:
    return bool(int(told.get("aof_rewrite_in_progress", 0)) or int(told.get("aof_rewrite_scheduled", 0)))


def _by_slot(page: Sequence[tuple[bytes, str, str]]) -> list[list[tuple[bytes, str, str]]]:
    """Part a page by what stands in its keys' braces: a script may touch one slot of a cluster."""
    parts: dict[bytes, list[tuple[bytes, str, str]]] = {}
    for one in page:
        parts.setdefault(one[0].partition(b"{")[2].partition(b"}")[0], []).append(one)
    return list(parts.values())


def _began_ms(name: str, raw: bytes) -> int:
    try:
        return decode_session(name, raw).started_ms
    except ValueError:
        return -1


def _without(raw: bytes, names: Collection[str]) -> bytes | None:
    try:
        fields = orjson.loads(raw)
        told = masked_path(fields["what"], lambda name: name in names)
    except (ValueError, KeyError, TypeError):
        return None
    return None if told is None else orjson.dumps({**fields, "what": told})


def _called_without(raw: bytes, user: str, at_ms: int) -> bytes | None:
    """Return the body of a call without a user; None for one that does not name them, or is newer than the erasure."""
    try:
        call = orjson.loads(raw)
        users = call["users"]
        if user not in users or call["at_ms"] > at_ms:
            return None
        return orjson.dumps({**call, "users": [one for one in users if one != user]})
    except (ValueError, KeyError, TypeError):  # a number of attempts, or what happened without users yet
        return None
