"""What the check at the door costs a recommendation: nothing to check, the host alone, and a key of 1,000.

python -m nextclick.bench.door
"""

from __future__ import annotations

import timeit
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from contracts.api_keys import MOST_KEYS, Scope, encode_key, new_key
from gateway.door import Door
from gateway.key_table import KeyTable
from gateway.settings import GatewayOptions
from nextclick.bench.report import BenchRow, expect_bench, finish

CALLS: Final = 100_000
REPEATS: Final = 7
_HEAD: Final = {"Host": "127.0.0.1:8080", "User-Agent": "x", "Content-Type": "application/json", "Content-Length": "30"}


def main() -> None:
    """Measure, print, write build/bench/door.json."""
    expect_bench("door")
    made = [new_key("bench", [Scope.RECOMMEND], public=False, now_ms=0) for _ in range(MOST_KEYS)]
    keys = KeyTable()
    keys.apply([(int.from_bytes(one.key.row_key, "little"), encode_key(one.key)) for one in made])
    key = {"Authorization": f"Bearer {made[MOST_KEYS // 2].text}"}
    rows = [
        BenchRow("nothing is checked", _cost_us(GatewayOptions(keys="open-to-anyone", host="0.0.0.0"), keys, {}), "us"),
        BenchRow("the host, on a loopback address", _cost_us(GatewayOptions(), keys, {}), "us", 1.0),
        BenchRow("a key among 1,000", _cost_us(GatewayOptions(keys="required"), keys, key), "us", 5.0),
    ]
    finish("door", rows, "python -m nextclick.bench.door")


def _cost_us(options: GatewayOptions, keys: KeyTable, more: dict[str, str]) -> float:
    """Return what one check costs, microseconds: the best of some repeats."""
    door, headers = Door(options, keys), CIMultiDictProxy(CIMultiDict({**_HEAD, **more}))
    took = timeit.repeat(lambda: door.expect_short(headers, Scope.RECOMMEND), number=CALLS, repeat=REPEATS)
    return min(took) / CALLS * 1e6


if __name__ == "__main__":
    main()
