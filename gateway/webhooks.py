"""Price drops and items back in stock, told to the shop's server with the users who wait for them.

Where `webhooks.url` is set, each gateway process takes up what is due, one thing at a time: of what happened it makes
calls, and calls it sends. A process that dies leaves what it had taken up to the others, once its lease is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import web

from campaigns.delivery import (
    Again,
    Dead,
    Delivered,
    Fate,
    RetryRules,
    expect_allowed,
    fate_of,
    headers_of,
    idempotency_key,
    retry_after_s,
)
from campaigns.interest import is_hidden, pages, waiting_for
from campaigns.recipients import ConsentRule, consents
from contracts.errors import LogUnavailable, RecordTooLarge, SettingsError, StateUnavailable
from contracts.formats import NewerFormat, expect_mark
from contracts.ids import item_key
from contracts.keys import WEBHOOKS
from contracts.profiles import decode_profile
from contracts.settings import WebhookOptions
from contracts.users import decode_user, hidden_of
from eventlog.contract import DeadLetter
from gateway.appends import MAX_RAW
from gateway.background import kept_running, running
from gateway.call_faults import in_words
from gateway.erasures import ERASURES
from gateway.keys import APPENDS, CLOCK, SETTINGS
from gateway.metrics import METRICS, Metrics
from rights.consent import refuses
from rights.erasure import ErasedNames
from state.due_calls import DueCall, DueCalls, Failure
from state.interest import InterestStore

log = logging.getLogger("nextclick.gateway")

REASON: Final = "webhook_not_taken"
LOOK_S: Final = 0.25
"""How often a process looks for what is due."""
AT_ONCE: Final = 8
"""Calls of one process that are under way together."""
_LEASE: Final = 2.0, 2_000
"""Of what is taken up: so many times the time of an attempt, and so many milliseconds."""
_USERS_AT_ONCE: Final = 100

Post = Callable[[bytes, Mapping[str, str]], Awaitable[tuple[int, str | None]]]
"""Sends a body with headers; returns the status and Retry-After. Raises OSError, TimeoutError, aiohttp.ClientError."""


def expect_webhooks(options: WebhookOptions) -> None:
    """Raise SettingsError for a url that may not be called."""
    if options.on:
        try:
            expect_allowed(options.url, options.allow)
        except ValueError as error:
            raise SettingsError(f"webhooks.url: {error}") from error


async def webhooks(app: web.Application) -> AsyncIterator[None]:
    """The sending of calls, as long as the application lives. What is left on the way out, others take up."""
    settings, options = app[SETTINGS], app[SETTINGS].webhooks
    if not options.on:
        yield
        return
    queue = DueCalls(settings.redis, WEBHOOKS, most=options.max_waiting)
    interest = InterestStore(
        settings.redis, partitions=settings.log.partitions, most=options.max_users, keep_ms=options.keep_ms
    )
    timeout = aiohttp.ClientTimeout(total=options.timeout.total_seconds())
    async with aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:

        async def post(body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
            answer = session.post(options.url, data=body, headers=headers, allow_redirects=False)
            async with answer as taken:
                return taken.status, taken.headers.get("Retry-After")

        dead, erased = app[APPENDS].dead_letters.write, app[ERASURES]
        caller = Caller(options, queue, interest, post, dead, app[CLOCK], lambda: erased.names)
        caller.show(app[METRICS])
        async with running(kept_running("webhooks", caller.run, app[METRICS].restarts)):
            yield
    queue.close()
    interest.close()


class Caller:
    """Takes up what is due, and makes calls. Belongs to an event loop."""

    def __init__(
        self,
        options: WebhookOptions,
        queue: DueCalls,
        interest: InterestStore,
        post: Post,
        dead: Callable[[DeadLetter], Awaitable[None]],
        clock_ms: Callable[[], int],
        erased: Callable[[], ErasedNames],
        roll: Callable[[], float] = random.random,
    ) -> None:
        """`dead` returns once a letter is kept. `erased`: who was erased lately; a call that was under way meanwhile
        still names them.
        """
        self._options, self._queue, self._interest, self._post = options, queue, interest, post
        self._dead, self._clock_ms, self._erased, self._roll = dead, clock_ms, erased, roll
        pauses = options.first_pause.total_seconds(), options.longest_pause.total_seconds()
        self._rules = RetryRules(options.attempts, *pauses)
        self._lock = asyncio.Lock()
        """The stores are for one thread at a time."""
        self.sent = dict.fromkeys(("delivered", "again", "dead"), 0)

    def show(self, metrics: Metrics) -> None:
        about = "Calls to the shop's server that this process made, by what came of them."
        for outcome in self.sent:
            metrics.total("webhook_calls", about, {"outcome": outcome}, partial(self._sent, outcome))

    def _sent(self, outcome: str) -> float:
        return float(self.sent[outcome])

    async def run(self) -> None:
        """Go on for ever; a Redis that is away is waited out. A call that ends makes room for the next at once."""
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while True:
                taken = await self._take(AT_ONCE - len(under_way))
                for call in taken:
                    doing = group.create_task(self._done_or_left(call))
                    under_way.add(doing)
                    doing.add_done_callback(under_way.discard)
                if len(under_way) == AT_ONCE:
                    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                elif not taken:
                    await asyncio.sleep(LOOK_S)

    async def _take(self, count: int) -> list[DueCall]:
        lease_ms = round(_LEASE[0] * 1000 * self._options.timeout.total_seconds()) + _LEASE[1]
        try:
            taken: list[DueCall] = await self._ask(self._queue.take, self._clock_ms(), lease_ms, count)
        except StateUnavailable:
            return []
        return taken

    async def _done_or_left(self, call: DueCall) -> None:
        with suppress(StateUnavailable):
            await self.do(call)

    async def do(self, call: DueCall) -> None:
        """Send a call, or make the calls of what happened. Raises StateUnavailable: its lease brings it back."""
        try:
            document = orjson.loads(call.body)
            expect_mark("call" if "users" in document else "happened", document)
            if "users" in document:
                await self._send(call)
            else:
                await self._expand(call, document)
        except StateUnavailable:
            raise
        except NewerFormat as error:  # and this one to a gateway of that release
            log.warning("a webhook is left: %s", error)
        except Exception as error:
            log.exception("a webhook that cannot be made: it is a dead letter")
            await self._bury(call, f"{type(error).__name__}: {error}"[:500])

    async def _expand(self, call: DueCall, document: dict[str, Any]) -> None:
        """Put the calls that tell the users who wait, instead of what happened."""
        users = await self._ask(self._who_waits, document["item"])
        parts = pages(users, self._options.users_a_call)
        calls = [_call(call.name, document, part, page=at + 1, of=len(parts)) for at, part in enumerate(parts)]
        await self._ask(lambda: self._queue.put(calls, self._clock_ms(), instead_of=call.name))

    def _who_waits(self, item: Mapping[str, Any]) -> list[str]:
        key = item_key(item["item_id"])
        since_ms = self._clock_ms() - self._options.keep_ms
        users = self._interest.waiting(key, since_ms)[: self._options.max_users]
        found: list[str] = []
        for part in pages(users, _USERS_AT_ONCE):
            for user_id, (profile, document) in zip(part, self._interest.known(part), strict=True):
                if _waits(key, item, profile, document, self._options.max_items):
                    found.append(user_id)
        return found

    async def _send(self, call: DueCall) -> None:
        now_ms = self._clock_ms()
        headers = headers_of(call.body, call.name, self._options.secrets, now_s=now_ms // 1000, attempt=call.attempt)
        status, asked, fault = None, None, ""
        try:
            status, asked = await self._post(call.body, headers)
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            fault = in_words(error, self._options.timeout.total_seconds())
        fate = fate_of(
            call.attempt,
            status,
            rules=self._rules,
            now_ms=self._clock_ms(),
            roll=self._roll(),
            retry_after_s=retry_after_s(asked, now_ms / 1000),
            fault=fault,
        )
        await self._settle(call, fate)

    async def _settle(self, call: DueCall, fate: Fate) -> None:
        match fate:
            case Delivered():
                self.sent["delivered"] += 1
                await self._ask(self._queue.done, call.name, "delivered")
            case Again():
                self.sent["again"] += 1
                failure = self._failure(call, fate.why, over=False)
                await self._ask(lambda: self._queue.again(call.name, fate.due_ms, failure))
            case Dead():
                await self._bury(call, fate.why)

    async def _bury(self, call: DueCall, why: str) -> None:
        """Keep a call as a dead letter; it is let go after that, and not before. Raises StateUnavailable where the log
        does not keep it now: the call's lease brings it back, to be sent again.
        """
        body = _without(call.body, self._erased())
        letter = DeadLetter(f"{WEBHOOKS}:{call.name}", 0, REASON, why, self._clock_ms(), body)
        try:
            try:
                await self._dead(letter)
            except RecordTooLarge:  # its beginning says which call it was
                await self._dead(replace(letter, raw=body[:MAX_RAW]))
        except LogUnavailable as error:
            raise StateUnavailable(f"a webhook that was not taken cannot be kept as a dead letter: {error}") from error
        self.sent["dead"] += 1
        failure = self._failure(call, why, over=True)
        await self._ask(lambda: self._queue.done(call.name, "dead", failure))

    def _failure(self, call: DueCall, why: str, *, over: bool) -> Failure:
        return Failure(call.name, self._clock_ms(), call.attempt, why, _about(call.body), over)

    async def _ask(self, what: Callable[..., Any], *arguments: Any) -> Any:
        async with self._lock:
            return await asyncio.to_thread(what, *arguments)


def _call(name: str, document: Mapping[str, Any], users: Sequence[str], *, page: int, of: int) -> tuple[str, bytes]:
    """Return the name and body of one page's call."""
    key = idempotency_key(name, str(page))
    told = {
        "v": 1,
        "id": key,
        "type": document["kind"],
        "at_ms": document["at_ms"],
        "item": document["item"],
        "before": document["before"],
        "now": document["now"],
        "users": list(users),
        "page": page,
        "pages": of,
    }
    return key, orjson.dumps(told)


def _about(body: bytes) -> str:
    """Return the type and the item that a call tells of, as far as it says them."""
    try:
        said = orjson.loads(body)
        return f"{said.get('type', said.get('kind'))} {said['item']['item_id']}"[:400]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _without(body: bytes, erased: ErasedNames) -> bytes:
    """Return a call's body without the users who were erased since it was made; as it is where there are none."""
    if not erased:
        return body
    try:
        call = orjson.loads(body)
        users, at_ms = call["users"], call["at_ms"]
        left = [one for one in users if not erased.covers(None, one, at_ms)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return body
    return body if len(left) == len(users) else orjson.dumps({**call, "users": left})


def _waits(key: int, item: Mapping[str, Any], profile: bytes | None, document: bytes | None, most: int) -> bool:
    """Tell whether a user waits for an item, by what is stored of them; what cannot be read is of nobody who does."""
    try:
        if profile is None or key not in waiting_for(decode_profile(profile).clicks, most):
            return False
        if document is None:
            return True
        user = decode_user(document)
        if refuses(user) or not consents(user, ConsentRule.UNLESS_REFUSED):
            return False
        return not is_hidden(item, hidden_of(user))
    except ValueError:
        return False
