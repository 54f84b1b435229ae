"""Rounds over several nodes without the IO: nodes are played, and slots move between any two batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import hiredis
import redis
from hypothesis import given
from hypothesis import strategies as st

from contracts.redis_answers import advice
from state.cluster_round import Round, together
from state.slots import Address, slot_of, split
from state.wait import NotCopied, Wait

NODES: list[Address] = [("n", 1), ("n", 2), ("n", 3)]
NAMES = [f"{{t{slot}}}:{key}" for slot in range(3) for key in range(3)]


@dataclass
class Played:
    """What nodes answer: `who` has each slot; keys of a slot that is `moving` may be at its target already."""

    who: dict[int, Address]
    moving: dict[int, Address] = field(default_factory=dict)
    there: set[bytes] = field(default_factory=set)
    wave: int = 0

    def answer(self, node: Address, sent: bytes) -> list[Any]:
        reader, answers, asking = hiredis.Reader(), [], False
        reader.feed(sent)
        while (command := reader.gets()) is not False:
            if command[0] == b"ASKING":
                answers.append(b"OK")
                asking = True
                continue
            answers.append(self._one(node, command, asking))
            asking = False
        return answers

    def _one(self, node: Address, command: list[bytes], asking: bool) -> Any:
        if command[0] in (b"PING", b"WAIT"):
            return (self.wave, node) if command[0] == b"PING" else 1
        key = command[1]
        slot = slot_of(key)
        owner, target = self.who[slot], self.moving.get(slot)
        done = (self.wave, node)
        if node == owner:
            if target is not None and key in self.there:
                return redis.ResponseError(f"ASK {slot} {target[0]}:{target[1]}")
            return done
        if node == target and asking:
            return done if key in self.there else redis.ResponseError("TRYAGAIN keys are on their way")
        return redis.ResponseError(f"MOVED {slot} {owner[0]}:{owner[1]}")

    def step(self, what: tuple[str, int, int]) -> None:
        kind, number, at = what
        name = NAMES[number % len(NAMES)].encode()
        slot = slot_of(name)
        if kind == "begin" and slot not in self.moving and NODES[at] != self.who[slot]:
            self.moving[slot] = NODES[at]
        elif kind == "key" and slot in self.moving:
            self.there.add(name)
        elif kind == "end" and slot in self.moving:
            self.who[slot] = self.moving.pop(slot)
            self.there -= {one.encode() for one in NAMES}


STEPS = st.lists(st.tuples(st.sampled_from(("begin", "key", "key", "end")), st.integers(0, 8), st.integers(0, 2)))


@given(
    asked=st.lists(st.tuples(st.sampled_from(("GET", "HGET", "SET")), st.sampled_from(NAMES)), min_size=1, max_size=12),
    before=STEPS,
    between=st.lists(STEPS, max_size=6),
    first=st.lists(st.integers(0, 2), min_size=3, max_size=3),
    known=st.lists(st.integers(0, 2), min_size=3, max_size=3),
)
def test_every_command_is_answered_and_reads_of_a_slot_keep_their_order_wherever_it_goes(
    asked: list[tuple[str, str]],
    before: list[tuple[str, int, int]],
    between: list[list[tuple[str, int, int]]],
    first: list[int],
    known: list[int],
) -> None:
    slots = [slot_of(f"{{t{n}}}".encode()) for n in range(3)]
    nodes = Played({slot: NODES[at] for slot, at in zip(slots, first, strict=True)})
    table = {slot: NODES[at] for slot, at in zip(slots, known, strict=True)}  # it may be wrong
    for step in before:
        nodes.step(step)
    made = Round([[*one, "x"] for one in asked], owner=lambda slot: table[slot], primaries=lambda: NODES)
    later = iter(between)
    while batches := made.batches():
        nodes.wave += 1
        for node, batch in batches.items():
            answers = nodes.answer(node, batch.sent)
            assert len(answers) == batch.expects
            made.heard(node, answers)
        table |= dict(made.moved)
        for step in next(later, []):
            nodes.step(step)
        if nodes.wave > 20:  # nothing moves any more: what has begun is ended
            for slot in list(nodes.moving):
                nodes.who[slot] = nodes.moving.pop(slot)
        assert nodes.wave < 60
    answers = made.answers()
    assert all(isinstance(answer, tuple) for answer in answers), answers
    for slot in slots:
        reads = [
            answer
            for (name, key), answer in zip(asked, answers, strict=True)
            if slot_of(key.encode()) == slot and name != "SET"
        ]
        for (wave, node), (next_wave, next_node) in pairwise(reads):
            assert wave < next_wave or (wave == next_wave and node == next_node)


def owners() -> list[Address | None]:
    return [NODES[slot * 3 // 16384] for slot in range(16384)]


@given(st.lists(st.tuples(st.sampled_from(("GET", "SET", b"HMGET")), st.sampled_from(NAMES)), max_size=9))
def test_commands_that_are_split_at_once_go_where_a_round_sends_them(asked: list[tuple[Any, str]]) -> None:
    table = owners()
    commands = [[*one, "x"] for one in asked]
    places = split(commands, table)
    assert places is not None
    made = Round(commands, owner=lambda slot: table[slot] or ("", 0), primaries=lambda: NODES)
    sent = {node: b"".join(hiredis.pack_command(tuple(commands[at])) for at in mine) for node, mine in places.items()}
    assert {node: batch.sent for node, batch in made.batches().items()} == sent


def test_what_needs_a_closer_look_is_not_split_at_once() -> None:
    table = owners()
    for command in (("PING",), ("MULTI",), ("XREAD", "STREAMS", "a", "0"), ("EVAL", "return 1", 0), ("SCAN", 0)):
        assert split([command], table) is None, command
    assert split([("GET", "a")], [None] * 16384) is None
    [mine] = split([("EVALSHA", "0a", 1, "{t0}:x"), ("GET", "{t0}:y")], table).values()  # type: ignore[union-attr]
    assert mine == [0, 1]


def test_each_node_that_takes_a_write_is_asked_whether_its_replicas_have_it() -> None:
    table = owners()
    made = Round(
        [("SET", NAMES[0], 1), ("GET", NAMES[8])],
        owner=lambda slot: table[slot] or ("", 0),
        primaries=lambda: NODES,
        wait=Wait(2, 50),
    )
    writes = table[slot_of(NAMES[0].encode())]
    for node, batch in made.batches().items():
        told = b"$4\r\nWAIT\r\n$1\r\n2\r\n$2\r\n50\r\n"
        assert batch.sent.endswith(told) is (node == writes)
        made.heard(node, [b"OK", 1][: batch.expects] if node == writes else [None] * batch.expects)
    assert made.wrote == {writes}
    assert isinstance(made.not_copied, NotCopied)
    assert str(made.not_copied) == "NOTCOPIED it took a write, but expected 2 replicas to have it after 50 ms, got 1"
    assert "NEXTCLICK_REDIS__WAIT_REPLICAS" in advice(made.not_copied)


def test_what_every_node_is_asked_has_one_answer() -> None:
    first, second = NODES[:2]
    assert together(("DBSIZE",), [(first, 3), (second, 4)]) == 7
    refused = redis.ResponseError("MISCONF no room")
    assert together(("PING",), [(first, b"PONG"), (second, refused)]) is refused
    memory = [b"used_memory:10\r\nmaxmemory:100\r\n", b"used_memory:20\r\nmaxmemory:1000\r\n"]
    assert together(("INFO", "memory"), list(zip(NODES, memory, strict=False))) == memory[0]
