"""Two item ids with one key. XXH3 is no cryptographic hash: such ids can be written down."""

from __future__ import annotations

from typing import Final


def _id(one: str, two: str) -> str:
    """256 bytes. Lane 1 of the second and third stripe holds a half of XXH3's secret in its upper half, so that its
    product is zero and its lower half is only added: the key is the same whichever stripe `one` and `two` stand in.
    """
    begins = b"n" * 72 + one.encode() + b"\xf1\x83\x90\x97\xdb\x80"
    goes_on = b"n" * 55 + two.encode() + b"\xe1\xb7\xb3g\x1f"
    return (begins + goes_on).ljust(256, b"n").decode()


ONE_KEY: Final = (_id("one", "two"), _id("two", "one"))
