"""Parts of the profile that its figures stand on."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import orjson
import pytest

from nextclick.bench.accounting import Accounts, Spent, Usage, look, parse_machine, parse_stat, spent_between
from nextclick.bench.load import questions_of, summarise, write_targets
from nextclick.bench.profile import SENDER, Profile, doubts, profile_rows
from nextclick.bench.shop_traffic import make_traffic
from replay.engine.template import GATEWAY_TEMPLATE

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
STAT = (
    f"42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 {2 * TICKS} {TICKS} {TICKS} {TICKS} 20 0 9 0 77 1000 256 18446744073709551615"
)


def test_a_stat_line_gives_processor_time_with_ended_children_and_memory_whatever_the_name_holds() -> None:
    assert parse_stat(STAT) == Usage(5.0, 256 * PAGE)


def test_a_process_that_works_is_seen_to_work() -> None:
    before = look({"this": os.getpid(), "gone": 2**22 + 1})
    while look({"this": os.getpid()}).by_name["this"].cpu_s - before.by_name["this"].cpu_s < 0.05:
        sum(range(10_000))
    assert list(before.by_name) == ["this"]
    assert before.by_name["this"].resident_bytes > 1_000_000


def test_a_process_that_began_anew_counts_from_nothing() -> None:
    before = Accounts(10.0, {"gateway-0": Usage(5.0, 0), "trends": Usage(9.0, 0)})
    after = Accounts(12.0, {"gateway-0": Usage(6.0, 0), "trends": Usage(0.5, 0), "index": Usage(0.25, 0)})
    found = spent_between(before, after)
    assert found == Spent(2.0, {"gateway-0": 1.0, "trends": 0.5, "index": 0.25})
    assert (found.share("gateway-0"), found.total_s) == (50.0, 1.75)


def test_what_others_used_is_the_machines_less_the_stacks_and_our_own() -> None:
    before = Accounts(10.0, {"redis": Usage(1.0, 0)}, machine_s=100.0, own_s=4.0)
    found = spent_between(before, Accounts(14.0, {"redis": Usage(2.0, 0)}, machine_s=107.0, own_s=6.0))
    assert (found.others_s, found.others_cores) == (4.0, 1.0)


def test_busy_time_of_the_machine_leaves_idle_and_waiting_out_and_counts_what_the_host_took() -> None:
    ticks = [n * TICKS for n in (5, 1, 2, 99, 7, 1, 1, 3, 4)]  # user nice system idle waiting hard soft stolen guest
    assert parse_machine(f"cpu  {' '.join(map(str, ticks))} 0\ncpu0 1 2 3\n") == 13.0


def test_what_is_used_when_idle_is_not_counted_as_spent_on_requests() -> None:
    idle, asked = Spent(5.0, {"gateway-0": 0.0, "trends": 0.5}), Spent(10.0, {"gateway-0": 4.0, "trends": 2.0})
    assert asked.each_us(1000, idle) == {"gateway-0": 4000.0, "trends": 1000.0}
    assert asked.each_us(1000) == {"gateway-0": 4000.0, "trends": 2000.0}


def _result(seq: int, at: str, latency_ms: float, code: int = 200, body: object = None, **more: object) -> bytes:
    raw = base64.b64encode(orjson.dumps(body)).decode() if body is not None else ""
    stamp = f"2026-11-28T06:00:{at}Z"
    return orjson.dumps(
        {"seq": seq, "code": code, "timestamp": stamp, "latency": int(latency_ms * 1e6), "body": raw, **more}
    )


def test_latency_counts_from_when_a_request_was_due_and_refusals_and_losses_apart() -> None:
    whole, partly = (
        {"degraded": [], "timings_us": {"total": 100}},
        {"degraded": ["rerank"], "timings_us": {"total": 300}},
    )
    lines = [
        _result(1, "00.600000000", 5.0, body=partly),  # due at .5, sent 100 ms late
        _result(0, "00.000000001", 5.0, body=whole),
        _result(2, "01", 1.0, 503, headers={"Retry-After": ["1"]}),
        _result(3, "01.5", 0.0, 0, error="connection refused"),
    ]
    found = summarise(lines, rate=2.0, seconds=2.0)
    np.testing.assert_allclose(sorted(found.latency_ms), [5.0, 105.0], atol=1e-3)
    np.testing.assert_allclose(found.took_ms, [5.0, 5.0])
    assert (found.sent, found.answered, found.refused, found.errors) == (4, 2, 1, 1)
    assert (found.degraded, found.retry_after, found.stages_us) == (1, 1, {"total": 200.0})
    assert found.statuses == {"200": 2, "503": 1, "connection refused": 1}


def test_targets_ask_as_the_template_says(tmp_path: Path) -> None:
    assert GATEWAY_TEMPLATE.recommendations is not None
    path = tmp_path / "targets.jsonl"
    questions = questions_of(["one", "two"], limit=5)
    assert write_targets(path, "http://x:1/", GATEWAY_TEMPLATE.recommendations, questions) == 2
    first = orjson.loads(path.read_bytes().splitlines()[0])
    assert (first["method"], first["url"]) == ("POST", "http://x:1/api/recommendations/homepage")
    assert orjson.loads(base64.b64decode(first["body"])) == {"session_id": "one", "limit": 5, "after": None}


def test_a_shop_larger_than_the_demos_is_several_with_items_and_sessions_of_their_own() -> None:
    traffic = make_traffic(12_000, 40, now_ms=1_800_000_000_000)
    ids = [item_id for item_id, _ in traffic.items]
    assert (len(ids), len(set(ids)), len(traffic.sessions)) == (12_000, 12_000, 40)
    assert {event["item_id"] for event in traffic.events} <= set(ids)
    times = [event["ts"] for event in traffic.events]
    assert times == sorted(times)
    assert times[-1] <= 1_800_000_000_000
    clicks = traffic.clicks("r")
    assert [next(clicks)["event_id"] for _ in range(3)] == ["r-0", "r-1", "r-2"]


def test_the_rows_of_a_profile_sum_processes_and_keep_the_load_generator_apart() -> None:
    idle = Spent(1.0, {"gateway-0": 0.1})
    asked = Spent(2.0, {"gateway-0": 1.2, SENDER: 0.5})
    clicked = Spent(1.0, {"gateway-0": 0.2, SENDER: 0.1})
    loaded = summarise([_result(0, "00.5", 4.0, body={"degraded": [], "timings_us": {"rules": 7}})], 1.0, 1.0)
    rows = {row.name: row.value for row in profile_rows(Profile(idle, asked, 1000, clicked, 1000, loaded, 2.0))}
    assert rows["request: gateway-0"] == pytest.approx(1000.0)
    assert rows["request: all"] == pytest.approx(1500.0)
    assert rows["request: all without the load generator"] == pytest.approx(1000.0)
    assert rows["request: all, idle use counted"] == pytest.approx(1700.0)
    assert rows["click: all without the load generator"] == pytest.approx(100.0)
    assert (rows["idle: all"], rows["stage: rules"], rows["p99 from intended time"]) == (10.0, 7.0, 4.0)


def test_figures_of_a_busy_machine_or_of_degraded_answers_are_not_to_be_relied_on() -> None:
    idle, quiet = Spent(1.0, {"trends": 0.1}), Spent(2.0, {"trends": 1.0})
    good = summarise([_result(0, "00.5", 4.0, body={"degraded": []})], 1.0, 1.0)
    bad = summarise([_result(0, "00.5", 4.0, body={"degraded": ["rerank"]}), _result(1, "01.5", 1.0, 503)], 1.0, 2.0)
    assert doubts(Profile(idle, quiet, 1, quiet, 1, good, 1.0)) == []
    busy = Spent(2.0, {"trends": 0.1}, others_s=3.0)
    assert doubts(Profile(idle, busy, 2, quiet, 1, bad, 1.0)) == [
        "other processes kept 1.5 cores busy (queues, and loops that turn less often)",
        "1 of 2 requests were refused or lost, and cost little",
        "100.0% of the answers are degraded, and left work out",
        "trends used less under requests than when idle",
    ]
