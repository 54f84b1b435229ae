"""Objects of a JSON array, one at a time, as it streams in: memory holds one object and a chunk."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from connect.feeds.rows import MOST_ITEM_BYTES, Chunks, FeedBroken

_SPACE: Final = " \t\r\n"
_DECODER: Final = json.JSONDecoder()
_HALF: Final = re.compile("[\ud800-\udfff]")
"""Half a character, as a shop writes it that cuts a title between the two halves of an emoji: no text."""


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A value of the array, and the line that it begins in."""

    line: int
    value: Any


class _Text:
    """What came and was not read yet. Mutable: `need` adds a chunk, `take` goes past what was read."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.line = "", 0, 1
        self.ended = False

    def need(self) -> bool:
        """Add a chunk; False at the end. Raises FeedBroken for what is no UTF-8."""
        if self.ended:
            return False
        chunk = next(self._chunks, None)
        self.ended = chunk is None
        try:
            more = self._decoder.decode(chunk or b"", final=chunk is None)
        except UnicodeDecodeError as error:
            raise FeedBroken(f"expected JSON in UTF-8, got {error}", self.line) from error
        self.text, self.at = self.text[self.at :] + more, 0
        return True

    def take(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def peek(self) -> str:
        """Return the next character that is no space, '' at the end."""
        while True:
            at = self.at
            while at < len(self.text) and self.text[at] in _SPACE:
                at += 1
            self.take(at)
            if at < len(self.text):
                return self.text[at]
            if not self.need():
                return ""

    def expect(self, mark: str) -> None:
        found = self.peek()
        if found != mark:
            raise FeedBroken(f"expected {mark} in JSON, got {found or 'the end: the feed is cut off'}", self.line)
        self.take(self.at + 1)

    def value(self) -> Any:
        """Read one value. Raises FeedBroken for what is none, or is larger than an item may be."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                if end < len(self.text) or self.ended:  # a number may go on in the next chunk
                    halves = "\\ud" in self.text[self.at : end].lower()
                    self.take(end)
                    return _whole(value) if halves else value
            except json.JSONDecodeError as error:
                if self.ended:
                    raise FeedBroken(f"expected whole JSON, got: {error.msg}", self.line) from error
            except (ValueError, RecursionError) as error:
                raise FeedBroken(f"expected JSON of a product, got {type(error).__name__}", self.line) from error
            if len(self.text) - self.at > MOST_ITEM_BYTES:
                raise FeedBroken(f"expected whole JSON of at most {MOST_ITEM_BYTES:,} characters a product", self.line)
            self.need()


def _whole(value: Any) -> Any:
    """Return a value with a replacement character for each half of one. No deeper than what was decoded."""
    match value:
        case str():
            return _HALF.sub("\ufffd", value)
        case list():
            return [_whole(one) for one in value]
        case dict():
            return {_whole(name): _whole(one) for name, one in value.items()}
    return value


def json_rows(chunks: Chunks, name: str) -> Iterator[JsonRow]:
    """Yield the values of an array: the whole document, or what an object has under `name`. Nothing of an empty one.

    Raises FeedBroken for what is no JSON, ends too early, or has no such array.
    """
    text = _Text(chunks)
    first = text.peek()
    if not first:
        return
    if first == "{":
        _go_to(text, name)
    text.expect("[")
    if text.peek() == "]":
        text.take(text.at + 1)
        return
    while True:
        text.peek()
        line = text.line
        yield JsonRow(line, text.value())
        if text.peek() != ",":
            break
        text.take(text.at + 1)
    text.expect("]")


def _go_to(text: _Text, name: str) -> None:
    """Go to the value of an object's name, past the others."""
    text.expect("{")
    while True:
        key = text.value()
        text.expect(":")
        if key == name:
            return
        text.value()
        if text.peek() != ",":
            raise FeedBroken(f"expected products in {name!r}, found no such name", text.line)
        text.expect(",")
