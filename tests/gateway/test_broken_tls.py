"""What a gateway says of a TLS connection that broke inside its event loop: a line, and no stack; of all else, all."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

import pytest

from gateway.serving import tell_of_tls

RAISES = """
def call():
    raise RuntimeError("cut")
"""
CALLS = """
def call():
    inner()
"""


def raised_in(*files: str) -> Exception:
    """Return what was raised by code of the last file, which code of the one before it had called, and so on."""
    call = None
    for file in reversed(files):
        scope: dict[str, Any] = {"inner": call}
        exec(compile(RAISES if call is None else CALLS, file, "exec"), scope)
        call = scope["call"]
    assert call is not None
    with pytest.raises(RuntimeError) as raised:
        call()
    first = next(entry for entry in raised.traceback if str(entry.frame.code.raw.co_filename) == files[0])
    return raised.value.with_traceback(first._rawentry)


@pytest.mark.parametrize(
    ("files", "stack"),
    [
        (("uvloop/sslproto.pyx",), False),
        (("uvloop/sslproto.pyx", "uvloop/handles/handle.pyx"), False),
        (("uvloop/sslproto.pyx", ssl.__file__), False),  # a handshake that is refused when nobody waits for it any more
        (("uvloop/handles/handle.pyx",), True),
        ((ssl.__file__,), True),
        (("uvloop/sslproto.pyx", "gateway/views.py"), True),
        (("gateway/views.py",), True),
    ],
)
def test_what_breaks_inside_tls_is_one_line_and_all_else_has_its_stack(
    caplog: pytest.LogCaptureFixture, files: tuple[str, ...], stack: bool
) -> None:
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.WARNING):
        tell_of_tls(loop, {"message": "error in data received", "exception": raised_in(*files)})
    loop.close()
    [record] = caplog.records
    assert (bool(record.exc_info), "error in data received" in record.getMessage()) == (stack, True)
    assert ("a TLS connection broke" in record.getMessage()) is not stack
