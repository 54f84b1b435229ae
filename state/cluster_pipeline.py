"""Pipelines of redis-py to a Redis Cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis

from state.cluster_rounds import PAUSE_S
from state.slots import Why, key_of, redirect_of, slot_of
from state.waiting import WaitingPipeline

if TYPE_CHECKING:
    from state.cluster_client import ClusterClient


class ClusterPipeline(WaitingPipeline):
    """Without a transaction, commands of any slots; with one, of one slot, on one connection to its node.

    A transaction that meets a slot on the move has written nothing. That is told as a WatchError, as whoever watches
    tries again then.
    """

    def __init__(self, client: ClusterClient, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client, self.waits_for = client, client.waits_for
        self._transacts = transaction
        self._slot: int | None = None

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        if self.connection is None:
            self._bind(args)
        try:
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            raise self._told(error) from error

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not (self._transacts or self.explicit_transaction):
            return self._of_any_slots(raise_on_error)
        if self.connection is None and self.command_stack:
            self._bind(self.command_stack[0][0])
        try:
            return super().execute(raise_on_error)
        except redis.ResponseError as error:
            raise self._told(error) from error

    def _bind(self, command: Sequence[Any]) -> None:
        """Have the pipeline's connection be one to the node of a command's slot."""
        table, key = self._client.table, key_of(command)
        self._slot = slot_of(key or b"")
        if table.is_due():
            with suppress(redis.ConnectionError):
                table.read()
        self.connection_pool = self._client.pool(table.owner(self._slot))
        try:
            self.connection = self.connection_pool.get_connection()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            table.doubt()
            table.read()
            self.connection_pool = self._client.pool(table.owner(self._slot))
            self.connection = self.connection_pool.get_connection()

    def _told(self, error: redis.ResponseError) -> Exception:
        turned = redirect_of(error)
        if turned is None:
            return error
        self._client.table.doubt()
        if turned.why is not Why.MOVED:
            time.sleep(PAUSE_S)
        elif self._slot is not None and turned.to is not None and turned.to[0]:
            self._client.table.moved(self._slot, turned.to)
        self.watching = False  # the connection is given back, and begins anew
        if self.connection is not None:
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        return redis.WatchError(f"the slot is on the move: {error}")

    def _of_any_slots(self, raise_on_error: bool) -> list[Any]:
        stack = self.command_stack
        try:
            for script in self.scripts:
                self._client.script_load(script.script)
            answers = self._client.answered(stack, self.waits_for) if stack else []
            if raise_on_error:
                self.raise_first_error(stack, answers)  # type: ignore[no-untyped-call]
            return answers
        finally:
            self.reset()
