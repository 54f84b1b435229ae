"""How far this process is with ending."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web


@dataclass(slots=True)
class Draining:
    """`leaving`: it says that it is not ready, and serves on. `closing`: its port is closed, and each answer is the
    last of its connection. Mutable on purpose: it is a pair of flags.
    """

    leaving: bool = False
    closing: bool = False


DRAINING = web.AppKey("draining", Draining)
