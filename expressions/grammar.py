"""The grammar of the filter language, and the nodes that its rules make. The only importer of lark."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lark import Lark, Token, Transformer, v_args

from expressions.tree import Node, Place, node

GRAMMAR: Final = r"""
start: either

?either: both ("or" both)*
?both: inverse ("and" inverse)*
?inverse: NOT inverse -> negation
        | comparison
?comparison: sum
           | sum COMPARE sum -> compared
           | sum IN container -> within
           | sum NOT IN container -> without
?container: list
          | sum
list: "[" "]"
    | "[" constant ("," constant)* ","? "]"
?constant: literal
         | MINUS NUMBER -> number
?sum: product
    | sum (PLUS | MINUS) product -> arithmetic
?product: sign
        | product (TIMES | OVER) sign -> arithmetic
?sign: MINUS sign -> negative
     | atom
?atom: literal
     | PATH -> field
     | PATH "[" STRING "]" -> field
     | NAME_OPEN ")" -> call
     | NAME_OPEN either ("," either)* ")" -> call
     | "(" either ")"
?literal: NUMBER -> number
        | STRING -> text
        | TRUE -> truth
        | FALSE -> truth

COMPARE: "==" | "!=" | "<=" | ">=" | "<" | ">"
PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
NOT: "not"
IN: "in"
TRUE: "true"
FALSE: "false"
NUMBER: /\d+(\.\d+)?([eE][+-]?\d+)?/
STRING: /"(\\.|[^"\\\n])*"/
NAME_OPEN.2: /(?!(?:and|or|not|in)\b)[A-Za-z_]\w*\s*\(/
PATH: /[A-Za-z_]\w*(\.[A-Za-z_][\w-]*)*/
%ignore /[ \t\r\n]+/
"""

_ESCAPED = re.compile(r"\\(.)")


@lru_cache(maxsize=1)
def parser() -> Lark:
    """Return the parser, made once."""
    return Lark(GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False, propagate_positions=True)


def _place(token: Token) -> Place:
    return Place(token.line or 1, token.column or 1)


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Makes a node of each rule, while the parser goes."""

    def start(self, whole: Node) -> Node:
        return whole

    def either(self, *parts: Node) -> Node:
        return node("or", parts[0].place, parts)

    def both(self, *parts: Node) -> Node:
        return node("and", parts[0].place, parts)

    def negation(self, word: Token, part: Node) -> Node:
        return node("not", _place(word), (part,))

    def compared(self, left: Node, operator: Token, right: Node) -> Node:
        return node(str(operator), left.place, (left, right))

    def within(self, left: Node, _in: Token, right: Node) -> Node:
        return node("in", left.place, (left, right))

    def without(self, left: Node, word: Token, _in: Token, right: Node) -> Node:
        return node("not", _place(word), (node("in", left.place, (left, right)),))

    def list(self, *parts: Node) -> Node:
        place = parts[0].place if parts else Place(1, 1)
        return node("list", place, (), tuple(part.value for part in parts))

    def arithmetic(self, left: Node, operator: Token, right: Node) -> Node:
        return node(str(operator), left.place, (left, right))

    def negative(self, sign: Token, part: Node) -> Node:
        return node("negative", _place(sign), (part,))

    def field(self, path: Token, quoted: Token | None = None) -> Node:
        parts = str(path).split(".")
        return node("field", _place(path), (), tuple(parts if quoted is None else [*parts, _unquoted(quoted)]))

    def call(self, opening: Token, *arguments: Node) -> Node:
        name = str(opening).rstrip("(").strip()
        return node(f"{name}()", _place(opening), arguments)

    def number(self, *tokens: Token) -> Node:
        sign = -1.0 if len(tokens) == 2 else 1.0
        return node("literal", _place(tokens[0]), (), sign * float(tokens[-1]))

    def text(self, token: Token) -> Node:
        return node("literal", _place(token), (), _unquoted(token))

    def truth(self, token: Token) -> Node:
        return node("literal", _place(token), (), str(token) == "true")


def _unquoted(token: Token) -> str:
    return _ESCAPED.sub(r"\1", str(token)[1:-1])
