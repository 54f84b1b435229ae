"""One round of commands to a Redis Cluster, without the IO: what goes to which node, what comes of the answers, and
what is to be asked again elsewhere.

Commands of one slot keep their order. Where a slot is on the move, what is asked again goes one by one, and later reads
of that slot are asked again behind it: a reader that reads an offset before a session relies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import hiredis
import redis

from contracts.redis_answers import whole
from state.cluster_walk import Walk
from state.slots import READS, Address, Why, as_bytes, key_of, name_of, redirect_of, slot_of
from state.wait import NotCopied, Wait

_ASKING: Final = hiredis.pack_command(("ASKING",))
MOST_HOPS: Final = 16
"""Redirections of one command without a pause: two nodes that send us to each other do not keep us for ever."""


@dataclass(slots=True)
class _Unit:
    """Commands that go together: one, or a whole MULTI ... EXEC. `node`: of a command without a key, whom it asks."""

    at: int
    sent: bytes
    count: int
    slot: int | None
    reads: bool
    node: Address | None = None
    walk: Walk | None = None
    """Of SCAN: where it is."""
    to: Address | None = None
    asking: bool = False
    hops: int = 0
    answers: list[Any] | None = None
    last: list[Any] | None = None
    """What it was answered when it was sent elsewhere."""


@dataclass(slots=True)
class _Asked:
    units: list[_Unit] = field(default_factory=list)
    waits: bool = False


class Batch(NamedTuple):
    """What goes to one node in one piece, and how many answers it has."""

    sent: bytes
    expects: int


class Round:
    """`batches` says what to send, `heard` takes what a node answered; again, until there are no more batches."""

    def __init__(
        self,
        commands: Sequence[Sequence[Any]],
        *,
        owner: Callable[[int], Address],
        primaries: Callable[[], Sequence[Address]],
        wait: Wait | None = None,
    ) -> None:
        """`owner` and `primaries` are asked before each batch: a table that was read anew meanwhile counts. With
        `wait`, each node that takes a write is asked behind it whether enough replicas have it.
        """
        self._commands, self._owner, self._wait = commands, owner, wait
        self._units = list(_units(commands, primaries))
        self._left = list(self._units)
        self._asked: dict[Address, _Asked] = {}
        self._on_the_move: set[int] = set()
        self.moved: list[tuple[int, Address]] = []
        """Slots that were said to be elsewhere since the last batches."""
        self.paused = False
        """Whether somebody asked for patience since the last batches."""
        self.wrote: set[Address] = set()
        """Nodes that were sent anything that may write."""
        self.not_copied: NotCopied | None = None

    def replay(self, owners: Sequence[Address | None], heard: Mapping[Address, Sequence[Any]]) -> None:
        """Take what nodes answered to commands that were split by a table (`slots.split`) without this."""
        live, self._owner = self._owner, lambda slot: owners[slot] or ("", 0)
        self.batches()
        self._owner = live
        for node, answers in heard.items():
            self.heard(node, answers)

    def batches(self) -> dict[Address, Batch]:
        """Return what to send next; nothing when all is answered."""
        self._asked, self.moved, self.paused = {}, [], False
        held: set[int] = set()
        for unit in self._left:
            slot = unit.slot
            if slot is not None and slot in self._on_the_move:
                if slot in held:
                    continue
                held.add(slot)
            to = unit.to or unit.node or self._owner(slot or 0)
            asked = self._asked.setdefault(to, _Asked())
            asked.units.append(unit)
            asked.waits = asked.waits or (self._wait is not None and not unit.reads)
            if not unit.reads:
                self.wrote.add(to)
        return {to: self._batch(asked) for to, asked in self._asked.items()}

    def _batch(self, asked: _Asked) -> Batch:
        parts, count = [], 0
        for unit in asked.units:
            if unit.asking:
                parts.append(_ASKING)
            parts.append(unit.sent)
            count += unit.count + unit.asking
        if asked.waits and self._wait is not None:
            parts.append(self._wait.packed())
            count += 1
        return Batch(parts[0] if len(parts) == 1 else b"".join(parts), count)

    def heard(self, node: Address, answers: Sequence[Any]) -> None:
        """Take what a node answered to its batch."""
        asked, at = self._asked[node], 0
        if asked.waits and self._wait is not None:
            self.not_copied = self.not_copied or self._wait.problem(answers[-1])
        for unit in asked.units:
            at += unit.asking
            self._settle(unit, node, list(answers[at : at + unit.count]))
            at += unit.count
        if self._on_the_move:
            self._read_again(asked.units)
        self._left = [unit for unit in self._left if unit.answers is None]

    def _settle(self, unit: _Unit, node: Address, answers: list[Any]) -> None:
        turned = next((found for one in answers if (found := redirect_of(one)) is not None), None)
        if turned is None or unit.slot is None or unit.hops >= MOST_HOPS:
            unit.answers = answers
            return
        unit.to, unit.asking, unit.last = None, False, answers
        if turned.why is Why.LATER:
            self.paused = True
            self._on_the_move.add(unit.slot)
            return
        unit.hops += 1
        assert turned.to is not None
        to = (turned.to[0] or node[0], turned.to[1])
        if turned.why is Why.ASK:
            unit.to, unit.asking = to, True
            self._on_the_move.add(unit.slot)
        else:
            self.moved.append((unit.slot, to))

    def _read_again(self, units: Iterable[_Unit]) -> None:
        """Forget what was read of a slot behind something that is to be asked again."""
        waiting: set[int] = set()
        for unit in units:
            if unit.slot is None or unit.slot not in self._on_the_move:
                continue
            if unit.answers is None:
                waiting.add(unit.slot)
            elif unit.slot in waiting and unit.reads:
                unit.answers = None

    def give_up(self) -> None:
        """Take the redirections for answers: there is no more time."""
        for unit in self._left:
            unit.answers = unit.last or [redis.TimeoutError("the cluster's slots stayed on the move")] * unit.count
        self._left = []

    def answers(self) -> list[Any]:
        """Return the answers, one a command, in the order of the commands."""
        found: list[Any] = [None] * len(self._commands)
        everywhere: dict[int, list[tuple[Address, Any]]] = {}
        for unit in self._units:
            assert unit.answers is not None
            if unit.node is not None:
                answer = unit.answers[0] if unit.walk is None else unit.walk.onward(unit.answers[0])
                everywhere.setdefault(unit.at, []).append((unit.node, answer))
            else:
                found[unit.at : unit.at + unit.count] = unit.answers
        for at, of_nodes in everywhere.items():
            found[at] = together(self._commands[at], of_nodes)
        return found


def _units(commands: Sequence[Sequence[Any]], primaries: Callable[[], Sequence[Address]]) -> Iterable[_Unit]:
    at = 0
    while at < len(commands):
        command, count = commands[at], 1
        if name_of(command) == b"MULTI":
            count = next(n for n, one in enumerate(commands[at:], 1) if name_of(one) in (b"EXEC", b"DISCARD"))
            command = commands[at + 1]
        key = key_of(command)
        sent = b"".join(hiredis.pack_command(tuple(one)) for one in commands[at : at + count])
        if key is not None:
            yield _Unit(at, sent, count, slot_of(key), count == 1 and name_of(command) in READS)
        elif name_of(command) == b"SCAN":
            walk = Walk.at(int(command[1]), primaries())
            sent = hiredis.pack_command((command[0], walk.own, *command[2:]))
            yield _Unit(at, sent, 1, None, True, node=walk.primaries[walk.number], walk=walk)
        else:
            for node in primaries() if name_of(command) in _OF_ALL else primaries()[:1]:
                yield _Unit(at, sent, 1, None, True, node=node)
        at += count


_OF_ALL: Final = frozenset((b"PING", b"INFO", b"DBSIZE", b"SCRIPT", b"BGREWRITEAOF", b"FLUSHALL", b"CONFIG"))
"""Commands without a key that every primary is asked. Others go to one of them."""


def together(command: Sequence[Any], answers: Sequence[tuple[Address, Any]]) -> Any:
    """Return one answer for those of several nodes: the first error, a sum, the first, or that of the fullest."""
    for _, answer in answers:
        if isinstance(answer, Exception):
            return answer
    found = [answer for _, answer in answers]
    name = name_of(command)
    if name == b"DBSIZE":
        return sum(found)
    if name == b"INFO" and len(command) > 1 and as_bytes(command[1]).lower() == b"memory":
        return max(found, key=_fullness)
    return found[0]


def _fullness(told: bytes) -> tuple[float, int]:
    lines = dict(line.split(b":", 1) for line in told.splitlines() if b":" in line)
    used, most = whole(lines.get(b"used_memory")) or 0, whole(lines.get(b"maxmemory")) or 0
    return used / most if most else 0.0, used
