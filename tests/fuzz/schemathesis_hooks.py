"""What schemathesis is told beside the document: how a body of lines is written."""

from __future__ import annotations

from typing import Any

import orjson
import schemathesis


@schemathesis.serializer("application/x-ndjson")
def one_a_line(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Write what is generated of one line's schema as such a line, and a list as several."""
    lines = value if isinstance(value, list) else [value]
    return b"".join(_line(one) for one in lines)


def _line(value: Any) -> bytes:
    try:
        return orjson.dumps(value) + b"\n"
    except orjson.JSONEncodeError:  # half a character, a number of more than 64 bits
        return repr(value).encode(errors="backslashreplace") + b"\n"
