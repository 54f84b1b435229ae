"""Bandit experiments in this process: who is drawn which variant, by shares that the judge keeps in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from contracts.assignment import drawn
from contracts.bandit_shares import WHOLE, BanditShares, cell_of, decode_shares
from contracts.errors import StateUnavailable
from contracts.experiments import ExperimentVersion
from contracts.left_out import LeftOutLog

log = logging.getLogger("nextclick.gateway")

EVERY_S: Final = 2.0
"""How often shares are read while a bandit runs."""
Cells = Mapping[str, Sequence[float]]


class Kind(NamedTuple):
    """What a bandit may tell visitors apart by, in the words of attribution's figures."""

    device: str
    returning: str


class Draw:
    """The shares of one bandit experiment, by which units are drawn: the document's own until there are others."""

    def __init__(self, version: ExperimentVersion) -> None:
        bandit = version.experiment.bandit
        self._name, self._started_ms = version.name, version.started_ms
        self._context = () if bandit is None else tuple(bandit.context)
        self._variants = tuple(variant.name for variant in version.experiment.variants)
        self._cells: Cells = {WHOLE: version.experiment.own_shares}

    def take(self, shares: BanditShares) -> None:
        """Draw by other shares from now on, unless they are of another run, or of other variants."""
        if (shares.started_ms, shares.variants) == (self._started_ms, self._variants):
            self._cells = shares.cells

    def told(self) -> dict[str, dict[str, float]]:
        """Return the share of each variant, by kind of visitor; the empty one is everybody else."""
        return {cell: dict(zip(self._variants, shares, strict=True)) for cell, shares in self._cells.items()}

    def of(self, unit: str, kind: Callable[[], Kind]) -> tuple[str, float]:
        """Return the variant of a unit, and the probability with which it is that."""
        shares = self._cells[WHOLE]
        if self._context:
            shares = self._cells.get(cell_of(self._context, *kind()), shares)
        at = drawn(self._name, unit, shares)
        return self._variants[at], shares[at]


class Reads(Protocol):
    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the record of each experiment. Raises StateUnavailable, TimeoutError."""


class Drawn(Protocol):
    """Whoever draws by shares."""

    def bandits(self, now_ms: int) -> list[str]:
        """Return the names of those that run."""

    def take_shares(self, shares: Mapping[str, BanditShares]) -> None:
        """Draw by these from now on."""


async def follow_shares(drawn_by: Drawn, reader: Reads, clock: Callable[[], int], every_s: float = EVERY_S) -> None:
    """Keep shares up to date while bandits run; what cannot be read, or is none, leaves those of before."""
    said = LeftOutLog(log)
    while True:
        if names := drawn_by.bandits(clock()):
            try:
                records = await reader.read(names)
            except (StateUnavailable, TimeoutError):
                records = []
            drawn_by.take_shares(_decoded(dict(zip(names, records, strict=False)), said))
        await asyncio.sleep(every_s)


def _decoded(records: Mapping[str, bytes | None], said: LeftOutLog) -> dict[str, BanditShares]:
    found: dict[str, BanditShares] = {}
    for name, record in records.items():
        try:
            if record is not None:
                found[name] = decode_shares(record)
        except ValueError as error:
            said.say(f"the shares of the experiment {name}", error)
    return found
