"""Round trips to Redis for the event log: bounded in time, with one kind of error. Scripts are sent by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from contracts.errors import LogUnavailable
from contracts.redis_answers import WriteCheck, advice, is_other_kind
from contracts.settings import RedisSettings
from state.client import greet, tls_options
from state.redis_line import RedisLine

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
            **tls_options(settings),
        }
        self._place, self._is_tls = settings.place, settings.is_tls
        self.check = WriteCheck(settings.place)

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

    def expect_kept(self, what: str, answers: Sequence[Any]) -> None:
        """Raise LogUnavailable unless the answers to `check.questions` say that what was done before is kept."""
        problem = self.check.problem(answers)
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

    A connection that was lost between two commands is made anew without a failure: `connects` is called first.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        longest_wait_s: float = 0.0,
        connects: Callable[[], None] = lambda: None,
    ) -> None:
        self._door = _Door(settings, longest_wait_s)
        options = {**self._door.options, "redis_connect_func": partial(greet, connects)}
        self._client = redis.Redis.from_url(settings.url, retry=Retry(NoBackoff(), 0), **options)
        for name in ("XREAD", "XRANGE", "XREVRANGE"):  # the plain lists, as they came
            self._client.set_response_callback(name, lambda answer, **_: answer)

    def call(self, what: str, command: Command) -> Any:
        with self._door.telling(what):
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    def look(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, for commands that only read; a key that holds another kind of thing than ours answers None."""
        if not commands:
            return []
        with self._door.telling(what):
            answers = self._pipeline(commands)
        return self._door.settled(what, [None if is_other_kind(answer) else answer for answer in answers])

    def run(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip. Raises LogUnavailable for the first that failed; others may have run."""
        if not commands:
            return []
        with self._door.telling(what):
            answers = self._pipeline(commands)
            if missing := _missing_scripts(answers):
                again = self._pipeline([_in_full(commands[at]) for at in missing])
                for at, answer in zip(missing, again, strict=True):
                    answers[at] = answer
        return self._door.settled(what, answers)

    def run_kept(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, and return once what they wrote outlives Redis itself. Raises LogUnavailable also if it may not."""
        answers = self.run(what, commands)
        if commands:
            with self._door.telling(what):
                told = self._pipeline(self._door.check.questions())
            self._door.expect_kept(what, told)
        return answers

    def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return list(pipeline.execute(raise_on_error=False))

    def close(self) -> None:
        self._client.close()


class AsyncCaller:
    """The same from an event loop. All calls share one connection, and those that are under way at once its round."""

    def __init__(self, settings: RedisSettings) -> None:
        self._door = _Door(settings, 0.0)
        self._line = RedisLine(settings)

    async def run(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip. Raises LogUnavailable for the first that failed; others may have run."""
        if not commands:
            return []
        with self._door.telling(what):
            answers = await self._pipeline(commands)
            if missing := _missing_scripts(answers):
                again = await self._pipeline([_in_full(commands[at]) for at in missing])
                for at, answer in zip(missing, again, strict=True):
                    answers[at] = answer
        return self._door.settled(what, answers)

    async def run_kept(self, what: str, commands: Sequence[Command]) -> list[Any]:
        """As `run`, and return once what they wrote outlives Redis itself. Raises LogUnavailable also if it may not."""
        answers = await self.run(what, commands)
        if commands:
            with self._door.telling(what):
                told = await self._pipeline(self._door.check.questions())
            self._door.expect_kept(what, told)
        return answers

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        sent = b"".join(hiredis.pack_command(command) for command in commands)
        return await self._line.call(sent, len(commands), again=False)

    async def close(self) -> None:
        await self._line.close()
