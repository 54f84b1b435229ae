"""Inputs that are almost right: a valid one with a few things changed, in its structure or in its bytes.

Pure: all that is random comes from the generator that is handed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from tests.open_fields import NAMES

Mutation = Callable[[bytes, Random], bytes]

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30),
    *(0.1, -0.0, 1e308, 5e-324, 1_700_000_000_000, 1_700_000_000, 253_402_300_800_000),
    *("", " ", "\0", "\n", "\u202e", "a" * 257, "\U0001f6d2", "\ud800", "é", "e\u0301", "null", "NaN", "-1", "../../x"),
    *("<script>alert(1)</script>", "javascript:alert(1)", "%s%n", "p0:1", "p9999:1", "2020-02-30T25:61:00Z", "P1D"),
    *([], {}, [[]], [{}], {"": {}}, [0] * 70, ["x"] * 1001, {"v": 1}),
)
"""Values that were, or might be, taken for another."""
LITERALS: Final = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" * 400, b"0x10", b"01", b"1.", b".5", b"+1", b"- 1"),
    *(
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"'x'",
        b"//",
        b"/**/",
        b"tru",
        b"nul",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\0",
        b",",
        b",,",
        b"]",
        b"}",
        b"[" * 300,
        b"[" * 1100,
        b'{"a":' * 300,
        b'"' * 3,
        b"\\",
        b"\r\n",
    ),
)
"""Pieces of JSON that is none, or that few expect."""
_LONGEST: Final = 16_384
DEPTHS: Final = (3, 60, 130, 199, 201, 252, 256, 300, 1010, 1030)


def mutated(raw: bytes, random: Random, others: Sequence[bytes] = (), words: Sequence[bytes] = ()) -> bytes:
    """Return `raw` with one to four things changed. `others` are inputs that parts may come from."""
    for _ in range(1 + random.randrange(4)):
        if random.random() < 0.6 and (found := _structured(raw, random, others)) is not None:
            raw = found
        else:
            raw = random.choice(_BYTES)(raw, random, others, words)
        raw = raw[:_LONGEST]
    return raw


def _structured(raw: bytes, random: Random, others: Sequence[bytes]) -> bytes | None:
    """Return JSON with a value or a name changed; None for what is no JSON."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    holder = [document]
    places = _places(holder)
    where, key = random.choice(places)
    random.choice(_EDITS)(where, key, random, others)
    try:
        return json.dumps(holder[0], separators=(",", ":"), ensure_ascii=random.random() < 0.5).encode()
    except (UnicodeEncodeError, RecursionError):
        return None


def _places(holder: Any) -> list[tuple[Any, Any]]:
    """Return where values stand: containers and their keys, at most some thousand of them."""
    found: list[tuple[Any, Any]] = []
    level = [holder]
    while level and len(found) < 2000:
        below = []
        for one in level:
            keys: Any = one.keys() if isinstance(one, dict) else range(len(one))
            found += [(one, key) for key in keys]
            below += [one[key] for key in keys if isinstance(one[key], dict | list)]
        level = below
    return found


def _replace(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    where[key] = random.choice(VALUES)


def _nest(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    name = random.choice(("a", "item_id", "v", None))
    for _ in range(random.choice(DEPTHS)):
        where[key] = [where[key]] if name is None else {name: where[key]}


def _drop(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    del where[key]
    if isinstance(where, list) and not where:
        where.append(random.choice(VALUES))


def _rename(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    if isinstance(where, dict):
        where[random.choice(NAMES)] = where.pop(key)
    else:
        where[key] = {random.choice(NAMES): where[key]}


def _add(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    if isinstance(where[key], dict):
        where[key][random.choice(NAMES)] = random.choice(VALUES)
    elif isinstance(where[key], list):
        where[key].extend([random.choice(VALUES)] * random.choice((1, 1, 5, 1100)))
    else:
        where[key] = str(where[key]) * random.choice((2, 30, 300))


def _swap(where: Any, key: Any, random: Random, others: Sequence[bytes]) -> None:
    """Put another input, or another part of this one, here."""
    where[key] = random.choice((where, where[key], list(others)[:1] and _loaded(random.choice(others))))
    if where[key] is where:
        where[key] = json.loads(json.dumps({str(one): None for one in (where if isinstance(where, dict) else ())}))


def _shake(where: Any, key: Any, random: Random, _: Sequence[bytes]) -> None:
    """Change a value a little."""
    value = where[key]
    if isinstance(value, bool) or value is None:
        where[key] = random.choice(VALUES)
    elif isinstance(value, int | float):
        where[key] = value + random.choice((-1, 1, 1000, -(10**6), 10**12)) if abs(value) < 10**300 else -value
    elif isinstance(value, str):
        at = random.randrange(len(value) + 1)
        where[key] = value[:at] + random.choice(("", "\0", "é", " ", "'", '"', "/", "..", "%", "\n")) + value[at + 1 :]
    else:
        where[key] = random.choice((str(value)[:50], [value], {"": value}))


_EDITS: Final = (_replace, _replace, _replace, _nest, _drop, _rename, _add, _add, _swap, _shake, _shake)


def _loaded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _flip(raw: bytes, random: Random, *_: Any) -> bytes:
    if not raw:
        return b"\0"
    changed = bytearray(raw)
    for _ in range(1 + random.randrange(4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(raw: bytes, random: Random, *_: Any) -> bytes:
    begin, end = sorted(random.randrange(len(raw) + 1) for _ in range(2))
    return random.choice((raw[:begin], raw[begin:], raw[:begin] + raw[end:]))


def _insert(raw: bytes, random: Random, _: Any, words: Sequence[bytes]) -> bytes:
    at = random.randrange(len(raw) + 1)
    piece = random.choice((*words, *LITERALS))
    return raw[:at] + piece + raw[at + random.choice((0, 0, len(piece))) :]


def _repeat(raw: bytes, random: Random, *_: Any) -> bytes:
    begin, end = sorted(random.randrange(len(raw) + 1) for _ in range(2))
    return raw[:end] + raw[begin:end] * random.choice((1, 2, 20)) + raw[end:]


def _number(raw: bytes, random: Random, *_: Any) -> bytes:
    """Write an extreme number over some bytes, as binary forms hold them."""
    size = random.choice((1, 2, 4, 8))
    number = random.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 127))
    piece = random.choice((number.to_bytes(size, "little"), b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\0\0\0\0\xf0\x7f"))
    at = random.randrange(len(raw) + 1)
    return raw[:at] + piece + raw[at + len(piece) :]


def _splice(raw: bytes, random: Random, others: Sequence[bytes], _: Any) -> bytes:
    other = random.choice(others) if others else raw
    return raw[: random.randrange(len(raw) + 1)] + other[random.randrange(len(other) + 1) :]


_BYTES: Final = (_flip, _flip, _cut, _insert, _insert, _repeat, _number, _splice)
