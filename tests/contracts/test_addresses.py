"""Addresses of HTTP services as people write them."""

from __future__ import annotations

import pytest

from contracts.addresses import HttpAddress
from contracts.errors import SettingsError


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://127.0.0.1:8080", HttpAddress("http", "127.0.0.1", 8080)),
        ("localhost:18300", HttpAddress("http", "localhost", 18300)),
        ("localhost:18300/", HttpAddress("http", "localhost", 18300)),
        ("//localhost:18300", HttpAddress("http", "localhost", 18300)),
        ("shop.example", HttpAddress("http", "shop.example", 80)),
        ("shop.example/api/v1/", HttpAddress("http", "shop.example", 80, "/api/v1")),
        ("https://shop.example", HttpAddress("https", "shop.example", 443)),
        ("HTTPS://shop.example:8443/x", HttpAddress("https", "shop.example", 8443, "/x")),
        (" http://[::1]:8080 ", HttpAddress("http", "::1", 8080)),
        ("[::1]:8080", HttpAddress("http", "::1", 8080)),
    ],
)
def test_an_address_is_read_with_or_without_its_scheme(written: str, address: HttpAddress) -> None:
    assert HttpAddress.of(written) == address


@pytest.mark.parametrize(
    ("address", "authority", "url"),
    [
        (HttpAddress("http", "a", 80), "a", "http://a"),
        (HttpAddress("http", "a", 443), "a:443", "http://a:443"),
        (HttpAddress("https", "a", 443, "/x"), "a", "https://a/x"),
        (HttpAddress("http", "::1", 8080), "[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_written_as_a_url_and_as_a_host_header(address: HttpAddress, authority: str, url: str) -> None:
    assert (address.authority, address.url) == (authority, url)


@pytest.mark.parametrize(
    "written",
    ["", "18300", ":18300", "ftp://a", "redis://a:1", "http://", "http://a:b", "http://a:99999", "http://a:0",
     "http://[::1", "http://a?x=1", "http://a b", "http://a#x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_one_line(written: str) -> None:
    with pytest.raises(SettingsError, match=r"expected a URL such as http://127\.0\.0\.1:8080, got ") as refused:
        HttpAddress.of(written)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("written", ["http://ann:secret@a", "ann:secret@a:80", "https://ann:sec/ret@a"])
def test_a_password_in_an_address_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(SettingsError) as refused:
        HttpAddress.of(written)
    assert "sec" not in str(refused.value)
