"""GET /api/dead-letters: what could not be taken, for admins."""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, field_validator

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import KeptLetter
from eventlog.letter_choice import Choice, newest
from eventlog.open_log import open_dead_letters
from gateway.keys import SETTINGS
from gateway.one_at_a_time import alone
from gateway.own_machine import expect_own_machine
from gateway.problems import out_of_range
from gateway.wire import Whole, json_response, validated

MOST_SHOWN = 2000
"""Characters of a record that are shown."""
READING = web.AppKey("reading dead letters", asyncio.Semaphore)
"""Held by whoever reads them: one request at a time, so that reading cannot take the process from the others."""


class LettersQuery(BaseModel):
    """Which letters to show."""

    model_config = ConfigDict(extra="forbid")

    reason: list[str] = Field(default=[], max_length=50, description="Reasons, separated by commas.")
    partition: Whole | None = Field(default=None, ge=0, description="A partition of the log.")
    since_ms: Whole | None = Field(default=None, ge=0, description="Written at or after, epoch milliseconds.")
    until_ms: Whole | None = Field(default=None, ge=0, description="Written before, epoch milliseconds.")
    limit: Whole = Field(default=50, ge=1, le=500)

    @field_validator("reason", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return [name for name in text.split(",") if name] if isinstance(text, str) else text


class ShownLetter(BaseModel):
    """One dead letter. `record` is its beginning as text; `bytes` is how long the letter's record is."""

    id: str = Field(description="Its name for `nextclick dead-letters show`, such as p3:17.")
    source: str = Field(description="Where it stood: `clicks:3:88121`, or `gateway`.")
    partition: int
    reason: str
    detail: str
    at_ms: int = Field(description="When it was written, epoch milliseconds.")
    bytes: int
    record: str


class LettersAnswer(BaseModel):
    """Dead letters, newest first."""

    letters: list[ShownLetter]


async def get_dead_letters(request: web.Request) -> web.Response:
    """Show the newest dead letters, to the machine itself."""
    expect_own_machine(request)
    query, settings = validated(dict(request.query), LettersQuery), request.app[SETTINGS]
    if query.partition is not None and query.partition >= settings.log.partitions:
        raise out_of_range(f"/partition: expected 0 to {settings.log.partitions - 1}, got {query.partition}")
    async with alone(request.app[READING], "reads the dead letters"):
        found = await asyncio.to_thread(_newest, settings.log, settings.redis, _choice(query), query.limit)
    return json_response({"letters": [letter.model_dump() for letter in found]})


def shown(kept: KeptLetter) -> ShownLetter:
    """Return a letter as it is shown."""
    letter = kept.letter
    return ShownLetter(
        id=kept.position.token,
        source=letter.source,
        partition=letter.partition,
        reason=letter.reason,
        detail=letter.detail,
        at_ms=letter.at_ms,
        bytes=len(letter.raw),
        record=letter.raw[: 4 * MOST_SHOWN].decode(errors="replace")[:MOST_SHOWN],
    )


def _choice(query: LettersQuery) -> Choice:
    return Choice(
        reasons=frozenset(query.reason),
        partitions=frozenset() if query.partition is None else frozenset({query.partition}),
        since_ms=query.since_ms,
        until_ms=query.until_ms,
    )


def _newest(log: LogSettings, redis: RedisSettings, choice: Choice, limit: int) -> list[ShownLetter]:
    """Return the newest letters as they are shown: whole ones may be a megabyte each."""
    reader = open_dead_letters(log, redis)
    try:
        return newest(reader, choice, limit, shown)
    finally:
        reader.close()
