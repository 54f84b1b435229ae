"""Where events go: a gateway over HTTP, or the log itself. Both retry under the same event ids until a time limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from contracts.errors import LogUnavailable
from eventlog.contract import AsyncLogWriter, Record, Topic
from replay.engine.http_client import HttpAnswer, HttpClient

Fields = dict[str, Any]

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch. Every event is accepted, rejected (the target will never take it) or failed.

    `rejected` and `failed` count events by reason. `token` is the position of the batch's last click.
    """

    accepted: int
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    token: str | None = None
    retries: int = 0


class Target(Protocol):
    """Takes events. Never raises for what the other side does: that is in the outcome."""

    async def send(self, batch: Sequence[Fields]) -> Taken: ...


class Refused(Exception):
    """Sending again makes no sense."""


class TryAgain(Exception):
    """The other side cannot take it now. `pause_s` is what it asked for, 0 when it did not."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class GatewayTarget:
    """`POST /api/events` of a gateway. Retries 5xx, 429 and lost connections; other statuses count as failed."""

    def __init__(self, http: HttpClient, *, give_up_s: float = 30.0) -> None:
        """`http` brings the address, the connection limit and the time limit of one attempt."""
        self._http, self._give_up_s = http, give_up_s
        self._head = http.head("POST", "/api/events", JSON)

    async def send(self, batch: Sequence[Fields]) -> Taken:
        body = orjson.dumps(batch)
        return await insist(lambda: self._post(body), len(batch), self._give_up_s)

    async def _post(self, body: bytes) -> Taken:
        try:
            response = await self._http.request(self._head, body)
        except OSError as error:
            raise TryAgain(type(error).__name__) from error
        if response.status != 202:
            raise problem(response)
        try:
            answer = orjson.loads(response.body)
            refused = answer["rejected"]
            rejected = Counter(str(one["reason"]).partition(":")[0] for one in refused) if refused else Counter[str]()
            return Taken(answer["accepted"], rejected, token=answer.get("token"))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("unreadable answer") from error


class LogTarget:
    """The event log, past the gateway: clicks and impressions as they stand, not validated."""

    def __init__(self, writer: AsyncLogWriter, *, give_up_s: float = 30.0) -> None:
        self._writer, self._give_up_s = writer, give_up_s

    async def send(self, batch: Sequence[Fields]) -> Taken:
        return await insist(lambda: self._append(batch), len(batch), self._give_up_s)

    async def _append(self, batch: Sequence[Fields]) -> Taken:
        topics: dict[Topic, list[Record]] = {}
        for fields in batch:
            topic = Topic.IMPRESSIONS if fields["type"] == "impression" else Topic.CLICKS
            topics.setdefault(topic, []).append(Record(fields["session_id"], orjson.dumps(fields)))
        token = None
        try:
            for topic, records in topics.items():
                positions = await self._writer.append(topic, records)
                token = positions[-1].token if topic is Topic.CLICKS else token
        except LogUnavailable as error:
            raise TryAgain(type(error).__name__) from error
        return Taken(len(batch), token=token)


JSON = {"Content-Type": "application/json"}


async def insist(attempt: Callable[[], Awaitable[Taken]], events: int, give_up_s: float) -> Taken:
    """Try until it is taken, refused for good, or `give_up_s` have passed since the first try."""
    loop = asyncio.get_running_loop()
    last_try = loop.time() + give_up_s
    pause_s, retries = FIRST_PAUSE_S, 0
    while True:
        try:
            taken = await attempt()
            return replace(taken, retries=retries) if retries else taken
        except Refused as error:
            return Taken(0, failed=Counter({str(error): events}), retries=retries)
        except TryAgain as error:
            wait_s = min(max(pause_s, error.pause_s), LONGEST_PAUSE_S)
            if loop.time() + wait_s >= last_try:
                return Taken(0, failed=Counter({str(error): events}), retries=retries)
        await asyncio.sleep(wait_s)
        pause_s, retries = 2 * pause_s, retries + 1


def problem(response: HttpAnswer) -> Exception:
    """Return what to raise for an answer that did not take the events: another try may help, or not."""
    if response.status >= 500 or response.status == 429:
        asked = response.header("Retry-After")
        return TryAgain(f"status {response.status}", float(asked) if asked.isdigit() else 0.0)
    return Refused(f"status {response.status}")
