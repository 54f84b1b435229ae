"""Text to tree. The parser is loaded with the first text: most processes never read one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from expressions.errors import ExpressionError
from expressions.tree import Node

if TYPE_CHECKING:
    from lark import Token, UnexpectedInput

MAX_CHARACTERS: Final = 8000

_SAID: Final = {
    "COMPARE": "a comparison (== != < <= > >=)",
    "PLUS": "+",
    "MINUS": "-",
    "TIMES": "*",
    "OVER": "/",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "IN": "in",
    "TRUE": "true",
    "FALSE": "false",
    "NUMBER": "a number",
    "STRING": 'a text in "quotes"',
    "NAME_OPEN": "a function",
    "PATH": "a field",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": ",",
    "$END": "the end",
}
_THE_END: Final = _SAID["$END"]
_DECIMAL: Final = "write a number with a point, not a comma: "
_QUOTES: Final = 'texts in "double quotes"'
_ELSEWHERE: Final = (
    ("&", "`and`"),
    ("|", "`or`"),
    ("=", "`==` to compare"),
    ("!", "`not`"),
    ("<>", "`!=`"),
    ("AND ", "`and` in small letters"),
    ("OR ", "`or` in small letters"),
    ("NOT ", "`not` in small letters"),
    ("IN ", "`in` in small letters"),
    *((mark, _QUOTES) for mark in "'\u2018\u2019\u201c\u201d`"),
)
"""What people write who know another language, and what this one writes instead."""


def parse(text: str) -> Node:
    """Return the tree of an expression, unchecked. Raises ExpressionError with line and column."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(1, 1, f"expected at most {MAX_CHARACTERS} characters, got {len(text)}")
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError

    from expressions.grammar import parser

    try:
        tree = parser().parse(text)
    except UnexpectedToken as error:
        raise _unexpected(text, error, _token(error.token), error.expected) from None
    except UnexpectedCharacters as error:
        raise _unexpected(text, error, repr(text[error.pos_in_stream or 0]), error.allowed) from None
    except VisitError as error:
        if isinstance(error.orig_exc, ExpressionError):
            raise error.orig_exc from None
        raise
    assert isinstance(tree, Node)
    return tree


def compared_with(text: str, name: str) -> list[str]:
    """Return the texts that an expression compares a field with, by `==`, `!=` or `in`. Raises ExpressionError."""
    found: list[str] = []
    waiting = [parse(text)]
    while waiting:
        part = waiting.pop(0)
        waiting += part.parts
        if part.kind in ("==", "!=", "in") and any(one.value == (name,) for one in part.parts if one.kind == "field"):
            values = [one.value for one in part.parts if one.kind in ("literal", "list")]
            flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
            found += [one for one in flat if isinstance(one, str)]
    return found


def _unexpected(text: str, error: UnexpectedInput, got: str, expected: Any) -> ExpressionError:
    line, column = _end(text) if got == _THE_END else (error.line or 1, error.column or 1)
    said = sorted({_SAID.get(name, name) for name in expected or ()})
    at = error.pos_in_stream or 0
    is_decimal = re.match(r"\d,\d", text[max(at - 1, 0) :]) is not None
    hint = "" if got == _THE_END else _DECIMAL if is_decimal else _hint(text[at:])
    return ExpressionError(line, column, f"{hint}expected {', '.join(said) or 'something else'}; got {got}")


def _hint(rest: str) -> str:
    """Return how this language writes what other languages write so; nothing for what none does."""
    word = re.match(r"\w*", rest)
    begins = rest if word is None or not word[0] else word[0] + " "
    written = next((here for there, here in _ELSEWHERE if begins.startswith(there)), None)
    return "" if written is None else f"write {written}: "


def _token(token: Token) -> str:
    return _THE_END if token.type == "$END" else repr(str(token).strip()[:40])


def _end(text: str) -> tuple[int, int]:
    lines = text.split("\n")
    return len(lines), len(lines[-1]) + 1
