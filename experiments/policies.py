"""Policies that a log is asked about: the probability of each action, for the rows of the log. Pure, but for files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from contracts.errors import ImportFormatError
from experiments.bandit_log import BanditLog, Codes
from experiments.moments import Floats
from experiments.tables import names_in, read_table

_SUM_WITHIN: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Policy:
    """Row i of a log has the probabilities `table[group[i]]` of all its actions, table (g, a).

    A row of the table may sum to less than 1: the rest goes to actions that the log does not know.
    """

    name: str
    table: Floats
    group: Codes

    def of_chosen(self, log: BanditLog) -> Floats:
        """Return the probability of what the log chose, (n,)."""
        return np.asarray(self.table[self.group, log.action])

    def unsupported(self, log: BanditLog) -> float:
        """Return the share of the policy's choices that the log never made in that place: nothing is known of them."""
        made = np.zeros((len(log.positions), len(log.actions)), np.bool_)
        made[log.position, log.action] = True
        pairs, often = np.unique(np.stack([self.group, log.position]), axis=1, return_counts=True)
        known = (self.table[pairs[0]] * made[pairs[1]]).sum(axis=1)
        return max(0.0, 1.0 - float((known * often).sum() / len(log)))


def uniform(log: BanditLog) -> Policy:
    """Return the policy that chooses each action of the log as often as any other."""
    count = len(log.actions)
    return Policy("uniform", np.full((1, count), 1.0 / count), np.zeros(len(log), np.int64))


def shares_of(other: BanditLog, log: BanditLog, name: str) -> Policy:
    """Return the policy that chooses as often as `other` did, place by place: its average over context and time.

    Raises ImportFormatError where the other log lacks a position of this one.
    """
    _expect_positions(name, other.positions, log)
    counts = np.zeros((len(other.positions), len(other.actions)))
    np.add.at(counts, (other.position, other.action), 1.0)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return Policy(name, _aligned(shares, other.positions, other.actions, log), log.position)


def chosen_by_column(path: Path, column: str) -> Floats:
    """Return the probabilities (n,) that a column of the log holds: the policy's, of what the log chose. Raises
    ImportFormatError for a number that is no probability.
    """
    found = read_table(path, numbers=[column], texts=[]).numbers[column]
    wrong = ~((found >= 0.0) & (found <= 1.0))
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise ImportFormatError(f"{path}: column {column!r}, row {row}: expected a probability, got {found[row - 1]}")
    return found


def is_table(path: Path) -> bool:
    """Whether a file is a table of probabilities, rather than a log."""
    return "probability" in names_in(path)


def read_policy(path: Path, log: BanditLog) -> Policy:
    """Read a table of `action`, `probability` and, where it decides, `position`.

    Raises ImportFormatError: probabilities of a position that do not sum to 1, an action twice, a missing position.
    """
    has_places = "position" in names_in(path)
    table = read_table(path, numbers=["probability"], texts=["action", *(["position"] if has_places else [])])
    action, places = table.texts["action"], table.texts.get("position")
    names = places.names if places else log.positions
    codes = places.codes if places else np.zeros(table.rows, np.int64)
    _expect_positions(path.name, names, log)
    given = np.zeros((len(places.names) if places else 1, len(action.names)))
    times = np.zeros_like(given)
    np.add.at(given, (codes, action.codes), table.numbers["probability"])
    np.add.at(times, (codes, action.codes), 1.0)
    sums = given.sum(axis=1)
    if (times > 1).any():
        twice = action.names[int(np.argmax((times > 1).any(axis=0)))]
        raise ImportFormatError(f"{path}: expected each action once in a position, got {twice!r} again")
    if not (table.numbers["probability"] >= 0.0).all() or (np.abs(sums - 1.0) > _SUM_WITHIN).any():
        worst = float(sums[np.argmax(np.abs(sums - 1.0))])
        raise ImportFormatError(
            f"{path}: expected probabilities from 0 that sum to 1 in each position, got {worst:.4f}"
        )
    given = given / sums[:, None] if places else np.repeat(given / sums[:, None], len(names), axis=0)
    return Policy(path.name, _aligned(given, names, action.names, log), log.position)


def _expect_positions(name: str, there: tuple[str, ...], log: BanditLog) -> None:
    missing = next((place for place in log.positions if place not in there), None)
    if missing is not None:
        raise ImportFormatError(f"{name}: expected the positions of the log {log.positions}, got none for {missing!r}")


def _aligned(table: Floats, positions: tuple[str, ...], actions: tuple[str, ...], log: BanditLog) -> Floats:
    """Return the table (p, a) with the positions and actions of the log."""
    found = np.zeros((len(log.positions), len(log.actions)))
    place = {name: at for at, name in enumerate(log.actions)}
    known = [(at, place[name]) for at, name in enumerate(actions) if name in place]
    rows = [positions.index(name) for name in log.positions]
    for at, to in known:
        found[:, to] = table[rows, at]
    return found
