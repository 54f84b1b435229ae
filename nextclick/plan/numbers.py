"""Numbers as people write them."""

from __future__ import annotations

import re
from typing import Final

_TIMES: Final = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_DIGITS: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d[\d_]*(?:\.\d+)?(?:e\+?\d{1,2})?|\.\d+"
_NUMBER: Final = re.compile(rf"(-?)({_DIGITS})([kmb]?)", re.IGNORECASE)


def number_of(text: str) -> float:
    """Return the number that a text means: 200000, 200,000, 200_000, 200k, 1.5M, 1B, 2e6. Raises ValueError."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or ("e" in found[2].lower() and found[3]):
        raise ValueError(
            f"expected a number such as 200000, 200,000, 200k, 1.5M, 1B or 2e6, got {text!r:.60}: with a point before "
            "a fraction, and commas between thousands alone"
        )
    sign, digits, unit = found.groups()
    return float(f"{sign}{digits.replace(',', '').replace('_', '')}") * _TIMES[unit.lower()]
