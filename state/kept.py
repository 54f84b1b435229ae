"""Asking Redis, after a write that it answered for, whether its own end cannot undo it."""

from __future__ import annotations

from typing import Any

from contracts.errors import StateUnavailable
from contracts.redis_answers import WriteCheck
from contracts.settings import RedisSettings
from state.client import redis_errors_translated


def expect_kept(redis: Any, settings: RedisSettings, check: WriteCheck, what: str) -> None:
    """Return once Redis's own end cannot undo what it took. Raises StateUnavailable when it may."""
    with redis_errors_translated(settings), redis.pipeline(transaction=False) as pipe:
        for question in check.questions():
            pipe.execute_command(*question)
        problem = check.problem(pipe.execute(raise_on_error=False))
    if problem is not None:
        raise StateUnavailable(f"Redis at {settings.place} took {what}, but may not keep them: {problem}")
