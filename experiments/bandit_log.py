"""Logs of a policy: what it was asked, what it chose, with which probability, and what that earned.

Two layouts are read. Ours: `action`, `reward`, `propensity`, and where there are several places `position`. The Open
Bandit data's (Saito et al. 2021): `item_id`, `click`, `propensity_score`, `position`, with `user_feature_0` to `_3` as
context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from experiments.moments import Floats
from experiments.tables import Table, Texts, expect_columns, names_in, read_table

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a log by what they say; `context` are those that are taken where none are asked for."""

    action: str
    reward: str
    propensity: str
    position: str
    context: tuple[str, ...] = ()


OURS: Final = Layout("action", "reward", "propensity", "position")
OPEN_BANDIT: Final = Layout(
    "item_id", "click", "propensity_score", "position", tuple(f"user_feature_{at}" for at in range(4))
)
LEAST: Final = 1e-9
"""The smallest propensity: what was chosen more rarely says nothing of a policy."""
_ONE_PLACE: Final = ("",)


@dataclass(frozen=True, slots=True)
class BanditLog:
    """Rows (n,). `action` and `position` are codes into their names; rows of one `unit` belong together.

    `propensity` is the probability with which the logging policy chose this action, given all that it knew.
    `numbers` and `words` are the context.
    """

    actions: tuple[str, ...]
    positions: tuple[str, ...]
    action: Codes
    position: Codes
    reward: Floats
    propensity: Floats
    unit: Codes
    numbers: tuple[Floats, ...] = ()
    words: tuple[Texts, ...] = ()

    def __len__(self) -> int:
        return len(self.action)


def read_log(path: Path, *, context: Sequence[str] = (), unit: str = "") -> BanditLog:
    """Read a log of either layout.

    Raises ImportFormatError: a missing column, a propensity under 1e-9 or over 1, no rows.
    """
    there = names_in(path)
    layout = OPEN_BANDIT if OPEN_BANDIT.propensity in there and OURS.propensity not in there else OURS
    context = tuple(context) or tuple(name for name in layout.context if name in there)
    expect_columns(path, there, (layout.action, layout.reward, layout.propensity, *context, *([unit] if unit else [])))
    places = [layout.position] if layout.position in there else []
    table = read_table(
        path,
        numbers=[layout.reward, layout.propensity],
        texts=[layout.action, *places, *([unit] if unit else [])],
        either=context,
    )
    return _log_of(path, table, layout, context, unit)


def _log_of(path: Path, table: Table, layout: Layout, context: Sequence[str], unit: str) -> BanditLog:
    propensity, reward = table.numbers[layout.propensity], table.numbers[layout.reward]
    for name, wrong, wanted in (
        (layout.propensity, ~((propensity >= LEAST) & (propensity <= 1.0)), f"a probability from {LEAST:g} to 1"),
        (layout.reward, np.isnan(reward), "a number"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong)) + 1
            raise ImportFormatError(
                f"{path}: column {name!r}, row {row}: expected {wanted}, got {table.numbers[name][row - 1]}"
            )
    action, places = table.texts[layout.action], table.texts.get(layout.position)
    return BanditLog(
        actions=action.names,
        positions=places.names if places else _ONE_PLACE,
        action=action.codes,
        position=places.codes if places else np.zeros(table.rows, np.int64),
        reward=reward,
        propensity=propensity,
        unit=table.texts[unit].codes if unit else np.arange(table.rows),
        numbers=tuple(table.numbers[name] for name in context if name in table.numbers),
        words=tuple(table.texts[name] for name in context if name in table.texts),
    )
