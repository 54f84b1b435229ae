"""Round trips to Redis for the event log: bounded in time, with one kind of error. Scripts are sent by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
import redis
from redis.exceptions import NoScriptError

from contracts.errors import LogUnavailable
from contracts.redis_answers import WriteCheck, advice, is_other_kind
from contracts.settings import RedisSettings
from state.client import open_client
from state.redis_line import open_line
from state.slots import Address
from state.wait import Wait
from state.waiting import wait_of

Command = tuple[Any, ...]


class Script:
    """A Lua script. Its command goes by hash (EVALSHA); `in_full` is the same command as EVAL, which also loads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()
        _SCRIPTS[self.sha] = self

    def command(self, keys: Sequence[str], arguments: Sequence[Any]) -> Command:
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


_SCRIPTS: dict[str, Script] = {}


def _in_full(command: Command) -> Command:
    return ("EVAL", _SCRIPTS[command[1]].text, *command[2:])


class _Door:
    """What both callers share: settings of the connection, and how an error is told."""

    def __init__(self, settings: RedisSettings, longest_wait_s: float) -> None:
        timeout_s = settings.timeout_ms / 1000
        self._timeout_ms = settings.timeout_ms
        self.options: dict[str, Any] = {
            "socket_timeout": timeout_s + longest_wait_s,
            "socket_connect_timeout": timeout_s,
            "protocol": 2,
        }
        self._place, self._is_tls = settings.place, settings.is_tls
        self._is_cluster, self._checks = settings.is_cluster, dict[Any, WriteCheck]()

    @contextmanager
    def telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except redis.DataError:  # ours: no waiting mends it
            raise
        except (redis.RedisError, OSError) as error:
            raise self.unavailable(what, error) from error

    def unavailable(self, what: str, error: Exception) -> LogUnavailable:
        return LogUnavailable(
            f"could not {what}: expected an answer from Redis at {self._place} within {self._timeout_ms} ms, "
            f"got {type(error).__name__}: {error}; {advice(error, tls=self._is_tls)}; then retry"
        )

    def check(self, server: Any) -> WriteCheck:
        """Return what is asked of a server that took a write."""
        if server not in self._checks:
            place = f"{server[0]}:{server[1]}" if self._is_cluster else self._place
            self._checks[server] = WriteCheck(place, of_a_node=self._is_cluster)
        return self._checks[server]

    def expect_kept(self, what: str, server: Any, answers: Sequence[Any]) -> None:
        """Raise LogUnavailable unless the answers to `check.questions` say that what was done before is kept."""
        problem = self.check(server).problem(answers)
        if problem is not None:
            raise LogUnavailable(
                f"could not {what}: Redis at {self._place} took it, but cannot promise to keep it: {problem}; then "
                "send it again, readers count an event id once"
            )

    def settled(self, what: str, answers: Sequence[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, Exception):
                raise self.unavailable(what, answer) from answer
        return list(answers)


def _missing_scripts(answers: Sequence[Any]) -> list[int]:
    return [at for at, answer in enumerate(answers) if _is_of_a_missing_script(answer)]


def _is_of_a_missing_script(answer: Any) -> bool:
    """redis-py takes the code out of the text of an error and into its type; the plain line leaves it there."""
    return isinstance(answer, NoScriptError) or (isinstance(answer, Exception) and str(answer).startswith("NOSCRIPT"))


class Caller:
    """Redis from a thread. Every failure is LogUnavailable; no command is retried behind the caller's back.

    A connection that was lost between two commands is made anew without a failure: `connects` is called first. It is
    not called for one more beside others, such as a cluster's reader waits on.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        longest_wait_s: float = 0.0,
        connects: Callable[[], None] = lambda: None,
    ) -> None:
        self._door = _Door(settings, longest_wait_s)
        self._connects = connects
        self._client = open_client(settings, connects=self._connected, retries=0, **self._door.options)
        self._of_cluster = settings.is_cluster
        self._wait, self._client.waits_for = (
            wait_of(settings),
            None,
        )  # waited for is what is to be kept, and nothing else
        self._followed = None
        if settings.is_cluster:
            from eventlog.redis_following import FollowedStreams

            self._followed = FollowedStreams(self._client, self._pipeline, self._door.options["socket_timeout"])
        for name in ("XREAD", "XRANGE", "XREVRANGE"):  # the plain lists, as they came
            self._client.set_response_callback(name, lambda answer, **_: answer)

    def _connected(self, anew: bool = True) -> None:
        if anew:
            self._connects()

    def call(self, what: str, command: Command) -> Any:
        with self._door.telling(what):
            return self._client.execute_command(*command)

    def follow(self, what: str, positions: Mapping[bytes, int], count: int, block_s: float) -> list[Any]:
        """Return streams with their entries from the next offset of each on, waiting so long for any."""
        if self._followed is None:
            block = ("BLOCK", max(1, int(block_s * 1000))) if block_s > 0 else ()
            offsets = (f"{offset}-0" for offset in positions.values())
            return list(self.call(what, ("XREAD", "COUNT", count, *block, "STREAMS", *positions, *offsets)) or [])
        with self._door.telling(what):
            return self._followed.read(positions, count, block_s)

    def look(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, for commands that only read; a key that holds another kind of thing than ours answers None."""
        if not commands:
            return []
        with self._door.telling(what):
            answers = self._pipeline(commands)
        return self._door.settled(what, [None if is_other_kind(answer) else answer for answer in answers])

    def run(self, what: str, commands: Sequence[Command], *, wait: Wait | None = None) -> list[Any]:
        """Run commands in one round trip. Raises LogUnavailable for the first that failed; others may have run."""
        if not commands:
            return []
        with self._door.telling(what):
            answers = self._pipeline(commands, wait)
            if missing := _missing_scripts(answers):
                again = self._pipeline([_in_full(commands[at]) for at in missing], wait)
                for at, answer in zip(missing, again, strict=True):
                    answers[at] = answer
        return self._door.settled(what, answers)

    def run_kept(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, and return once what they wrote outlives Redis itself, and is with as many replicas as the settings
        ask for. Raises LogUnavailable also if it may not.
        """
        answers = self.run(what, commands, wait=self._wait)
        if commands:
            for server, told in self._told(what, commands).items():
                self._door.expect_kept(what, server, told)
        return answers

    def _told(self, what: str, commands: Sequence[Command]) -> dict[Any, list[Any]]:
        """Ask the servers that commands went to whether they keep what they took."""
        with self._door.telling(what):
            if not self._of_cluster:
                return {None: self._pipeline(self._door.check(None).questions())}
            servers = self._client.nodes_of(commands)
            return {one: self._client.ask(one, self._door.check(one).questions()) for one in servers}

    def _pipeline(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipeline:
            if wait is not None:
                pipeline.waits_for = wait
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute(raise_on_error=False))

    def close(self) -> None:
        if self._followed is not None:
            self._followed.close()
        self._client.close()


class AsyncCaller:
    """The same from an event loop. All calls share one connection, and those that are under way at once its round."""

    def __init__(self, settings: RedisSettings) -> None:
        self._door = _Door(settings, 0.0)
        self._line = open_line(settings)

    async def run(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip. Raises LogUnavailable for the first that failed; others may have run."""
        return (await self._run(what, commands))[0] if commands else []

    async def run_kept(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, and return once what they wrote outlives Redis itself, and is with as many replicas as the settings
        ask for. Raises LogUnavailable also if it may not.
        """
        if not commands:
            return []
        answers, servers = await self._run(what, commands, kept=True)
        asked = {server: self._door.check(server).questions() for server in servers}
        with self._door.telling(what):
            told = await self._line.ask({server: (_packed(one), len(one)) for server, one in asked.items()})
        for server, answer in told.items():
            self._door.expect_kept(what, server, answer)
        return answers

    async def _run(
        self, what: str, commands: Sequence[Command], *, kept: bool = False
    ) -> tuple[list[Any], Sequence[Address]]:
        """Return the answers, and which servers took anything."""
        with self._door.telling(what):
            answers, servers = await self._line.write(commands, waits=kept)
            if missing := _missing_scripts(answers):
                again = [_in_full(commands[at]) for at in missing]
                found, more = await self._line.write(again, waits=kept)
                servers = tuple({*servers, *more})
                for at, answer in zip(missing, found, strict=True):
                    answers[at] = answer
        return self._door.settled(what, answers), servers

    async def close(self) -> None:
        await self._line.close()


def _packed(commands: Sequence[Sequence[Any]]) -> bytes:
    return b"".join(hiredis.pack_command(tuple(command)) for command in commands)
