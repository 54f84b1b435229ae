"""Words on the command line and in addresses: tokens, times, letters' names, URLs."""

from __future__ import annotations

from contextlib import suppress

from contracts.addresses import HttpAddress
from contracts.errors import NextclickError
from contracts.masked import masked
from eventlog.contract import Position
from nextclick.commands.letter_options import name_of, time_of
from tests.fuzz.target import Target, read_by_one


def check(raw: bytes) -> None:
    text = raw.decode(errors="surrogateescape")
    assert isinstance(masked(text), str)
    said = (lambda: name_of(text), lambda: time_of("--since", text, 10**12), lambda: HttpAddress.of(text))
    with suppress(ValueError):
        Position.parse(text)
    read_by_one(said, (NextclickError,))


TARGET = Target(
    check,
    {"token": b"p3:88121", "time": b"2026-01-01T00:00:00Z", "ago": b"2h", "url": b"https://h.example:8080/a"},
    code=("contracts.addresses", "contracts.masked", "eventlog.contract", "nextclick.commands.letter_options"),
    refusals=(NextclickError,),
    words=(b"://", b"@", b":", b"[::1]", b"%", b"9" * 30, b"p", b"d", b"m", b"\xd9\xa3"),
)
