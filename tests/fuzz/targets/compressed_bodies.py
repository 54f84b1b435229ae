"""Compressed bodies: made large again in bounded steps, or refused."""

from __future__ import annotations

import gzip
import zlib

from gateway.inflate import Inflater
from gateway.problems import Refused
from tests.fuzz.target import Target


def check(raw: bytes) -> None:
    """The first byte of an input says how it is packed, the second how it comes in pieces."""
    inflater, step = Inflater(("gzip", "deflate")[raw[0] % 2 if raw else 0]), 1 + (raw[1] if len(raw) > 1 else 0) * 97
    made = steps = 0
    for at in range(2, len(raw), step):
        for piece in inflater.pieces(raw[at : at + step]):
            assert len(piece) <= 65_536
            made, steps = made + len(piece), steps + 1
            if made > 10_000_000:
                return
    assert steps <= 2 * len(raw) + made / 65_536 + 2
    inflater.finish()


TARGET = Target(
    check,
    {"gzip": b"\0\xff" + gzip.compress(b"{}" * 50, mtime=0), "deflate": b"\1\3" + zlib.compress(b"\n" * 5000)},
    code=("gateway.inflate",),
    refusals=(Refused,),
    words=(gzip.compress(b"", mtime=0), b"\x1f\x8b", b"\x78\x9c", bytes(20)),
)
