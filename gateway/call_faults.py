"""Why a call to another server got no answer, in words."""

from __future__ import annotations

from typing import Final

import aiohttp

_WORDS: Final = (
    (aiohttp.ClientConnectorDNSError, "its name was not found"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientSSLError, "no TLS connection could be agreed on"),
    (aiohttp.ClientConnectorError, "could not connect"),
    (OSError, "the connection broke before an answer"),
    (aiohttp.ClientConnectionError, "the connection broke before an answer"),
)
"""The narrower errors first."""


def in_words(error: Exception, timeout_s: float) -> str:
    """Return why an attempt that was to take `timeout_s` at most got no answer."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "what answered is no HTTP server")
