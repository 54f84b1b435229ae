"""Many stored sessions as arrays: what a micro-batch of clicks is folded into, without an object a session.

`contracts.codec` says what the bytes of one session mean; the kernels here read and write the same bytes for all
sessions of a batch at once. What they do not take for a session, `decode_session` looks at, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.packed import number_at, put_number
from contracts.codec import SESSION_CODEC
from contracts.plausible import LAST_MS
from contracts.sessions import CLICK

STARTED: Final = 0
LAST: Final = 1
EVENTS: Final = 2
OFFSET: Final = 3
CLICKS: Final = 4
"""Columns of `SessionArrays.numbers`: as the fields of a `Session`, and how many clicks its window holds."""

_HEADER: Final = 42
_CLICK: Final = CLICK.itemsize
_CODEC: Final = SESSION_CODEC
_LAST_MS: Final = LAST_MS
_INCOMPLETE: Final = 1

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]


@dataclass(slots=True)
class SessionArrays:
    """n sessions with room for r clicks each; changed in place.

    `exists` (n,) says which there are; the others' rows mean nothing. A window is the first `numbers[i, CLICKS]`
    columns of row i of `ts`, `items`, `events` and `codes` (n, r). `states` (n, width) are the encoder's, where
    `current` (n,) says that they are of the wanted version. A user's name stands in `text` at `users[i, 0]`,
    `users[i, 1]` bytes long.
    """

    exists: Flags
    numbers: Numbers
    ts: Numbers
    items: Keys
    events: Keys
    codes: Bytes
    states: NDArray[np.float32]
    models: Keys
    current: Flags
    incomplete: Flags
    text: Bytes
    users: Numbers

    @classmethod
    def of(
        cls, blobs: Sequence[bytes | None], text: bytes, *, room: int, width: int, version: int
    ) -> tuple[Self, Numbers]:
        """Read encoded sessions, None for one that there is not; returns them, and which are to be looked at one by
        one: the kernel is not sure that they can be read.

        `text` is kept behind the sessions' own bytes, for names of users to come. `room` is how many clicks a window
        may hold before any is let go; a stored one that holds more gets as much.
        """
        stored = [blob or b"" for blob in blobs]
        raw = np.frombuffer(b"".join((*stored, text)), np.uint8)
        lengths = np.fromiter(map(len, stored), np.int64, len(stored))
        begins = np.cumsum(lengths) - lengths
        shape = len(blobs), max(room, int(_widest(raw, begins, lengths))) + 1
        made = cls(
            exists=np.zeros(len(blobs), np.bool_),
            numbers=np.zeros((len(blobs), CLICKS + 1), np.int64),
            ts=np.empty(shape, np.int64),
            items=np.empty(shape, np.uint64),
            events=np.empty(shape, np.uint64),
            codes=np.empty(shape, np.uint8),
            states=np.zeros((len(blobs), width), np.float32),
            models=np.zeros(len(blobs), np.uint64),
            current=np.zeros(len(blobs), np.bool_),
            incomplete=np.zeros(len(blobs), np.bool_),
            text=raw,
            users=np.zeros((len(blobs), 2), np.int64),
        )
        odd = np.fromiter((blob is not None for blob in blobs), np.bool_, len(blobs))
        _read(
            raw,
            begins,
            lengths,
            version,
            made.exists,
            made.numbers,
            made.ts,
            made.items,
            made.events,
            made.codes,
            made.states.view(np.uint8),
            made.models,
            made.current,
            made.incomplete,
            made.users,
            odd,
        )
        return made, np.flatnonzero(odd)

    def encoded(self, rows: Numbers) -> list[bytes]:
        """Return the bytes of some sessions, as `encode_session` makes them; all have `states` of this width."""
        sizes = _HEADER + _CLICK * self.numbers[rows, CLICKS] + 4 * self.states.shape[1] + self.users[rows, 1]
        ends = np.cumsum(sizes)
        begins = ends - sizes
        out = np.empty(int(ends[-1]) if len(rows) else 0, np.uint8)
        _write(
            rows,
            begins,
            self.numbers,
            self.ts,
            self.items,
            self.events,
            self.codes,
            self.states.view(np.uint8),
            self.models,
            self.incomplete,
            self.text,
            self.users,
            out,
        )
        whole = out.tobytes()
        return [whole[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


@kernel(reads("u1"), reads("i8"), reads("i8"))
def _widest(raw: Bytes, begins: Numbers, lengths: Numbers) -> np.int64:
    """Return how many clicks the largest window holds; a session that is too short for its clicks does not count."""
    widest = np.int64(0)
    for i in range(begins.shape[0]):
        if lengths[i] >= _HEADER:
            clicks = np.int64(number_at(raw, begins[i] + 2, 2))
            if _HEADER + _CLICK * clicks <= lengths[i]:
                widest = max(widest, clicks)
    return widest


@kernel(
    *(reads("u1"), reads("i8"), reads("i8"), "u8", writes("b1"), writes("i8", 2), writes("i8", 2), writes("u8", 2)),
    *(writes("u8", 2), writes("u1", 2), writes("u1", 2), writes("u8"), writes("b1"), writes("b1"), writes("i8", 2)),
    writes("b1"),
)
def _read(
    raw: Bytes,
    begins: Numbers,
    lengths: Numbers,
    version: int,
    exists: Flags,
    numbers: Numbers,
    ts: Numbers,
    items: Keys,
    events: Keys,
    codes: Bytes,
    states: Bytes,
    models: Keys,
    current: Flags,
    incomplete: Flags,
    users: Numbers,
    odd: Flags,
) -> None:
    """Read sessions; of those that are there, those stay `odd` which may not be such as `expect_session` expects."""
    for i in range(begins.shape[0]):
        at, end = begins[i], begins[i] + lengths[i]
        if end - at < _HEADER or raw[at] != _CODEC:
            continue
        clicks, dim = np.int64(number_at(raw, at + 2, 2)), np.int64(number_at(raw, at + 4, 2))
        floats = at + _HEADER + _CLICK * clicks
        user = floats + 4 * dim
        if user > end:
            continue
        exists[i], incomplete[i] = True, (raw[at + 1] & _INCOMPLETE) != 0
        numbers[i, STARTED] = np.int64(number_at(raw, at + 6, 8))
        numbers[i, LAST] = np.int64(number_at(raw, at + 14, 8))
        numbers[i, EVENTS] = np.int64(number_at(raw, at + 22, 4))
        numbers[i, OFFSET] = np.int64(number_at(raw, at + 26, 8))
        numbers[i, CLICKS] = clicks
        models[i] = number_at(raw, at + 34, 8)
        users[i, 0], users[i, 1] = user, end - user
        for j in range(clicks):
            click = at + _HEADER + _CLICK * j
            ts[i, j] = np.int64(number_at(raw, click, 8))
            items[i, j] = number_at(raw, click + 8, 8)
            events[i, j] = number_at(raw, click + 16, 8)
            codes[i, j] = raw[click + 24]
        if 4 * dim == states.shape[1] and models[i] == np.uint64(version):
            current[i] = True
            for j in range(4 * dim):
                states[i, j] = raw[floats + j]
        odd[i] = _is_odd(numbers[i], ts[i]) or _has_odd_bytes(raw, floats, user, end)


@inlined
def _is_odd(numbers: Numbers, ts: Numbers) -> bool:
    """Tell whether a session's times or counts cannot be."""
    if numbers[STARTED] < 0 or numbers[LAST] < numbers[STARTED] or numbers[LAST] > _LAST_MS:
        return True
    if numbers[EVENTS] < numbers[CLICKS] or numbers[EVENTS] >= 2**31:
        return True
    odd = 0
    for j in range(numbers[CLICKS]):
        odd += ts[j] < 0 or ts[j] > numbers[LAST]
    return odd > 0


@inlined
def _has_odd_bytes(raw: Bytes, floats: int, user: int, end: int) -> bool:
    """Tell whether a float32 is not finite, its exponent all ones, or the user's name not plain ASCII."""
    odd = 0
    for at in range(floats, user, 4):
        odd += raw[at + 3] & 127 == 127 and raw[at + 2] & 128 == 128
    for at in range(user, end):
        odd += raw[at] > 127
    return odd > 0


@kernel(
    *(reads("i8"), reads("i8"), reads("i8", 2), reads("i8", 2), reads("u8", 2), reads("u8", 2), reads("u1", 2)),
    *(reads("u1", 2), reads("u8"), reads("b1"), reads("u1"), reads("i8", 2), writes("u1")),
)
def _write(
    rows: Numbers,
    begins: Numbers,
    numbers: Numbers,
    ts: Numbers,
    items: Keys,
    events: Keys,
    codes: Bytes,
    states: Bytes,
    models: Keys,
    incomplete: Flags,
    text: Bytes,
    users: Numbers,
    out: Bytes,
) -> None:
    """Write sessions one behind the other."""
    for place in range(rows.shape[0]):
        i, at = rows[place], begins[place]
        clicks = numbers[i, CLICKS]
        out[at] = _CODEC
        out[at + 1] = _INCOMPLETE if incomplete[i] else 0
        put_number(out, at + 2, 2, clicks)
        put_number(out, at + 4, 2, states.shape[1] // 4)
        put_number(out, at + 6, 8, numbers[i, STARTED])
        put_number(out, at + 14, 8, numbers[i, LAST])
        put_number(out, at + 22, 4, numbers[i, EVENTS])
        put_number(out, at + 26, 8, numbers[i, OFFSET])
        put_number(out, at + 34, 8, models[i])
        at += _HEADER
        for j in range(clicks):
            put_number(out, at, 8, ts[i, j])
            put_number(out, at + 8, 8, items[i, j])
            put_number(out, at + 16, 8, events[i, j])
            out[at + 24] = codes[i, j]
            at += _CLICK
        for j in range(states.shape[1]):
            out[at + j] = states[i, j]
        at += states.shape[1]
        for j in range(users[i, 1]):
            out[at + j] = text[users[i, 0] + j]
