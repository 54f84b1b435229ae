"""Keys: what they may open, how they change, and that nothing which is kept opens anything."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest

from contracts.addresses import host_name, is_loopback, origin_of
from contracts.api_keys import (
    KEY_LENGTH,
    KEY_TEXT,
    MOST_KEYS,
    MOST_REVOKED,
    ApiKey,
    Made,
    Scope,
    decode_key,
    encode_key,
    key_named,
    new_key,
    revoked,
    rotated,
    with_key,
)
from contracts.errors import KeyRefused
from contracts.masked import masked

HOUR = 3_600_000


def counting() -> Iterator[int]:
    yield from range(1, 1000)


def secret(name: str = "shop", *scopes: str, now_ms: int = 0) -> Made:
    return new_key(name, scopes or ("catalogue",), public=False, now_ms=now_ms)


def test_a_key_is_a_text_of_its_kind_and_id_and_only_its_hash_is_kept() -> None:
    numbers = counting()
    made = new_key(
        "shop", ["catalogue", "events"], public=False, now_ms=7, random=lambda n: f"{next(numbers):0{2 * n}x}"
    )
    assert made.text == "ncs_0000000000000001_000000000000000000000000000000000000000000000002"
    assert (len(made.text), KEY_TEXT.fullmatch(made.text) is not None) == (KEY_LENGTH, True)
    assert (made.key.id, made.key.scopes) == ("0000000000000001", (Scope.EVENTS, Scope.CATALOGUE))
    [held] = made.key.secrets
    assert (held.sha256, held.until_ms) == (sha256(made.text.encode()).hexdigest(), None)
    assert made.text[21:].encode() not in encode_key(made.key)
    assert decode_key(encode_key(made.key)) == made.key


def test_no_two_keys_are_alike() -> None:
    texts = {secret().text for _ in range(100)}
    assert len(texts) == 100


@pytest.mark.parametrize(
    ("public", "scopes", "origins", "said"),
    [
        (False, [], [], "among events, recommend, catalogue, admin, got none"),
        (False, ["write"], [], "got write"),
        (True, ["events", "catalogue"], ["https://a.example"], "public key among events, recommend, got catalogue"),
        (True, ["admin"], ["https://a.example"], "got admin"),
        (True, ["events"], [], "--origin"),
        (False, ["events"], ["https://a.example"], "a secret key is for no page"),
        (True, ["events"], ["*"], "expected an origin"),
        (True, ["events"], ["https://*.example"], "expected an origin"),
        (True, ["events"], ["https://a.example/path"], "expected an origin"),
        (True, ["events"], ["null"], "expected an origin"),
        (True, ["events"], ["https://u:p@a.example"], "expected an origin"),
        (True, ["events"], ["https://a.example"] * 51, "at most 50 origins"),
    ],
)
def test_what_no_key_can_be_is_refused(public: bool, scopes: list[str], origins: list[str], said: str) -> None:
    with pytest.raises(KeyRefused) as refused:
        new_key("shop", scopes, origins, public=public, now_ms=0)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb", "a\x1b[31mb"])
def test_a_key_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(KeyRefused, match="name"):
        secret(name)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(given: str, origin: str) -> None:
    assert origin_of(given) == origin


def test_a_rotated_key_keeps_its_id_and_the_secret_of_before_for_the_overlap() -> None:
    first = secret(now_ms=0)
    second = rotated(first.key, HOUR, now_ms=1000)
    assert second.text != first.text
    assert (second.key.id, second.key.name, second.key.scopes) == (first.key.id, first.key.name, first.key.scopes)
    assert [held.until_ms for held in second.key.secrets] == [None, HOUR + 1000]
    assert (second.key.overlaps_until(1000), second.key.overlaps_until(HOUR + 1000)) == (HOUR + 1000, None)


def test_a_second_rotation_makes_no_secret_work_longer_than_it_was_to() -> None:
    key = rotated(rotated(secret().key, HOUR, now_ms=0).key, 5 * HOUR, now_ms=10).key
    assert [held.until_ms for held in key.secrets] == [None, 5 * HOUR + 10, HOUR]
    ended = rotated(key, 0, now_ms=20).key
    assert [held.until_ms for held in ended.secrets] == [None]


def test_secrets_of_before_are_bounded() -> None:
    key = secret().key
    for n in range(3):
        key = rotated(key, HOUR, now_ms=n).key
    with pytest.raises(KeyRefused, match="--overlap"):
        rotated(key, HOUR, now_ms=4)
    assert len(rotated(key, 0, now_ms=4).key.secrets) == 1


def test_a_revoked_key_holds_no_secret_and_is_not_rotated() -> None:
    key = revoked(secret().key, now_ms=5)
    assert (key.secrets, key.revoked_ms) == ((), 5)
    assert revoked(key, now_ms=9).revoked_ms == 5
    with pytest.raises(KeyRefused, match="revoked"):
        rotated(key, 0, now_ms=6)


def test_a_key_is_found_by_its_id_or_its_name_and_its_text_is_not_said_back() -> None:
    one, other, gone = secret("one"), secret("two"), secret("two")
    keys = [one.key, other.key, revoked(gone.key, now_ms=1)]
    assert key_named(keys, "one") == one.key
    assert key_named(keys, "two") == other.key
    assert key_named(keys, gone.key.id).revoked_ms == 1
    for name in ("three", one.text):
        with pytest.raises(KeyRefused) as refused:
            key_named(keys, name)
        assert one.text not in str(refused.value)
    with pytest.raises(KeyRefused, match="2 keys"):
        key_named([one.key, secret("one").key], "one")


def test_keys_are_bounded_and_the_oldest_revoked_are_forgotten() -> None:
    live = [secret().key] * MOST_KEYS
    with pytest.raises(KeyRefused, match="1000 keys"):
        with_key(live, secret().key)
    gone = [revoked(secret().key, now_ms=n + 1) for n in range(MOST_REVOKED + 2)]
    assert with_key([*reversed(gone), *live[1:]], secret().key) == gone[:2]
    assert with_key(gone[2:], secret().key) == []


@pytest.mark.parametrize("row", [b"", b"{}", b"[]", b"null", b'{"id":"x"}', b"\xff"])
def test_what_is_no_key_is_a_value_error_that_shows_nothing(row: bytes) -> None:
    with pytest.raises(ValueError, match="expected an API key"):
        decode_key(row)


def test_a_key_of_an_unknown_scope_is_none() -> None:
    row = encode_key(secret().key).replace(b'"catalogue"', b'"everything"')
    with pytest.raises(ValueError, match="expected an API key"):
        decode_key(row)


def test_the_secret_of_a_key_is_masked_wherever_it_stands() -> None:
    text = secret().text
    shown = masked(f"Authorization: Bearer {text} and http://h/api/events?key={text}&x=1")
    assert text[21:] not in shown
    assert "x=1" in shown
    assert masked(f"key {text}.") == f"key {text[:20]}_***."


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost:8080", "localhost"), ("[::1]:80", "::1"), ("Shop.Example", "shop.example"), ("", ""), ("[::1", "::1")],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("address", "own"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LOCALHOST", True)),
        *(("shop.localhost", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False)),
        *(("10.0.0.1", False), ("localhost.evil.example", False), ("127.0.0.1.nip.io", False), ("notlocalhost", False)),
    ],
)
def test_only_localhost_and_loopback_addresses_are_the_machine_itself(address: str, own: bool) -> None:
    assert is_loopback(address) is own


def test_keys_are_values() -> None:
    key = secret().key
    with pytest.raises(ValueError, match="frozen"):
        key.name = "other"  # type: ignore[misc]
    assert isinstance(key, ApiKey)
