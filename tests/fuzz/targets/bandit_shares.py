"""The record of a bandit's shares, as gateways read it: whatever is drawn by it is a variant that has a share."""

from __future__ import annotations

from contracts.assignment import drawn
from contracts.bandit_shares import BanditShares, decode_shares, encode_shares
from tests.fuzz.target import Target

SHARES = BanditShares(1000, 2000, ("control", "b"), {"": (0.25, 0.75), "phone/no": (0.5, 0.5)})


def check(raw: bytes) -> None:
    shares = decode_shares(raw)
    assert decode_shares(encode_shares(shares)) == shares
    for parts in shares.cells.values():
        assert parts[drawn("x", "s1", parts)] > 0.0


TARGET = Target(
    check,
    {"record": encode_shares(SHARES)},
    code=("contracts.bandit_shares", "contracts.assignment"),
    refusals=(ValueError,),
    words=(b"0.5", b"null", b"[]", b"{}", b"1e308", b"-1", b'""'),
)
