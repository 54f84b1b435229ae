"""A target to measure load tools with: takes anything, answers at once, or late, or not at all for a while.

`python -m nextclick.bench.target` says its port on the first line, and serves until it is ended. With `--order-of` it
checks each session's order against that recording; `GET /` tells what it found.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import cast

import orjson
import uvloop

from eventlog.files import read_raw
from replay.engine.order import RecordedOrder

BODY = b'{"accepted":1,"rejected":[],"token":null}'
HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
ANSWER = HEAD % (len(BODY), BODY)
_GOLDEN = 0.6180339887498949


def wait_ms(request: int, least: float, most: float) -> float:
    """Return how long the answer to a request takes: mostly near the least, the same spread in every run."""
    return least + (most - least) * (request * _GOLDEN % 1.0) ** 4


class _Serving(asyncio.Protocol):
    """One connection. `stall` is from when to when, seconds after the first request of all, nothing is answered."""

    requests = 0
    began = -1.0

    def __init__(
        self, waits: tuple[float, float], stall: tuple[float, float], order: RecordedOrder | None = None
    ) -> None:
        self._waits, self._stall, self._order = waits, stall, order
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape

    def data_received(self, received: bytes) -> None:
        self._received += received
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(ANSWER if self._order is None else self._checked(self._order, body))

    def _checked(self, order: RecordedOrder, body: bytes) -> bytes:
        """Take a request's events; one without a body is told how they came."""
        if not body:
            found = orjson.dumps(order.as_json())
            return HEAD % (len(found), found)
        batch = orjson.loads(body)
        for fields in batch:
            order.take(fields)
        found = BODY.replace(b"1", b"%d" % len(batch))
        return HEAD % (len(found), found)

    def _answer(self, answer: bytes) -> None:
        now, kind = self._loop.time(), type(self)
        if kind.began < 0:
            kind.began = now
        kind.requests += 1
        least, most = self._waits
        late_s = wait_ms(kind.requests, least, most) / 1000.0 if most else 0.0
        start, end = self._stall
        if start <= now - kind.began < end:
            late_s = max(late_s, end - (now - kind.began))
        if late_s:
            self._loop.call_later(late_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(waits: tuple[float, float], stall: tuple[float, float], order: RecordedOrder | None = None) -> None:
    """Serve on a free loopback port, and say which."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Serving(waits, stall, order), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--wait-ms", type=float, nargs=2, default=(0.0, 0.0), metavar=("LEAST", "MOST"))
    words.add_argument("--stall-s", type=float, nargs=2, default=(0.0, 0.0), metavar=("FROM", "TO"))
    words.add_argument("--order-of", type=Path, help="the recording that is played")
    words.add_argument("--run", default="", help="the run's name, with --order-of")
    typed = words.parse_args()
    checking = RecordedOrder(read_raw(typed.order_of), typed.run) if typed.order_of is not None else None
    uvloop.run(serve(tuple(typed.wait_ms), tuple(typed.stall_s), checking))
