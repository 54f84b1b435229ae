"""What a unit (a session or a user) did in an experiment, as one row that adds up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from contracts.formats import expect_known

ROW_CODEC: Final = 1
SWITCHED: Final = ""
"""The variant of a unit that was seen in several."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A unit from its first page of the experiment on (`first_ms`). `clicks` came from its pages; carts, purchases and
    orders are all that it did. `money` is by currency: lines that have a value, and their sum less returns, in
    ten-thousandths.
    """

    variant: str
    device: str
    region: str
    first_ms: int
    pages: int = 0
    shown: int = 0
    clicks: int = 0
    carts: int = 0
    purchases: int = 0
    orders: int = 0
    money: dict[str, tuple[int, int]] = {}
    codec: int = ROW_CODEC

    def plus(self, later: Row) -> Row:
        """Return both as one row: what a unit did at first, and what came after it."""
        money = dict(self.money)
        for currency, (lines, total) in later.money.items():
            had = money.get(currency, (0, 0))
            money[currency] = (had[0] + lines, had[1] + total)
        return Row(
            variant=self.variant if self.variant == later.variant else SWITCHED,
            device=self.device,
            region=self.region,
            first_ms=self.first_ms,
            pages=self.pages + later.pages,
            shown=self.shown + later.shown,
            clicks=self.clicks + later.clicks,
            carts=self.carts + later.carts,
            purchases=self.purchases + later.purchases,
            orders=self.orders + later.orders,
            money=money,
        )


Rows = Mapping[str, Row]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Row).decode


def encode_row(row: Row) -> bytes:
    return _encode(row)


def decode_row(raw: bytes) -> Row:
    """Decode what `encode_row` made. Raises ValueError for anything else."""
    try:
        row = _decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"expected a row of an experiment, got {raw[:40]!r}: {error}") from error
    expect_known("experiment_unit", row.codec)
    return row
