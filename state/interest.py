"""Who waits for which item, in Redis: the profiles flow writes it, gateways ask it when something happens to the item.

What stands here is a hint: whether a user still waits, their profile says. So nothing undoes an entry that is too many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_rounds import RedisRounds

_NOTE: Final = f"""{WHOLE_LUA}
forget_other_kind(KEYS[1], 'zset')
local gone = 4 + 2 * tonumber(ARGV[3])
for at = 4, gone - 1, 2 do redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at]) end
for at = gone, #ARGV do redis.call('ZREM', KEYS[1], ARGV[at]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""
"""Of one item: how many users at most, how long they are kept, how many wait; those with their moments; those who do no
more."""
_SHA: Final = hashlib.sha1(_NOTE.encode()).hexdigest()
_SCAN: Final = 1000


class InterestStore:
    """For one thread at a time. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, partitions: int, most: int, keep_ms: int) -> None:
        """`most` users an item are kept, for `keep_ms` after the last click of any of them."""
        self._settings, self._partitions, self._most, self._keep_ms = settings, partitions, most, keep_ms
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        self._keys = Keys(settings.prefix)

    def note(self, wait: Mapping[int, Mapping[str, int]], gone: Mapping[int, Sequence[str]]) -> None:
        """Note by item who waits for it (user to last click, epoch ms), and who does no more. One round trip."""
        calls: list[list[Any]] = []
        for item in {**wait, **gone}:
            users = [part for pair in wait.get(item, {}).items() for part in pair]
            calls.append(
                [1, self._keys.waits(item), self._most, self._keep_ms, len(users) // 2, *users, *gone.get(item, ())]
            )
        with redis_errors_translated(self._settings):
            self._rounds.scripts(_SHA, _NOTE, calls)

    def waiting(self, item: int, since_ms: int) -> list[str]:
        """Return who clicked an item since then and may wait for it, newest first."""
        command = ("ZRANGEBYSCORE", self._keys.waits(item), since_ms, "+inf")
        with redis_errors_translated(self._settings):
            [found] = self._rounds.ask([command])
        return [user.decode(errors="replace") for user in reversed(found)] if isinstance(found, list) else []

    def known(self, user_ids: Sequence[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return users' profiles and documents as they are stored, in order. One round trip."""
        commands: list[Sequence[Any]] = []
        for user_id in user_ids:
            partition = partition_of(user_id, self._partitions)
            commands.append(("GET", self._keys.profile(partition, user_id)))
            commands.append(("GET", self._keys.user(partition, user_id)))
        with redis_errors_translated(self._settings):
            answers = [one if isinstance(one, bytes) else None for one in self._rounds.ask(commands)]
        return list(zip(answers[::2], answers[1::2], strict=True))

    def forget(self, user_id: str) -> int:
        """Take a user out of every item's list; returns of how many. Looks at each item that anybody waits for."""
        found = 0
        for keys in self._pages():
            with redis_errors_translated(self._settings):
                answers = self._rounds.ask([("ZREM", key, user_id) for key in keys])
            found += sum(answer for answer in answers if isinstance(answer, int))
        return found

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _pages(self) -> Iterator[list[bytes]]:
        cursor: Any = 0
        pattern = self._keys.waits(0).removesuffix(f"{0:016x}")
        while True:
            with redis_errors_translated(self._settings):
                [[cursor, keys]] = self._rounds.ask(
                    [("SCAN", cursor, "MATCH", f"{_escaped(pattern)}*", "COUNT", _SCAN)]
                )
            yield list(keys)
            if int(cursor) == 0:
                return


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)
