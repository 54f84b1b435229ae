"""A feed from what was typed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from connect.feeds.formats import FeedFormat
from connect.feeds.rows import FeedBroken
from nextclick.stack.feeds.definition import NAME, SHORTEST, Feed, FeedError
from nextclick.stack.feeds.fetch import split_url
from nextclick.stack.feeds.reach import Resolve, is_public, resolved

_SPAN: Final = TypeAdapter(timedelta)
_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}):\s*([\x20-\x7e]{1,4000})")
_OURS: Final = frozenset(("host", "connection", "content-length", "transfer-encoding", "accept-encoding", "range"))


def feed_of(
    name: str,
    source: str,
    format: FeedFormat,
    every: str,
    headers: Sequence[str],
    *,
    id_field: str = "",
    decimal: str | None = None,
    currency: str | None = None,
    private: bool = False,
    resolve: Resolve = resolved,
) -> Feed:
    """Return a feed. One whose address is private now may stay in private networks; one that is public never may, nor
    may one whose name means nothing yet, unless `private` says so. Raises FeedError for what is none.
    """
    if not NAME.fullmatch(name):
        raise FeedError(f"expected a feed's name of small letters, digits, - and _, got {name!r:.80}")
    where = _place(source)
    try:
        return Feed(
            name=name,
            source=where,
            format=format,
            every_s=_every_s(every),
            private=private or ("://" in where and _is_private(where, resolve)),
            headers=dict(map(_header, filter(None, map(str.strip, headers)))),
            id_field=id_field,
            decimal=decimal,
            currency=currency,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise FeedError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _place(source: str) -> str:
    """Return an address, or a file's absolute path."""
    if "://" in source:
        try:
            split_url(source)
        except FeedBroken as error:
            raise FeedError(str(error)) from error
        return source
    path = Path(source).absolute()
    if not path.is_file():
        raise FeedError(f"expected an address (https://...) or a file, got {str(path)!r:.300}: no file is there")
    return str(path)


def _is_private(url: str, resolve: Resolve) -> bool:
    parts = split_url(url)
    try:
        found = resolve(parts.hostname or "", parts.port or 0)
    except (OSError, UnicodeError):
        return False
    return bool(found) and not any(map(is_public, found))


def _every_s(text: str) -> float:
    try:
        span = _SPAN.validate_python(text)
    except ValidationError as error:
        raise FeedError(f"--every: expected a period such as PT15M, PT1H or P1D, got {text!r:.40}") from error
    if span < SHORTEST:
        raise FeedError(f"--every: expected at least {SHORTEST.total_seconds():g} s, got {text!r:.40}")
    return span.total_seconds()


def _header(line: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    if found is None or found[1].lower() in _OURS:
        raise FeedError("--header: expected a header NAME:VALUE that is not one of the connection's own")
    return found[1], found[2].strip()
