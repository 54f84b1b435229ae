"""Many commands at once, to one Redis or to a cluster: packed together, without redis-py's work for each of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import hiredis

from state.client import is_cluster
from state.cluster_rounds import answers_of
from state.slots import Why, redirect_of
from state.wait import Wait

T = TypeVar("T")
Command = tuple[Any, ...]
MOST_AT_ONCE: Final = 10_000
"""Commands that one server is sent before its answers are read."""
WHOLE_AGAIN_S: Final = 10.0
"""A cluster that is down is waited for as long: a primary that was busy for a second comes back by itself."""
_PAUSE_S: Final = 0.1


def answered_by(client: Any, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
    """Return what is answered, one a command, errors among it, when as many replicas as `wait` says have what was
    written. Their order holds within a slot.

    Raises redis.RedisError and OSError for a server that cannot be reached; of a cluster it is asked once more before
    that, so the commands must do no harm twice.
    """
    if is_cluster(client):
        return list(client.run(commands, wait))
    return _asked(client.connection_pool, commands, wait)


def transacted(server: Any, transactions: Iterable[Sequence[Command]], wait: Wait | None) -> None:
    """Carry transactions out, one after the other, on one server; returns when as many replicas as `wait` says have
    them. Raises redis.RedisError for the first that is refused: those before it are done, of those behind it some.
    """
    for together in _some(transactions):
        left, until = together, time.monotonic() + WHOLE_AGAIN_S
        while left := _refused(server, left, wait, until):
            time.sleep(_PAUSE_S)


def _refused(
    server: Any, transactions: Sequence[Sequence[Command]], wait: Wait | None, until: float
) -> list[Sequence[Command]]:
    """Carry transactions out; returns those of which nothing was done, as the cluster is down for a moment."""
    commands = [command for one in transactions for command in [("MULTI",), *one, ("EXEC",)]]
    answers, at, left = _asked(server.connection_pool, commands, wait), 0, list[Sequence[Command]]()
    for one in transactions:
        of_it, at = answers[at : at + len(one) + 2], at + len(one) + 2
        done = of_it.pop()
        errors = [found for found in (*of_it, *(done if isinstance(done, list) else [done])) if _is_error(found)]
        if not errors:
            continue
        turned = redirect_of(errors[0])
        if isinstance(done, list) or turned is None or turned.why is not Why.LATER or time.monotonic() >= until:
            raise errors[0]
        left.append(one)
    return left


def _is_error(answer: Any) -> bool:
    return isinstance(answer, Exception)


def _some(transactions: Iterable[Sequence[Command]]) -> Iterator[list[Sequence[Command]]]:
    """Return transactions in groups of so many commands, or one that is larger."""
    group: list[Sequence[Command]] = []
    count = 0
    for one in transactions:
        if group and count + len(one) > MOST_AT_ONCE:
            yield group
            group, count = [], 0
        group.append(one)
        count += len(one)
    if group:
        yield group


def _asked(pool: Any, commands: Sequence[Command], wait: Wait | None) -> list[Any]:
    """Ask one server over one connection. Raises NotCopied too."""
    connection = pool.get_connection()
    try:
        parts = [hiredis.pack_command(command) for command in commands]
        if wait is not None:
            parts.append(wait.packed())
        connection.send_packed_command([b"".join(parts)])
        answers = answers_of(connection, len(parts))
    except BaseException:  # answers that nobody read must not be taken for the next one's
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    if wait is not None and (problem := wait.problem(answers.pop())) is not None:
        raise problem
    return answers


def read_ahead(source: Iterator[T]) -> Iterator[T]:
    """Return what a source has; the next one is fetched while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(_next_of, source)
        while found := coming.result():
            coming = reader.submit(_next_of, source)
            yield from found


def _next_of(source: Iterator[T]) -> list[T]:
    for one in source:
        return [one]
    return []


def expect_answers(answers: list[Any]) -> list[Any]:
    """Return answers. Raises the first error among them."""
    for one in answers:
        if isinstance(one, Exception):
            raise one
    return answers
