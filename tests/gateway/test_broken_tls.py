"""What a gateway says of a TLS connection that broke inside its event loop: a line, and no stack; of all else, all."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.serving import tell_of_tls

CODE = """
found = None
try:
    raise RuntimeError("cut")
except RuntimeError as error:
    found = error
"""


def raised_in(file: str) -> Exception:
    """Return what was raised by code of that file."""
    scope: dict[str, object] = {}
    exec(compile(CODE, file, "exec"), scope)
    found = scope["found"]
    assert isinstance(found, RuntimeError)
    return found


@pytest.mark.parametrize(("file", "stack"), [("uvloop/sslproto.pyx", False), ("gateway/views.py", True)])
def test_what_breaks_inside_tls_is_one_line_and_all_else_has_its_stack(
    caplog: pytest.LogCaptureFixture, file: str, stack: bool
) -> None:
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.WARNING):
        tell_of_tls(loop, {"message": "error in data received", "exception": raised_in(file)})
    loop.close()
    [record] = caplog.records
    assert (bool(record.exc_info), "error in data received" in record.getMessage()) == (stack, True)
    assert ("a TLS connection broke" in record.getMessage()) is not stack
