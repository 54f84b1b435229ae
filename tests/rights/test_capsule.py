"""Sessions that clients keep."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.sessions import CLICK, Session
from rights.capsule import MOST_CHARACTERS, MOST_STATE, Ring, decode_capsule, encode_capsule, ring_of

GAP_MS = 30 * 60 * 1000
KEY, OTHER = b"k" * 32, b"o" * 32
RING = ring_of("nc", KEY)


def session(clicks: int = 3, *, last_ms: int = 1_000_000, width: int = 4) -> Session:
    window = np.array([(last_ms - clicks + 1 + at, 7 * at + 1, 9 * at + 1, at % 3 + 1) for at in range(clicks)], CLICK)
    state = np.arange(width, dtype=np.float32)
    return Session("s-1", "u-1", last_ms - clicks + 1, last_ms, clicks + 5, 17, window, state, 99, True)


def opened(ring: Ring, text: str, now_ms: int = 1_000_000) -> Session | None:
    return decode_capsule(ring, text, "s-2", now_ms=now_ms, idle_gap_ms=GAP_MS)


@given(clicks=st.integers(1, 79), width=st.integers(0, MOST_STATE))
def test_a_session_comes_back_with_its_clicks_and_its_state_without_a_user(clicks: int, width: int) -> None:
    before = session(clicks, width=width)
    text = encode_capsule(RING, before)
    assert len(text) <= MOST_CHARACTERS
    after = opened(RING, text)
    assert after is not None
    assert after.window.tolist() == before.window.tolist()
    assert (after.session_id, after.user_id) == ("s-2", None)
    assert (after.started_ms, after.last_ms, after.events) == (before.started_ms, before.last_ms, before.events)
    assert after.embedding.tolist() == before.embedding.tolist()
    assert (after.last_offset, after.model_version, after.incomplete) == (-1, 99, True)


@pytest.mark.parametrize(("width", "clicks", "characters"), [(64, 109, 4066), (256, 79, 4090), (0, 120, 4091)])
def test_of_a_long_window_the_newest_clicks_fit(width: int, clicks: int, characters: int) -> None:
    text = encode_capsule(RING, session(500, width=width))
    after = opened(RING, text)
    assert after is not None
    assert after.window.tolist() == session(500).window[-clicks:].tolist()
    assert (after.events, len(after.embedding)) == (505, width)
    assert len(text) == characters


def test_a_state_that_has_no_room_is_left_out_and_encoded_again() -> None:
    after = opened(RING, encode_capsule(RING, session(3, width=MOST_STATE + 1)))
    assert after is not None
    assert (len(after.embedding), after.model_version, len(after.window)) == (0, 0, 3)


def test_nothing_is_an_empty_capsule() -> None:
    assert encode_capsule(RING, None) == ""
    assert opened(RING, "") is None


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_capsule_that_was_changed_anywhere_is_refused(at: int, bit: int) -> None:
    text = encode_capsule(RING, session(3))
    raw = bytearray(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[at % len(raw)] ^= 1 << bit
    changed = urlsafe_b64encode(raw).rstrip(b"=").decode()
    try:
        found = opened(RING, changed)
    except ValueError:
        return
    assert found is None  # a key that is not there, of a time long over


@given(text=st.text(max_size=200))
def test_no_text_is_taken_for_a_capsule(text: str) -> None:
    if text:
        with pytest.raises(ValueError, match='ask with `"capsule": ""` to begin anew'):
            opened(RING, text)


def test_a_capsule_that_is_over_is_no_session() -> None:
    text = encode_capsule(RING, session(last_ms=1_000_000))
    assert opened(RING, text, 1_000_000 + GAP_MS) is not None
    assert opened(RING, text, 1_000_001 + GAP_MS) is None


def test_the_key_before_is_still_taken_and_one_before_that_is_not() -> None:
    text = encode_capsule(RING, session())
    assert opened(ring_of("nc", OTHER, KEY), text) is not None
    with pytest.raises(ValueError, match="expected a capsule of this deployment, got one with a key that is not there"):
        opened(ring_of("nc", OTHER), text)
    assert opened(ring_of("nc", OTHER), text, 1_000_001 + GAP_MS) is None


def test_a_new_capsule_is_signed_with_the_new_key() -> None:
    text = encode_capsule(ring_of("nc", OTHER, KEY), session())
    assert opened(ring_of("nc", OTHER), text) is not None


def test_another_deployment_with_the_same_key_takes_no_capsule() -> None:
    text = encode_capsule(RING, session())
    with pytest.raises(ValueError, match="expected a capsule of this deployment"):
        opened(ring_of("staging", KEY), text)


def test_a_capsule_of_a_later_version_is_named() -> None:
    text = encode_capsule(RING, session())
    raw = bytearray(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[0] = 2
    with pytest.raises(ValueError, match="expected a capsule of version 1, got 2"):
        opened(RING, urlsafe_b64encode(raw).rstrip(b"=").decode())
