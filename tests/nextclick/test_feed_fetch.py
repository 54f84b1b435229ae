"""Whatever the other end does, fetching a feed ends: within its bytes, its time and its redirects."""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from connect.feeds.rows import FeedBroken
from nextclick.stack.feeds.fetch import Limits, Seen, open_file, open_url
from nextclick.stack.feeds.reach import address_of, is_public
from tests.nextclick.feed_shop import Shop, body, moved, shop

LIMITS = Limits(most_bytes=100_000, most_s=30.0, wait_s=20.0, redirects=3)
NOTHING = Seen()
FEED = b"id,title\n1,a\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Shop]:
    with shop() as found:
        yield found


def fetch(
    url: str,
    limits: Limits = LIMITS,
    *,
    seen: Seen = NOTHING,
    private: bool = True,
    headers: dict[str, str] | None = None,
    origin: str = "",
) -> bytes | Seen:
    """Return a page's content, or what was seen of it where it is unchanged."""
    opened = open_url(url, seen, limits, private=private, headers=headers or {}, origin=origin or url)
    with opened as page:
        return page.seen if page.unchanged else b"".join(page.chunks)


def test_a_feed_comes_whole_as_it_is_and_in_gzip(server: Shop) -> None:
    server.pages["/plain"] = body(FEED)
    server.pages["/coded"] = body(gzip.compress(FEED), Content_Encoding="gzip")
    server.pages["/feed.csv.gz"] = body(gzip.compress(FEED[:5]) + gzip.compress(FEED[5:]))
    server.pages["/twice"] = body(gzip.compress(gzip.compress(FEED)), Content_Encoding="gzip")
    assert [fetch(server.url(path)) for path in ("/plain", "/coded", "/feed.csv.gz", "/twice")] == [FEED] * 4


def test_what_was_seen_is_said_and_an_unchanged_feed_is_not_sent_again(server: Shop) -> None:
    server.pages["/unchanged"] = body(b"", 304)
    fetch(server.url("/unchanged"), seen=Seen('"v1"', "Sat, 28 Feb 2026 10:00:00 GMT"))
    asked = server.asked[-1][1]
    assert asked["if-none-match"] == '"v1"'
    assert asked["if-modified-since"] == "Sat, 28 Feb 2026 10:00:00 GMT"


def test_redirects_are_followed_as_far_as_allowed_and_never_out_of_http(server: Shop) -> None:
    server.pages.update({"/a": moved("/b"), "/b": moved("/c", 308), "/c": body(FEED)})
    assert fetch(server.url("/a")) == FEED
    server.pages["/round"] = moved("/round")
    with pytest.raises(FeedBroken, match="at most 3 redirects"):
        fetch(server.url("/round"))
    for where in ("file:///etc/passwd", "gopher://x/", "ftp://127.0.0.1/x", "http://[bad", ""):
        server.pages["/out"] = moved(where)
        with pytest.raises(FeedBroken, match=r"address of http|redirects"):
            fetch(server.url("/out"))


def test_what_opens_a_feed_goes_to_its_own_origin_alone(server: Shop) -> None:
    with shop() as other:
        other.pages["/there"] = body(FEED)
        server.pages["/here"] = moved(other.url("/there"))
        url = f"http://me:s3%40cret@127.0.0.1:{server.port}/here"
        assert fetch(url, headers={"X-Token": "s3cret"}) == FEED
        assert server.asked[-1][1]["x-token"] == "s3cret"
        assert server.asked[-1][1]["authorization"] == "Basic bWU6czNAY3JldA=="
        assert not {"x-token", "authorization"} & set(other.asked[-1][1])


def test_a_feed_that_is_not_there_is_said_without_what_opens_it(server: Shop) -> None:
    with pytest.raises(FeedBroken) as refused:
        fetch(f"http://me:s3cret@127.0.0.1:{server.port}/gone?consumer_secret=s3cret&a=b")
    assert (
        str(refused.value)
        == f"expected 200 from http://***@127.0.0.1:{server.port}/gone?consumer_secret=***&a=b, got 404 Not Found"
    )


def cut(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(FEED)
    request.close_connection = True


def cut_chunk(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"5\r\nid,ti\r\n")
    request.close_connection = True


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(FEED * 500)


def dripping(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x")
        time.sleep(0.02)


def silent(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.flush()
    request.rfile.read(1)  # until whoever asked has gone


BOMB = zlib.compress(b"\0" * 50_000_000, 9, 31)


@pytest.mark.parametrize(
    ("page", "limits", "why"),
    [
        (cut, LIMITS, "expected 1,000 bytes, got 13: the feed is cut off"),
        (cut_chunk, LIMITS, "IncompleteRead"),
        (endless, LIMITS, "at most 100,000 bytes"),
        (dripping, Limits(100_000, 0.3, 20.0, 3), "within 0.3 s"),
        (silent, Limits(100_000, 0.3, 20.0, 3), "within 0.3 s"),
        (silent, Limits(100_000, 60.0, 0.2, 3), "within 0.2 s"),
        (body(BOMB), LIMITS, "at most 100,000 bytes"),
        (body(BOMB, Content_Encoding="gzip"), LIMITS, "at most 100,000 bytes"),
        (body(gzip.compress(FEED)[:-3]), LIMITS, "cut off"),
        (body(b"\x1f\x8bnot gzip at all"), LIMITS, "expected gzip"),
        (body(b"PK\x03\x04zip"), LIMITS, "zip archive"),
        (body(FEED, Content_Encoding="br"), LIMITS, "Content-Encoding 'br'"),
        (body(FEED, **{f"X-{n}": "x" for n in range(200)}), LIMITS, "more than 100 headers"),
        (body(b"gone", 500), LIMITS, "got 500"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_feed_that_never_ends_is_cut_off_or_swells_is_refused(
    server: Shop, page: object, limits: Limits, why: str
) -> None:
    server.pages["/odd"] = page  # type: ignore[assignment]
    with pytest.raises(FeedBroken, match=why):
        fetch(server.url("/odd"), limits)


def test_nothing_that_listens_is_said_too() -> None:
    with shop() as gone:
        pass
    with pytest.raises(FeedBroken, match="refused"):
        fetch(gone.url("/x"))


def test_a_public_feed_never_leads_into_a_private_network(server: Shop) -> None:
    server.pages["/secret"] = body(FEED)
    with pytest.raises(FeedBroken, match=r"expected a public address, got 127\.0\.0\.1"):
        fetch(server.url("/secret"), private=False)
    with pytest.raises(FeedBroken, match="expected a public address, got localhost"):
        fetch(server.url("/secret", "localhost"), private=False)
    assert server.asked[-1][0] != "/secret"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1", "255.255.255.255"),
    ],
)
def test_private_addresses_are_known_in_every_form(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_let_through_and_the_first_of_a_name_is_taken() -> None:
    assert all(map(is_public, ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14")))
    mixed = ["10.0.0.1", "93.184.215.14"]
    assert address_of("shop.example", 443, private=False, resolve=lambda *_: mixed) == "93.184.215.14"
    assert address_of("shop.example", 443, private=True, resolve=lambda *_: mixed) == "10.0.0.1"


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(FEED)
    with open_file(path, Seen(), LIMITS) as page:
        assert b"".join(page.chunks) == FEED
        seen = page.seen
    with open_file(path, seen, LIMITS) as page:
        assert page.unchanged
    with pytest.raises(FeedBroken, match="expected a file"), open_file(tmp_path, Seen(), LIMITS):
        pass


def test_a_file_that_is_written_while_it_is_read_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(FEED)
    with open_file(path, Seen(), LIMITS) as page, path.open("ab") as writer:
        writer.write(b"more")
        writer.flush()
        with pytest.raises(FeedBroken, match="being written: write it aside and rename it"):
            b"".join(page.chunks)
    with open_file(path, Seen(), LIMITS) as page:
        aside = tmp_path / "aside"
        aside.write_bytes(b"another")
        aside.rename(path)  # who replaces it harms nobody: the old one is read to its end
        assert b"".join(page.chunks) == FEED + b"more"


def test_a_pipe_in_a_files_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "feed.csv")
    with pytest.raises(FeedBroken, match="expected a file"), open_file(tmp_path / "feed.csv", Seen(), LIMITS):
        pass
