"""Which page of a feed comes next: APIs of shops give their products by pages."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from connect.feeds.formats import FeedFormat
from connect.feeds.rows import FeedBroken

MOST_PAGES: Final = 20_000
_LARGEST: Final = {"shopify": ("limit", "250"), "woocommerce": ("per_page", "100")}


def first_page(format: FeedFormat, source: str) -> str:
    """Return the address of the first page: with the largest page that the API gives,
    unless the source says how many.
    """
    parts = urlsplit(source)
    if not _has_pages(format, parts):
        return source
    name, value = _LARGEST[format]
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    return source if name in given else _with(parts, **{name: value})


def next_page(format: FeedFormat, url: str, link: str | None, read: int) -> str | None:
    """Return the page after `url`, which had `read` products or faults; None after the last.

    `link`: what the answer calls the next page. Shopify's storefront calls none: it ends with an empty page. Raises
    FeedBroken for a next page elsewhere: what opens the feed would be sent there.
    """
    parts = urlsplit(url)
    if link is not None:
        try:
            following = urlsplit(urljoin(url, link))
        except ValueError as error:
            raise FeedBroken(f"expected a next page's address, got {link[:200]!r}") from error
        if (following.scheme, following.netloc.rpartition("@")[2]) != (parts.scheme, parts.netloc.rpartition("@")[2]):
            raise FeedBroken(f"expected a next page of {parts.hostname}, got one of {following.hostname}")
        return urlunsplit(following._replace(netloc=parts.netloc))
    storefront = format is FeedFormat.SHOPIFY and _has_pages(format, parts) and "/admin/" not in parts.path
    if not storefront or not read:
        return None
    page = dict(parse_qsl(parts.query)).get("page", "1")
    return _with(parts, page=str(int(page) + 1)) if page.isdecimal() else None


def _has_pages(format: FeedFormat, parts: SplitResult) -> bool:
    if format is FeedFormat.SHOPIFY:
        return parts.path.endswith("/products.json")
    return format is FeedFormat.WOOCOMMERCE and "/wc/" in parts.path


def _with(parts: SplitResult, **values: str) -> str:
    given = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in values]
    return urlunsplit(parts._replace(query=urlencode([*given, *values.items()])))
