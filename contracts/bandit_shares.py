"""Shares of a bandit experiment's variants: the judge computes them, gateways draw by them. A JSON record in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.formats import FORMATS, expect_known

WHOLE: Final = ""
"""The cell of visitors of whom nothing is told apart, and of those of a kind that no shares are known of."""
_OFF: Final = 1e-6
"""By how much shares may miss 1 together."""


class BanditShares(msgspec.Struct, frozen=True):
    """`started_ms`: which run of the experiment they are of. `cells`: by kind of visitor (`cell_of`) the share (k,) of
    each of `variants`. `v`: of the format.
    """

    started_ms: int
    at_ms: int
    variants: tuple[str, ...]
    cells: dict[str, tuple[float, ...]]
    v: int = FORMATS["bandit_shares"].written


def cell_of(context: Sequence[str], device: str, returning: str) -> str:
    """Return the cell of a visitor, given what a bandit tells apart (`device`, `returning`) and which they are."""
    known = {"device": device, "returning": returning}
    return "/".join(known[one] for one in context)


def encode_shares(shares: BanditShares) -> bytes:
    return msgspec.json.encode(shares)


def decode_shares(record: bytes) -> BanditShares:
    """Return the shares of a record. Raises ValueError for what is none, or adds up to another sum than 1."""
    try:
        shares = msgspec.json.decode(record, type=BanditShares)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"expected a record of shares, got {record[:80]!r}: {error}") from error
    expect_known("bandit_shares", shares.v)
    for cell, parts in shares.cells.items():
        if len(parts) != len(shares.variants) or not all(0.0 <= part <= 1.0 for part in parts):
            raise ValueError(f"expected {len(shares.variants)} shares of 0 to 1, got {list(parts)} of {cell!r}")
        if abs(sum(parts) - 1.0) > _OFF:
            raise ValueError(f"expected shares of 1 together, got {sum(parts):g} of {cell!r}")
    if WHOLE not in shares.cells:
        raise ValueError(f"expected shares of the cell {WHOLE!r}, got {sorted(shares.cells)}")
    return shares
