"""Picks to a webhook, in batches: each under a key of its own, again until it is taken, and from there after a kill.

What is signed, when a call is made again and when it is given up is decided by `campaigns.delivery`.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from campaigns.delivery import Again, Dead, RetryRules, fate_of, headers_of, idempotency_key, origin_of, retry_after_s
from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError, SettingsError
from contracts.tls import client_context
from nextclick.campaign.work import Plan, Work

WITHIN_S: Final = 30.0
"""How long a receiver may take to answer."""
MOST: Final = 5000
"""Picks of one batch."""


class NotTaken(NextclickError):
    """A receiver did not take a batch."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where picks go. `secrets` sign each call; of a batch are `batch` picks."""

    url: str
    secrets: tuple[str, ...] = ()
    batch: int = 500
    rules: RetryRules = field(default_factory=lambda: RetryRules(attempts=8, first_s=1.0, longest_s=60.0))

    def expect_usable(self) -> None:
        """Raise SettingsError for what is no address, or a batch that no receiver would take."""
        if not 1 <= self.batch <= MOST:
            raise SettingsError(f"--webhook-batch: expected 1 to {MOST:,} picks, got {self.batch:,}")
        try:
            origin_of(self.url)
        except ValueError as error:
            raise SettingsError(f"--webhook: {error}") from error


def secrets_in(path: Path | None) -> tuple[str, ...]:
    """Return the secrets of a file, one a line. Raises SettingsError for a file without one."""
    if path is None:
        return ()
    found = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not found:
        raise SettingsError(f"{path}: expected a secret a line, got none")
    return found


def deliver(work: Work, plan: Plan, webhook: Webhook, pause: Callable[[float], None] = time.sleep) -> int:
    """Send what the webhook did not take yet; returns how many batches it has taken, from the first run on.

    Raises NotTaken where one is given up: the next run goes on with it.
    """
    taken = work.delivered
    for number, picks in enumerate(_batches(work, plan, webhook.batch)):
        if number < taken:
            continue
        key = idempotency_key(plan.wanted.campaign, str(plan.at_ms), str(webhook.batch), str(number))
        told = orjson.dumps({"campaign": plan.wanted.campaign, "at_ms": plan.at_ms, "batch": number})
        body = told[:-1] + b',"picks":[' + b",".join(picks) + b"]}"
        _send(webhook, body, key, number, pause)
        work.delivered = number + 1
    return work.delivered


def _batches(work: Work, plan: Plan, size: int) -> Iterator[list[bytes]]:
    """Yield all picks in their order: the same batches, however often it is asked."""
    waiting: list[bytes] = []
    for _, picks in work.picks(plan):
        waiting += picks
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _send(webhook: Webhook, body: bytes, key: str, number: int, pause: Callable[[float], None]) -> None:
    for attempt in range(1, webhook.rules.attempts + 1):
        now_ms = wall_clock_ms()
        headers = headers_of(body, key, webhook.secrets, now_s=now_ms // 1000, attempt=attempt)
        status, fault, later = None, "no answer", None
        try:
            status, later = _post(webhook.url, body, dict(headers))
        except (OSError, http.client.HTTPException) as error:
            fault = f"no answer ({error!r:.200})"
        fate = fate_of(
            attempt,
            status,
            rules=webhook.rules,
            now_ms=now_ms,
            roll=random.random(),
            retry_after_s=retry_after_s(later, now_ms / 1000),
            fault=fault,
        )
        if isinstance(fate, Dead):
            raise NotTaken(f"the webhook did not take batch {number:,}: {fate.why}; run it again to go on from there")
        if not isinstance(fate, Again):
            return
        pause(max(0.0, (fate.due_ms - now_ms) / 1000))


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
    """Return the status of one call, and the `Retry-After` that came with it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    made: http.client.HTTPConnection = (
        http.client.HTTPSConnection(host, parts.port, timeout=WITHIN_S, context=client_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=WITHIN_S)
    )
    with closing(made) as connection:
        connection.request("POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
        answer = connection.getresponse()
        answer.read(65_536)
        return answer.status, answer.getheader("Retry-After")
