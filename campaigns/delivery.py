"""How a call to somebody else's server is signed, named, and tried again. Pure: who sends it stands elsewhere.

A call is delivered at least once: a receiver that is killed after it took one gets it again, under the same
idempotency key. Signatures are HMAC-SHA256 over the moment and the body, so that an old call cannot be sent again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

SIGNATURE: Final = "Nextclick-Signature"
IDEMPOTENCY: Final = "Idempotency-Key"
ATTEMPT: Final = "Nextclick-Attempt"
TOLERANCE_S: Final = 300
"""How far a signature's moment may be from the receiver's clock."""
NEVER_TAKEN: Final = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431})
"""Answers by which a receiver says that this body will not be taken however often it comes."""
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When a call that failed is made again: after `first_s` seconds, then twice as long each time up to `longest_s`,
    `attempts` times in all."""

    attempts: int = 8
    first_s: float = 1.0
    longest_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is to be sent again, not before `due_ms` (epoch milliseconds); `why` it was not taken."""

    due_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Dead:
    """It is not sent again."""

    why: str


Fate = Delivered | Again | Dead


def fate_of(
    attempt: int,
    status: int | None,
    *,
    rules: RetryRules,
    now_ms: int,
    roll: float,
    retry_after_s: float | None = None,
    fault: str = "no answer",
) -> Fate:
    """Return what becomes of a call after its `attempt`-th attempt (from 1).

    `status` is the HTTP status answered, None where none came and `fault` says why. `roll` is a random number in
    [0, 1), by which calls that failed together do not come back together. A receiver's `retry_after_s` is obeyed up to
    `rules.longest_s`.
    """
    if status is not None and 200 <= status < 300:
        return Delivered()
    why = fault if status is None else f"answered {status}"
    if status is not None and 300 <= status < 400:
        return Dead(f"{why}: redirects are not followed; set the address that it leads to")
    if status in NEVER_TAKEN:
        return Dead(f"{why}: this body will not be taken")
    if attempt >= rules.attempts:
        return Dead(f"{why}, at attempt {attempt}, the last")
    wait_s = pause_s(attempt, rules, roll)
    if retry_after_s is not None:
        wait_s = max(wait_s, min(retry_after_s, rules.longest_s))
    return Again(now_ms + round(1000 * wait_s), why)


def pause_s(attempt: int, rules: RetryRules, roll: float) -> float:
    """Return the seconds to wait after the `attempt`-th attempt: half of the longest then allowed, and a share `roll`
    of the other half."""
    doublings = min(attempt - 1, 64)
    longest = min(rules.longest_s, rules.first_s * 2.0**doublings)
    return longest * (0.5 + 0.5 * roll)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for, as seconds or as a date (RFC 9110); None for neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return None


def idempotency_key(*parts: str) -> str:
    """Return the name of a call, 32 hex digits: the same for the same parts, another for any other."""
    told = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        told.update(len(raw).to_bytes(8, "little") + raw)
    return told.hexdigest()[:32]


def signature(body: bytes, secrets: Sequence[str], now_s: int) -> str:
    """Return the header that signs a body at a moment (epoch seconds): `t=1700000000,v1=<hex>`, a `v1` a secret, so
    that a receiver may change over from one secret to the next."""
    return ",".join([f"t={now_s}", *(f"v1={_digest(body, secret, str(now_s))}" for secret in secrets)])


def is_signed(header: str, body: bytes, secret: str, now_s: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Tell whether a header signs this body by this secret, at a moment at most `tolerance_s` from now."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit() and len(moments[0]) <= 12):
        return False
    if abs(int(moments[0]) - now_s) > tolerance_s:
        return False
    wanted = _digest(body, secret, moments[0]).encode()
    return any(hmac.compare_digest(wanted, value.encode(errors="replace")) for name, _, value in parts if name == "v1")


def headers_of(body: bytes, key: str, secrets: Sequence[str], *, now_s: int, attempt: int) -> Mapping[str, str]:
    """Return the headers of one attempt at a call."""
    signed = {SIGNATURE: signature(body, secrets, now_s)} if secrets else {}
    return {"Content-Type": "application/json", IDEMPOTENCY: key, ATTEMPT: str(attempt), **signed}


def origin_of(url: str) -> str:
    """Return the scheme, host and port of an address, as `https://host:443`. Raises ValueError for what is no address
    of HTTP, or names a user."""
    if any(char <= " " or char in "\\\x7f" for char in url):
        raise ValueError(f"expected an address without spaces, control characters and \\, got {url!r:.200}")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"expected http://host or https://host, got {url!r:.200}")
    if "@" in parts.netloc:
        raise ValueError("expected an address without a user and password: calls are signed by a secret instead")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"


def expect_allowed(url: str, allowed: Collection[str]) -> None:
    """Raise ValueError unless an address is on one of the allowed origins (`https://shop.example`)."""
    origin = origin_of(url)
    if origin not in {origin_of(one) for one in allowed}:
        listed = ", ".join(sorted(allowed)) or "none"
        raise ValueError(f"expected an address on an allowed origin ({listed}), got {origin}: add it to webhooks.allow")


def _digest(body: bytes, secret: str, moment: str) -> str:
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
