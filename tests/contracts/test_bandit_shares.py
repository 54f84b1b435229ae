"""Records of shares: what was written is read, and what would draw nobody right is none."""

from __future__ import annotations

import pytest

from contracts.bandit_shares import BanditShares, cell_of, decode_shares, encode_shares

SHARES = BanditShares(1000, 2000, ("control", "b"), {"": (0.25, 0.75), "phone/no": (0.5, 0.5)})


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode_shares(encode_shares(SHARES)) == SHARES


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b'{"started_ms":1,"at_ms":1,"variants":["a","b"],"cells":{}}',
        b'{"started_ms":1,"at_ms":1,"variants":["a","b"],"cells":{"":[1]}}',
        b'{"started_ms":1,"at_ms":1,"variants":["a","b"],"cells":{"":[0.5,0.6]}}',
        b'{"started_ms":1,"at_ms":1,"variants":["a","b"],"cells":{"":[-0.5,1.5]}}',
        b'{"started_ms":1,"at_ms":1,"variants":["a","b"],"cells":{"":[null,1]}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_record_of_shares_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        decode_shares(record)


def test_a_cell_names_what_the_bandit_tells_apart() -> None:
    assert cell_of((), "phone", "yes") == ""
    assert cell_of(("returning",), "phone", "yes") == "yes"
    assert cell_of(("device", "returning"), "phone", "") == "phone/"
