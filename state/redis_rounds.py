"""Many commands in one round trip to Redis, from a thread: packed by the caller, answered as they are.

redis-py's pipeline costs some 150 us a round trip beside what Redis and the socket take: objects and callbacks for each
command. This uses its connections alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import redis
from redis.exceptions import NoScriptError

from contracts.redis_answers import is_other_kind


class RedisRounds:
    """Round trips of one thread over one connection, which is made when it is first needed; with a cluster, over one to
    each node that is asked.

    A round that meets a connection which died raises, though a new one may be had at once: a Redis that died with its
    machine comes back without its last writes, and who holds what was read before must look at it again. Raises
    redis.RedisError and OSError.
    """

    def __init__(self, client: redis.Redis) -> None:
        """`client` says where Redis is, and how long to wait for it: one, or a cluster."""
        self._cluster: Any = client.dedicated() if hasattr(client, "dedicated") else None
        self._connection: Any = None if self._cluster else client.connection_pool.make_connection()

    def run(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Return what Redis answers, one a command; an error that it answers is among them, not raised."""
        if self._cluster is not None:
            return list(self._cluster.run([*commands]))
        packed = [hiredis.pack_command(tuple(command)) for command in commands]
        if not packed:
            return []
        return self._round(b"".join(packed), len(packed))

    def ask(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """The same, but raise what Redis refuses; an answer about a key that holds another kind of thing is not."""
        answers = self.run(commands)
        for answer in answers:
            if isinstance(answer, Exception) and not is_other_kind(answer):
                raise answer
        return answers

    def scripts(self, sha: str, text: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Run a script several times in one round trip: by its hash, or by its text where Redis does not have it. The
        words of a call begin with how many keys there are. Raises what Redis refuses.
        """
        answers = self.run([("EVALSHA", sha, *words) for words in calls])
        for at, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                [answers[at]] = self.run([("EVAL", text, *calls[at])])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def close(self) -> None:
        (self._cluster.close if self._cluster is not None else self._connection.disconnect)()

    def __del__(self) -> None:
        self.close()  # as redis-py's clients do: a store that nobody holds any more keeps no socket

    def _round(self, sent: bytes, count: int) -> list[Any]:
        connection = self._connection
        try:
            connection.send_packed_command([sent])
            return [self._answer() for _ in range(count)]
        except BaseException:  # answers that nobody read must not be taken for the next round's
            connection.disconnect()
            raise

    def _answer(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error
