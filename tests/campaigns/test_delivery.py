"""How calls are signed, named and tried again."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.delivery import (
    Again,
    Dead,
    Delivered,
    RetryRules,
    expect_allowed,
    fate_of,
    headers_of,
    idempotency_key,
    is_signed,
    origin_of,
    pause_s,
    retry_after_s,
    signature,
)

RULES = RetryRules(attempts=4, first_s=2.0, longest_s=10.0)
NOW_MS = 1_700_000_000_000
NOW_S = 1_700_000_000


def fate(attempt: int, status: int | None, retry_after: float | None = None, roll: float = 0.0) -> object:
    return fate_of(attempt, status, rules=RULES, now_ms=NOW_MS, roll=roll, retry_after_s=retry_after, fault="refused")


def test_a_call_that_was_taken_is_delivered() -> None:
    assert fate(1, 200) == Delivered()
    assert fate(4, 204) == Delivered()


def test_a_call_that_failed_comes_again_later_each_time() -> None:
    assert [fate(attempt, 500) for attempt in (1, 2, 3)] == [
        Again(NOW_MS + 1000, "answered 500"),
        Again(NOW_MS + 2000, "answered 500"),
        Again(NOW_MS + 4000, "answered 500"),
    ]
    assert fate(1, None) == Again(NOW_MS + 1000, "refused")


def test_the_last_attempt_ends_it_and_says_why() -> None:
    assert fate(4, 503) == Dead("answered 503, at attempt 4, the last")
    assert fate(4, None) == Dead("refused, at attempt 4, the last")


@pytest.mark.parametrize("status", [400, 410, 413, 422])
def test_a_body_that_will_never_be_taken_is_not_sent_again(status: int) -> None:
    assert fate(1, status) == Dead(f"answered {status}: this body will not be taken")


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 502])
def test_a_receiver_that_may_be_mended_is_asked_again(status: int) -> None:
    assert isinstance(fate(1, status), Again)


def test_a_redirect_is_not_followed() -> None:
    assert fate(1, 302) == Dead("answered 302: redirects are not followed; set the address that it leads to")


def test_a_receiver_that_asks_for_time_gets_it_within_bounds() -> None:
    assert fate(1, 429, retry_after=7) == Again(NOW_MS + 7000, "answered 429")
    assert fate(1, 429, retry_after=7000) == Again(NOW_MS + 10_000, "answered 429")
    assert fate(3, 429, retry_after=0) == Again(NOW_MS + 4000, "answered 429")


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_within_half_and_the_whole_of_what_is_allowed_then(attempt: int, roll: float) -> None:
    allowed = min(10.0, 2.0 * 2 ** min(attempt - 1, 10))
    assert allowed / 2 <= pause_s(attempt, RULES, roll) <= allowed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("١٢", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW_S) == seconds


@given(st.text())
def test_no_retry_after_ends_anybody(text: str) -> None:
    assert (retry_after_s(text, NOW_S) or 0.0) >= 0.0


def test_a_signature_is_what_anybody_can_compute() -> None:
    wanted = hmac.new(b"k-1", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature(b'{"a":1}', ["k-1"], NOW_S) == f"t=1700000000,v1={wanted}"


def test_a_signature_holds_for_each_secret_and_for_nothing_else() -> None:
    header = signature(b"body", ["new", "old"], NOW_S)
    assert is_signed(header, b"body", "new", NOW_S)
    assert is_signed(header, b"body", "old", NOW_S + 300)
    assert not is_signed(header, b"body", "other", NOW_S)
    assert not is_signed(header, b"bodY", "new", NOW_S)
    assert not is_signed(header, b"body", "new", NOW_S + 301)
    assert not is_signed(header.replace("t=1700000000", "t=1700000001"), b"body", "new", NOW_S)


@given(st.text())
def test_a_header_that_is_no_signature_signs_nothing(header: str) -> None:
    assert not is_signed(header, b"body", "secret", NOW_S)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_a_key_is_the_same_for_the_same_call_alone(one: list[str], other: list[str]) -> None:
    assert (idempotency_key(*one) == idempotency_key(*other)) == (one == other)


def test_a_key_does_not_change_between_releases() -> None:
    assert idempotency_key("back_in_stock", "shoe-1", "7") == "83341fcab44ae376d166d5fa766f9792"


def test_an_attempt_says_which_it_is_and_is_unsigned_without_a_secret() -> None:
    headers = headers_of(b"{}", "k", [], now_s=NOW_S, attempt=3)
    assert headers == {"Content-Type": "application/json", "Idempotency-Key": "k", "Nextclick-Attempt": "3"}
    assert headers_of(b"{}", "k", ["s"], now_s=NOW_S, attempt=1)["Nextclick-Signature"] == signature(
        b"{}", ["s"], NOW_S
    )


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Shop.example/hooks?a=1", "https://shop.example:443"),
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000"),
        ("https://[::1]:1/x", "https://[::1]:1"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["ftp://shop.example", "file:///etc/passwd", "https://", "shop.example", "https://a@b/", "https://a\\@b/"]
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        origin_of(url)


def test_only_allowed_origins_are_called() -> None:
    expect_allowed("https://shop.example/hooks", ["https://shop.example"])
    for other in ("https://shop.example:444/", "http://shop.example/", "https://shop.example.evil/", "https://evil/"):
        with pytest.raises(ValueError, match=r"add it to webhooks\.allow"):
            expect_allowed(other, ["https://shop.example"])
    with pytest.raises(ValueError, match=r"\(none\)"):
        expect_allowed("https://shop.example/", [])
