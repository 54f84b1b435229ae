"""Clients that acknowledge a write once enough replicas have it (WAIT), where the settings ask for that.

WAIT speaks of what its own connection wrote. So it goes over the very connection that the write went over, at once.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.client import Pipeline

from contracts.settings import RedisSettings
from state.slots import READS, key_of, name_of
from state.wait import Wait


def wait_of(settings: RedisSettings) -> Wait | None:
    """Return what the settings ask for; None where nothing is waited for."""
    return Wait(settings.wait_replicas, settings.wait_ms) if settings.wait_replicas else None


def waits_of(client: Any) -> Wait | None:
    """Return what a client's writes wait for."""
    found: Wait | None = getattr(client, "waits_for", None)
    return found


def expect_copied(connection: Any, wait: Wait | None) -> None:
    """Wait on a connection of redis-py for what it wrote. Raises NotCopied."""
    if wait is None:
        return
    connection.send_command("WAIT", *wait)
    try:
        answer = connection.read_response()
    except redis.ResponseError as error:
        answer = error
    if (problem := wait.problem(answer)) is not None:
        raise problem


def writes(command: Any) -> bool:
    return name_of(command) not in READS and key_of(command) is not None


class WaitingPipeline(Pipeline):
    """A pipeline whose writes are waited for, one wait for all of them."""

    waits_for: Wait | None = None

    def _execute_transaction(self, connection: Any, commands: Any, raise_on_error: Any) -> Any:
        answers = super()._execute_transaction(connection, commands, raise_on_error)
        expect_copied(connection, self.waits_for)
        return answers

    def _execute_pipeline(self, connection: Any, commands: Any, raise_on_error: Any) -> Any:
        answers = super()._execute_pipeline(connection, commands, raise_on_error)  # type: ignore[no-untyped-call]
        if any(writes(command) for command, _ in commands):
            expect_copied(connection, self.waits_for)
        return answers


class WaitingRedis(redis.Redis):
    """A client of one Redis, with replicas."""

    waits_for: Wait | None = None

    def _send_command_parse_response(self, conn: Any, command_name: Any, *args: Any, **options: Any) -> Any:
        answer = super()._send_command_parse_response(  # type: ignore[no-untyped-call]
            conn, command_name, *args, **options
        )
        if self.waits_for is not None and writes(args):
            expect_copied(conn, self.waits_for)
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> WaitingPipeline:
        made = WaitingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.waits_for = self.waits_for
        return made
