"""From a checked tree to functions over arrays.

Logic is Kleene's: what is unknown makes a comparison unknown, and only what is certainly true counts. So every part has
two functions: where it is true, and where it is false; `not` exchanges them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from expressions.columns import Float64s, Frame, Mask, Numbers, Open, Words
from expressions.open_fields import OpensOf, open_equal, open_ordered
from expressions.tree import Node
from expressions.types import Type
from expressions.word_tables import WordTable, time_of

MaskOf = Callable[[Frame], Mask]
NumbersOf = Callable[[Frame], Float64s]
WordsOf = Callable[[Frame], Words]
Told = Callable[[Sequence[object]], list[bool]]
"""What is said of each word."""

_HOUR_MS: Final = 3_600_000.0
_COMPARED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_OF_TWO: Final = frozenset(("==", "!=", *_COMPARED))


def mask_of(node: Node) -> MaskOf:
    """Return where a checked condition is true: (n,) or (1,)."""
    return _truth(node, True)


def numbers_of(node: Node) -> NumbersOf:
    """Return what a checked number or time is, NaN where it is unknown: (n,) or (1,)."""
    if node.kind == "literal":
        constant = np.array([node.value], np.float64)
        return lambda frame: constant
    if node.kind == "field":
        return _numeric_field(node)
    parts = [numbers_of(part) for part in node.parts] if node.kind != "count()" else []
    if node.kind == "count()":
        return _counted(words_of(node.parts[0]))
    if node.kind in ("hours_since()", "hours_until()"):
        sign = 1.0 if node.kind == "hours_since()" else -1.0
        return lambda frame: sign * (frame.now_ms - parts[0](frame)) / _HOUR_MS
    if node.kind in ("negative", "abs()"):
        alone: Callable[[Any], Any] = np.negative if node.kind == "negative" else np.abs
        return lambda frame: alone(parts[0](frame))
    both = _ARITHMETIC[node.kind]

    def computed(frame: Frame) -> Float64s:
        with np.errstate(all="ignore"):
            found: Float64s = both(parts[0](frame), parts[1](frame))
        return found

    return computed


def _over(left: Float64s, right: Float64s) -> Any:
    """Divide; by 0 is unknown."""
    return left / np.where(right == 0, np.nan, right)


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _over,
    "min()": np.minimum,
    "max()": np.maximum,
}


def words_of(node: Node) -> WordsOf:
    """Return the texts, lists or truths of a checked part."""
    if node.kind == "literal":
        constant = Words(np.zeros(1, np.int32), [node.value])
        return lambda frame: constant
    if node.kind == "lower()":
        return _lowered(words_of(node.parts[0]))
    field = node.field

    def read(frame: Frame) -> Words:
        column = frame.column(field)
        assert not isinstance(column, Numbers)
        return column if isinstance(column, Words) else Words(column.codes, column.words)

    return read


def _numeric_field(node: Node) -> NumbersOf:
    field, is_time = node.field, node.type is Type.TIME
    times = WordTable(lambda words: [time_of(word) for word in words], np.float64, np.nan)

    def read(frame: Frame) -> Float64s:
        column = frame.column(field)
        if isinstance(column, Numbers):
            return column.values
        assert isinstance(column, Open)
        if not is_time:
            return column.numbers
        read_as_time: Float64s = times.at(column.codes, column.words)
        return np.where(np.isnan(read_as_time), column.numbers, read_as_time)

    return read


def _counted(lists: WordsOf) -> NumbersOf:
    lengths = WordTable(
        lambda words: [float(len(word)) if isinstance(word, tuple) else float("nan") for word in words],
        np.float64,
        np.nan,
    )

    def read(frame: Frame) -> Float64s:
        found = lists(frame)
        return lengths.at(found.codes, found.words)

    return read


def _lowered(texts: WordsOf) -> WordsOf:
    lowered: list[object] = []
    of: Sequence[object] | None = None

    def read(frame: Frame) -> Words:
        nonlocal of, lowered
        found = texts(frame)
        if found.words is not of:
            lowered, of = [], found.words
        lowered += [word.lower() if isinstance(word, str) else word for word in found.words[len(lowered) :]]
        return Words(found.codes, lowered)

    return read


def _truth(node: Node, wanted: bool) -> MaskOf:
    """Return where a condition is certainly `wanted`."""
    if node.kind == "not":
        return _truth(node.parts[0], not wanted)
    if node.kind in ("and", "or"):
        parts = [_truth(part, wanted) for part in node.parts]
        return _all(parts) if (node.kind == "and") is wanted else _any(parts)
    if node.kind == "literal":
        constant = np.array([node.value is wanted])
        return lambda frame: constant
    if node.kind == "has()":
        return _has(node.parts[0], wanted)
    if node.kind == "field":
        return _told(words_of(node), lambda words: [word is wanted for word in words])
    if node.kind in _OF_TWO and node.parts[0].type is Type.ANY:
        return _of_open_fields(node, wanted)
    if node.kind in ("==", "!=") and node.parts[0].type in (Type.NUMBER, Type.TIME):
        return _equal(node, wanted)
    if node.kind in ("==", "!=") and node.parts[0].type is Type.BOOL:
        return _same_truth(node, (node.kind == "==") is wanted)
    if node.kind in _COMPARED:
        return _ordered(node, wanted)
    if node.kind == "in" and node.parts[1].kind == "list":
        return _listed(node, wanted)
    return _worded(node, wanted)


def _all(parts: Sequence[MaskOf]) -> MaskOf:
    def read(frame: Frame) -> Mask:
        mask = parts[0](frame)
        for part in parts[1:]:
            mask = mask & part(frame)
        return mask

    return read


def _any(parts: Sequence[MaskOf]) -> MaskOf:
    def read(frame: Frame) -> Mask:
        mask = parts[0](frame)
        for part in parts[1:]:
            mask = mask | part(frame)
        return mask

    return read


def _same_truth(node: Node, wanted: bool) -> MaskOf:
    """Return where both sides are certainly alike, or certainly not."""
    left, right = node.parts
    return _any([_all([_truth(left, one), _truth(right, one is wanted)]) for one in (True, False)])


def _has(node: Node, wanted: bool) -> MaskOf:
    field = node.field

    def read(frame: Frame) -> Mask:
        column = frame.column(field)
        known: Mask = ~np.isnan(column.values) if isinstance(column, Numbers) else column.codes >= 0
        return known if wanted else ~known

    return read


def _ordered(node: Node, wanted: bool) -> MaskOf:
    left, right = numbers_of(node.parts[0]), numbers_of(node.parts[1])
    compare = _COMPARED[node.kind if wanted else _OPPOSITE[node.kind]]
    return lambda frame: compare(left(frame), right(frame))


def _equal(node: Node, wanted: bool) -> MaskOf:
    left, right = numbers_of(node.parts[0]), numbers_of(node.parts[1])
    if (node.kind == "==") is wanted:
        return lambda frame: left(frame) == right(frame)

    def differ(frame: Frame) -> Mask:  # NaN differs from everything, and is to differ from nothing
        one, other = left(frame), right(frame)
        return (one < other) | (one > other)

    return differ


def _of_open_fields(node: Node, wanted: bool) -> MaskOf:
    left, right = _open_of(node.parts[0]), _open_of(node.parts[1])
    if node.kind in _COMPARED:
        return open_ordered(left, right, _COMPARED[node.kind if wanted else _OPPOSITE[node.kind]])
    return open_equal(left, right, (node.kind == "==") is wanted)


def _open_of(node: Node) -> OpensOf:
    field = node.field

    def read(frame: Frame) -> Open:
        column = frame.column(field)
        assert isinstance(column, Open)
        return column

    return read


def _listed(node: Node, wanted: bool) -> MaskOf:
    """`x in [constants]`."""
    constants = node.parts[1].value
    assert isinstance(constants, tuple)
    if node.parts[0].type is Type.TEXT:
        among = frozenset(constants)
        return _told(
            words_of(node.parts[0]),
            lambda words: [isinstance(word, str) and (word in among) is wanted for word in words],
        )
    numbers, values = numbers_of(node.parts[0]), np.array(constants, np.float64)

    def read(frame: Frame) -> Mask:
        found = numbers(frame)
        held = np.isin(found, values)
        return held if wanted else ~held & ~np.isnan(found)

    return read


def _under(path: str, category: str) -> bool:
    parts = [part for part in category.split("/") if part]
    return [part for part in path.split("/") if part][: len(parts)] == parts


_OF_TEXTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda text, held: text in held,
    "under()": _under,
    "contains()": lambda text, part: part in text,
    "starts_with()": lambda text, part: text.startswith(part),
}


def _each(said: Callable[[object], bool], words: Sequence[object]) -> list[bool]:
    return [said(word) for word in words]


_OF_MANY: Final[dict[str, Callable[[Any, bool, Sequence[object]], list[bool]]]] = {
    "==": lambda value, wanted, words: [isinstance(word, str) and (word == value) is wanted for word in words],
    "!=": lambda value, wanted, words: [isinstance(word, str) and (word != value) is wanted for word in words],
    "contains()": lambda value, wanted, words: [isinstance(word, str) and (value in word) is wanted for word in words],
}
"""What takes most of the time where titles are read, without a call a word."""


def _worded(node: Node, wanted: bool) -> MaskOf:
    """A predicate over two texts, or a text and a list."""
    kinds = [_KINDS[part.type] for part in node.parts]
    holds, parts = _OF_TEXTS[node.kind], [words_of(part) for part in node.parts]
    for at, constant in enumerate(node.parts):
        if constant.kind == "literal":
            value, kind = constant.value, kinds[1 - at]
            if at == 1 and node.kind in _OF_MANY:
                return _told(parts[0], partial(_OF_MANY[node.kind], value, wanted))

            def said(word: object, value: object = value, at: int = at, kind: type = kind) -> bool:
                left, right = (value, word) if at == 0 else (word, value)
                return isinstance(word, kind) and holds(left, right) is wanted

            return _told(parts[1 - at], partial(_each, said))
    return _row_by_row(parts[0], parts[1], kinds, lambda left, right: holds(left, right) is wanted)


_KINDS: Final[dict[Type, type]] = {Type.TEXT: str, Type.LIST: tuple}


def _told(texts: WordsOf, said: Told) -> MaskOf:
    table = WordTable(said, np.bool_, False)

    def read(frame: Frame) -> Mask:
        found = texts(frame)
        return table.at(found.codes, found.words)

    return read


def _row_by_row(left: WordsOf, right: WordsOf, kinds: Sequence[type], holds: Callable[[Any, Any], bool]) -> MaskOf:
    """Two fields that no constant stands beside: text by text."""

    def read(frame: Frame) -> Mask:
        ones, others = _values(left(frame)), _values(right(frame))
        (many,) = np.broadcast_shapes((len(ones),), (len(others),))
        pairs = zip(ones * many if len(ones) == 1 else ones, others * many if len(others) == 1 else others, strict=True)
        return np.array(
            [isinstance(one, kinds[0]) and isinstance(other, kinds[1]) and holds(one, other) for one, other in pairs],
            np.bool_,
        )

    return read


def _values(found: Words) -> list[object]:
    words = found.words
    return [words[code] if code >= 0 else None for code in found.codes.tolist()]
