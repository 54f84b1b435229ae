"""Why a call got no answer, in words."""

from __future__ import annotations

from ssl import SSLError
from unittest.mock import Mock

import aiohttp
import pytest

from gateway.call_faults import in_words

KEY = Mock()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer within 2.5 s"),
        (aiohttp.ConnectionTimeoutError(), "no answer within 2.5 s"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError()), "its name was not found"),
        (aiohttp.ClientConnectorCertificateError(KEY, SSLError()), "its certificate is not trusted"),
        (aiohttp.ClientConnectorSSLError(KEY, SSLError()), "no TLS connection could be agreed on"),
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError()), "could not connect"),
        (aiohttp.ServerDisconnectedError(), "the connection broke before an answer"),
        (aiohttp.ClientOSError(), "the connection broke before an answer"),
        (ConnectionResetError(), "the connection broke before an answer"),
        (aiohttp.ClientResponseError(KEY, ()), "what answered is no HTTP server"),
    ],
)
def test_why_no_answer_came_is_said_in_words(error: Exception, words: str) -> None:
    assert in_words(error, 2.5) == words
