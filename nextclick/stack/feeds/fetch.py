"""Fetches a feed: a file, or pages over HTTP. Everything about the other end is bounded: size, time, redirects."""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import ssl
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from connect.feeds.rows import FeedBroken
from contracts.masked import masked
from nextclick.stack.feeds.inflate import bounded, inflated
from nextclick.stack.feeds.reach import address_of

_CHUNK: Final = 1 << 16
_PORTS: Final = {"http": 80, "https": 443}
_MOVED: Final = (301, 302, 303, 307, 308)
_NEXT: Final = re.compile(r'<([^<>]{1,4000})>[^,<>]{0,400};\s*rel="?next"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    most_bytes: int
    most_s: float
    wait_s: float
    redirects: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server said of what it sent; sent back to it, it says whether that has changed."""

    etag: str = ""
    modified: str = ""


@dataclass(slots=True)
class Page:
    """One answer. Read `chunks` to their end; `unchanged`: none, it is what was seen. Mutable: `size` grows."""

    seen: Seen
    next_url: str | None = None
    unchanged: bool = False
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    size: int = 0

    def count(self, size: int) -> None:
        self.size += size


@contextmanager
def open_file(path: Path, seen: Seen, limits: Limits) -> Iterator[Page]:
    """Open a feed that is a file. Raises FeedBroken for what is none."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would wait for its writer
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise FeedBroken(f"{path}: expected a file")
            now = _seen_of(about)
            page = Page(now, unchanged=now == seen)
            page.chunks = inflated(bounded(_file(file, path, now), limits.most_bytes, page.count), limits.most_bytes)
            yield page
    except OSError as error:
        raise FeedBroken(f"{path}: expected a file that can be read, got {error.strerror or error}") from error


def _seen_of(about: os.stat_result) -> Seen:
    return Seen(f"{about.st_mtime_ns}-{about.st_size}")


def _file(file: IO[bytes], path: Path, seen: Seen) -> Iterator[bytes]:
    """Yield a file. Raises FeedBroken where it was written to meanwhile: half of it may be the new one."""
    while chunk := file.read(_CHUNK):
        yield chunk
    if _seen_of(os.fstat(file.fileno())) != seen:
        raise FeedBroken(f"{path}: expected a whole file, got one that is being written: write it aside and rename it")


@contextmanager
def open_url(
    url: str, seen: Seen, limits: Limits, *, private: bool, headers: Mapping[str, str], origin: str
) -> Iterator[Page]:
    """Ask for a page. `headers`, and a user in `origin`, are what opens the feed: they go to that origin alone.

    Raises FeedBroken where it does not come: whatever the other end does.
    """
    socks: list[socket.socket] = []
    over = threading.Event()

    def stop() -> None:
        over.set()
        for sock in socks:
            _shut(sock)

    timer = threading.Timer(limits.most_s, stop)
    timer.daemon = True
    timer.start()
    connection: http.client.HTTPConnection | None = None
    try:
        ask = _Ask(limits, private, dict(headers), urlsplit(origin), socks)
        connection, answer, at = ask.follow(url, seen)
        yield _page_of(answer, at, limits, over)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        if over.is_set():
            raise _too_slow(limits) from error
        if isinstance(error, TimeoutError):
            raise FeedBroken(
                f"expected more of the feed within {limits.wait_s:g} s (feeds.wait), got nothing"
            ) from error
        raise FeedBroken(f"expected a feed at {masked(url)}, got {masked(str(error) or repr(error))}") from error
    finally:
        timer.cancel()
        if connection is not None:
            connection.close()


@dataclass(slots=True)
class _Ask:
    """Asks, and follows redirects."""

    limits: Limits
    private: bool
    headers: dict[str, str]
    origin: SplitResult
    socks: list[socket.socket]

    def follow(self, url: str, seen: Seen) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, str]:
        for _ in range(self.limits.redirects + 1):
            connection, answer = self._asked(url, seen)
            if answer.status not in _MOVED:
                return connection, answer, url
            where = answer.getheader("Location", "")
            connection.close()
            moved = _joined(url, where)
            if urlsplit(url).scheme == "https" and urlsplit(moved).scheme == "http":
                raise FeedBroken("expected a redirect that stays with https, got one to http")
            url = moved
        raise FeedBroken(f"expected at most {self.limits.redirects} redirects (feeds.redirects), got more")

    def _asked(self, url: str, seen: Seen) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = split_url(url)
        port = parts.port or _PORTS[parts.scheme]
        host = parts.hostname or ""
        address = address_of(host, port, private=self.private)
        connection = _connection(parts.scheme, host, port, address, self.limits.wait_s)
        try:
            connection.connect()
            self.socks.append(connection.sock)
            target = quote(parts.path or "/", safe="%/:=&~+!$,;'@()*") + (
                f"?{_query(parts.query)}" if parts.query else ""
            )
            connection.request("GET", target, headers=self._headers(parts, seen))
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _headers(self, parts: SplitResult, seen: Seen) -> dict[str, str]:
        headers = {"User-Agent": "nextclick-feed", "Accept": "*/*", "Accept-Encoding": "gzip"}
        if seen.etag:
            headers["If-None-Match"] = seen.etag
        if seen.modified:
            headers["If-Modified-Since"] = seen.modified
        if not same_origin(parts, self.origin):
            return headers
        if self.origin.username is not None:
            user = f"{unquote(self.origin.username)}:{unquote(self.origin.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        return {**headers, **self.headers}


def split_url(url: str) -> SplitResult:
    """Return the parts of an address. Raises FeedBroken for one that is not of http or https."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FeedBroken(f"expected an address of http or https, got {masked(url)[:200]!r}: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise FeedBroken(f"expected an address of http or https, got {masked(url)[:200]!r}")
    return parts


def _joined(url: str, where: str) -> str:
    try:
        return urljoin(url, where)
    except ValueError as error:
        raise FeedBroken(f"expected a redirect to an address of http or https, got {where[:200]!r}") from error


def same_origin(one: SplitResult, other: SplitResult) -> bool:
    """Tell whether two addresses are of one origin; https of a host is also told what opens its http."""
    ports = [part.port or _PORTS.get(part.scheme, 0) for part in (one, other)]
    return (one.scheme, one.hostname, ports[0]) == (other.scheme, other.hostname, ports[1])


def next_in(header: str) -> str | None:
    """Return the next page that a Link header names (RFC 8288)."""
    found = _NEXT.search(header[:8000])
    return found[1] if found else None


def _page_of(answer: http.client.HTTPResponse, url: str, limits: Limits, over: threading.Event) -> Page:
    if answer.status == 304:
        return Page(Seen(), unchanged=True)
    if answer.status != 200:
        raise FeedBroken(f"expected 200 from {masked(url)}, got {answer.status} {answer.reason}")
    coding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise FeedBroken(f"expected a feed as it is or in gzip, got Content-Encoding {coding[:40]!r}")
    page = Page(Seen(answer.getheader("ETag", ""), answer.getheader("Last-Modified", "")))
    page.next_url = next_in(answer.getheader("Link", ""))
    page.chunks = inflated(bounded(_body(answer, limits, over), limits.most_bytes, page.count), limits.most_bytes)
    return page


def _body(answer: http.client.HTTPResponse, limits: Limits, over: threading.Event) -> Iterator[bytes]:
    """Yield a body as it comes, a socket's read at a time. Raises FeedBroken where it ends before its length, and when
    the time is over: what was shut then would look like an end.
    """
    length, size = answer.length, 0
    while chunk := answer.read1(_CHUNK):
        size += len(chunk)
        yield chunk
        if over.is_set():
            break
    if over.is_set():
        raise _too_slow(limits)
    if length is not None and size < length:
        raise FeedBroken(f"expected {length:,} bytes, got {size:,}: the feed is cut off")


def _connection(scheme: str, host: str, port: int, address: str, wait_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return _PinnedTls(host, port, address, wait_s)
    return _Pinned(host, port, address, wait_s)


class _Pinned(http.client.HTTPConnection):
    """Connects to the address that was looked at, whatever the name means by now."""

    def __init__(self, host: str, port: int, address: str, wait_s: float) -> None:
        super().__init__(host, port, timeout=wait_s)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedTls(http.client.HTTPSConnection):
    """The same, and the certificate must be of the name."""

    def __init__(self, host: str, port: int, address: str, wait_s: float) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, port, timeout=wait_s, context=self._tls)
        self._address = address

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise


def _too_slow(limits: Limits) -> FeedBroken:
    return FeedBroken(f"expected the whole feed within {limits.most_s:g} s (feeds.most_time), it was not over by then")


def _query(query: str) -> str:
    return quote(query, safe="%/:=&~+!$,;'@()*?[]")


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed
        return
