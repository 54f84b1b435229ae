"""OTTO's sessions."""

from __future__ import annotations

from replay.importers.otto import Otto
from tests.fuzz.files import importing

ONE = b'{"session":0,"events":[{"aid":5,"ts":1661723200000,"type":"clicks"},'
ONE += b'{"aid":6,"ts":1661723201000,"type":"carts"}]}\n'

TARGET = importing(
    Otto(), {"one": ONE, "two": ONE * 2}, ".jsonl", (b'"session":', b'"events":', b'"aid":', b'"ts":', b'"carts"')
)
