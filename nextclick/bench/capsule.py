"""What consent and capsules cost: the questions asked of every request and event, a capsule's making and reading, and a
request with a capsule beside one of a kept session.

    python -m nextclick.bench.capsule [--rounds 400]

Processor time of one thread. A request with a capsule is asked right before or after one of the kept session with the
same clicks; decoding of the stored session counts with the latter. Writes build/bench/capsule.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from contracts.codec import decode_session, encode_session
from contracts.plain_events import PlainEvent
from contracts.sessions import Session
from gateway.consents import Consents, Refusals
from gateway.events import sort_plain
from nextclick.bench.pipeline import NOW, Shop, shop
from nextclick.bench.report import BenchRow, expect_bench, finish
from rerank.pipeline import Query
from rights.capsule import decode_capsule, encode_capsule, ring_of
from rights.consent import Rules

ITEMS: Final = 18_000
GAP_MS: Final = 1_800_000
RING: Final = ring_of("bench", b"k" * 32)
_CALLS: Final = 20_000


def each_ns(call: Callable[[], object]) -> float:
    """Return the processor time of one call, nanoseconds: the median of nine turns."""
    turns = []
    for _ in range(9):
        began = time.thread_time_ns()
        for _ in range(_CALLS):
            call()
        turns.append((time.thread_time_ns() - began) / _CALLS)
    return float(np.median(turns))


def cost_of_asking() -> list[BenchRow]:
    """Return what it costs to ask whether a request, and each of 20 events, may be kept."""
    events = [(PlainEvent(1, f"e{at}", "view", "s", NOW, item_id="i"), b"{}") for at in range(20)]
    headers: dict[str, str] = {}
    plain, some = Consents(Rules(), Refusals()), Refusals()
    some.apply([(at, b"\x01") for at in range(1, 100_000)])
    refused = Consents(Rules(), some)
    alone = each_ns(lambda: sort_plain(events))
    return [
        BenchRow("a request: whether it may be kept", each_ns(lambda: plain.given(None, "u-1", headers)), "ns"),
        BenchRow("the same, 100,000 users refused", each_ns(lambda: refused.given(None, "u-1", headers)), "ns"),
        *(
            BenchRow(
                f"an event of 20, added: {name}",
                (each_ns(lambda one=one: sort_plain(events, one.refused(headers))) - alone) / 20,  # type: ignore[misc]
                "ns",
            )
            for name, one in (("nobody refused", plain), ("100,000 users refused", refused))
        ),
    ]


def cost_of_requests(made: Shop, rounds: int) -> list[BenchRow]:
    """Return what requests take, in pairs: of kept sessions, and with the same sessions in capsules."""
    visitors: Sequence[Session] = [one for one in made.visitors if len(one.window)]
    took: dict[str, list[float]] = {"kept": [], "capsule": []}
    lengths = []
    for turn in range(-20, rounds):
        session = visitors[turn % len(visitors)]
        stored, carried = encode_session(session), encode_capsule(RING, session)
        names = ("kept", "capsule") if turn % 2 else ("capsule", "kept")
        for name in names:
            began = time.thread_time_ns()
            if name == "kept":
                found: Session | None = decode_session(session.session_id, stored)
            else:
                found = decode_capsule(RING, carried, session.session_id, now_ms=session.last_ms, idle_gap_ms=GAP_MS)
            made.pipeline.recommend([Query(NOW, session=found)])
            if name == "capsule":
                encode_capsule(RING, found)
            if turn >= 0:
                took[name].append((time.thread_time_ns() - began) / 1000)
        lengths.append(len(carried))
    kept, capsule = (float(np.median(took[name])) for name in ("kept", "capsule"))
    ratios = np.array(took["capsule"]) / np.array(took["kept"])
    return [
        BenchRow(f"{ITEMS:,} items: a request of a kept session", kept, "us"),
        BenchRow("the same with a capsule", capsule, "us"),
        BenchRow("ratio, median of pairs", float(np.median(ratios)), ""),
        BenchRow("clicks of a session", float(np.median([len(one.window) for one in visitors])), ""),
        BenchRow("a capsule", float(np.median(lengths)), "characters"),
    ]


def cost_of_capsules(made: Shop) -> list[BenchRow]:
    """Return what making and reading a full capsule costs."""
    session = max(made.visitors, key=lambda one: len(one.window))
    text = encode_capsule(RING, session)
    read = each_ns(lambda: decode_capsule(RING, text, "s", now_ms=session.last_ms, idle_gap_ms=GAP_MS))
    return [
        BenchRow(f"reading a capsule of {len(session.window)} clicks", read / 1000, "us"),
        BenchRow("making it", each_ns(lambda: encode_capsule(RING, session)) / 1000, "us"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.capsule", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    expect_bench("capsule")
    made = shop(ITEMS)
    rows = [*cost_of_asking(), *cost_of_capsules(made), *cost_of_requests(made, options.rounds)]
    finish("capsule", rows, "make bench-capsule")


if __name__ == "__main__":
    main()
