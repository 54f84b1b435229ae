"""Rows of an XML feed, RSS 2.0 or Atom 1.0, as it streams in: no tree is built, so memory holds one item.

The parser is expat behind defusedxml: it refuses document types, and with them entities of every kind (billion laughs,
external files). lxml would build a tree to be cleared again, and brings libxml2's own list of advisories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from connect.feeds.rows import MOST_FIELDS, MOST_ITEM_BYTES, Chunks, FeedBroken

DEEPEST_XML: Final = 32
_GOOGLE: Final = "{http://base.google.com/ns/1.0}"
_ROOTS: Final = frozenset(("rss", "feed", "rdf", "channel", "items", "products"))
_ITEMS: Final = frozenset(("item", "entry", "product"))


@dataclass(slots=True)
class XmlRow:
    """The fields of one item, by local name. Google's own stand apart: they win over RSS's of the same name."""

    line: int
    plain: dict[str, str] = field(default_factory=dict)
    google: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, str]:
        return {**self.plain, **self.google}


class _Target:
    """Takes what the parser meets. An item is an `item` or `entry` below the root; its fields are its children."""

    def __init__(self) -> None:
        self.depth = self.item_depth = self.held = 0
        self.root = ""
        self.row: XmlRow | None = None
        self.found: list[XmlRow] = []
        self.texts: list[str] = []
        self.place: Callable[[], int] = lambda: 0
        self.line = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.line = self.place()
        self.depth += 1
        local = tag.rpartition("}")[2]
        if self.depth > DEEPEST_XML:
            raise FeedBroken(f"expected elements nested at most {DEEPEST_XML} deep", self.line)
        if self.depth == 1:
            self.root = local
            if local.lower() not in _ROOTS:
                raise FeedBroken(f"expected a feed, RSS or Atom (<rss>, <feed>), got <{local:.60}>", self.line)
        if self.row is None and self.depth > 1 and local in _ITEMS:
            self.row, self.item_depth, self.held = XmlRow(self.line), self.depth, 0
        elif self.row is not None and self.depth == self.item_depth + 1:
            self.texts.clear()
            self._hold(sum(map(len, attributes.values())))
            if address := attributes.get("href") or attributes.get("url"):
                self._address(local, attributes, address)

    def data(self, text: str) -> None:
        if self.row is not None:
            self._hold(len(text))
            if self.depth == self.item_depth + 1:
                self.texts.append(text)

    def end(self, tag: str) -> None:
        row = self.row
        if row is not None and self.depth == self.item_depth + 1:
            self._set(row.google if tag.startswith(_GOOGLE) else row.plain, tag.rpartition("}")[2].lower())
        elif row is not None and self.depth == self.item_depth:
            self.found.append(row)
            self.row = None
        self.depth -= 1

    def close(self) -> None:
        return

    def _set(self, fields: dict[str, str], name: str) -> None:
        text = "".join(self.texts).strip()
        self.texts.clear()
        if text and name not in fields:  # of several, the first
            if len(fields) >= MOST_FIELDS:
                raise FeedBroken(f"expected at most {MOST_FIELDS} fields of one item, got more", self.line)
            fields[name] = text

    def _address(self, local: str, attributes: dict[str, str], address: str) -> None:
        """Take what Atom and RSS say in attributes: the link of an entry, the picture of an item."""
        assert self.row is not None
        if local == "link" and attributes.get("rel", "alternate") == "alternate":
            self.row.plain.setdefault("link", address)
        elif local in ("enclosure", "content", "thumbnail") and attributes.get("type", "image/").startswith("image/"):
            self.row.plain.setdefault("image_link", address)

    def _hold(self, size: int) -> None:
        self.held += size
        if self.held > MOST_ITEM_BYTES:
            raise FeedBroken(f"expected at most {MOST_ITEM_BYTES:,} characters of one item, got more", self.line)


def xml_rows(chunks: Chunks) -> Iterator[XmlRow]:
    """Yield the items of a feed. Raises FeedBroken for what is no XML, ends too early, has a document type, is nested
    too deep, or holds an item that is too large.
    """
    target = _Target()
    parser: Any = DefusedXMLParser(target=target, forbid_dtd=True)
    expat = parser.parser
    target.place = lambda: int(expat.CurrentLineNumber)
    fed = 0
    try:
        for chunk in chunks:
            parser.feed(chunk)
            fed += len(chunk)
            if fed - expat.CurrentByteIndex > MOST_ITEM_BYTES:  # one tag, comment or instruction
                raise FeedBroken(f"expected marks of at most {MOST_ITEM_BYTES:,} bytes", expat.CurrentLineNumber)
            yield from target.found
            target.found.clear()
        if not fed:
            return
        parser.close()
    except DefusedXmlException as error:
        raise FeedBroken(f"expected XML without a document type, got {error}", expat.CurrentLineNumber) from error
    except ParseError as error:
        raise FeedBroken(f"expected whole XML, got: {error}", error.position[0]) from error
    except (ValueError, LookupError) as error:  # an encoding that is none
        raise FeedBroken(f"expected XML, got: {error}", expat.CurrentLineNumber) from error
    yield from target.found
