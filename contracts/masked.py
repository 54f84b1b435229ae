"""Secrets in text: the one function that all goes through which is printed, logged, answered or written in a report."""

from __future__ import annotations

import re

MASK = "***"
_WORD = re.compile(r"\S+")
_KEY = re.compile(r"\b(nc[sp]_[0-9a-f]{16})_[0-9a-f]+")
"""An API key, whose id is no secret."""
_IN_QUERY = re.compile(
    r"(?i)(?<=[?&])([\w.-]{0,40}?(?:password|username|user|token|secret|api_?key|key|signature|credential|sig))=[^&\s'\"]*"
)


def masked(text: str) -> str:
    """Return the text with the user and password of every URL in it hidden, wherever in the URL they stand, and with
    the secret of every API key.

    A password with an `@` or a `/` that should have been percent-encoded is hidden as well: what is hidden ends at the
    last `@` before a space. So a little more than the secret may be hidden, never less.
    """
    if "ncs_" in text or "ncp_" in text:
        text = _KEY.sub(rf"\1_{MASK}", text)
    if "://" not in text:
        return text
    return _IN_QUERY.sub(rf"\1={MASK}", _WORD.sub(_without_user, text))


def _without_user(word: re.Match[str]) -> str:
    """Return a word without what stands between its first `://` and its last `@`. Looks at it once: it may be long."""
    text = word[0]
    begin, end = text.find("://") + 3, text.rfind("@")
    return f"{text[:begin]}{MASK}{text[end:]}" if 3 <= begin <= end else text
