from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, SettingsError
from contracts.settings import ServiceSettings
from nextclick.cli import groups
from replay.engine.choices import Ask
from replay.engine.options import PlayOptions, Questions
from replay.engine.pacer import FixedRate
from replay.engine.run import play_recording
from replay.measure.answer_log import read_answers
from replay.measure.drops import Drops
from replay.measure.histogram import Histogram
from replay.report.diff import changes, check, parse_conditions, share_change
from replay.report.diff_lists import NO_RULE, NOT_TOLD, A, Answer, B, Comparing, ListsCompared
from replay.report.diff_live import Side, play_both
from tests.replay.target_server import Arrivals, target_server
from tests.replay.test_live import answer, recording

TYPED = CliRunner()


def compare_lists(a: Mapping[int, Answer], b: Mapping[int, Answer], *, seed: int = 0) -> ListsCompared:
    """Compare two targets' answers, by the question's place in the schedule."""
    comparing = Comparing()
    for side, answers in ((A, a), (B, b)):
        for question, one in answers.items():
            comparing.add(side, question, one)
    return comparing.result(seed=seed)


def result(values_ms: Any, *, hits: int = 300, failed: int = 0) -> dict[str, Any]:
    histogram = Histogram.of(np.asarray(values_ms, dtype=np.float64)).as_json()
    answers = {"questions": 1000, "hits": hits, "errors": {}}
    counts = {"accepted": 1000 - failed, "scheduled": 1000, "failed": {"status 503": failed} if failed else {}}
    series = {"answers_degraded": [10, 20]}
    return {**counts, "latency": {}, "answers": answers, "series": series, "histograms": {"events": histogram}}


def slow(factor: float = 1.0, seed: int = 1) -> Any:
    return np.random.default_rng(seed).lognormal(1.0, 0.6, 5000) * factor


def by_metric(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    return {change.metric: change for change in changes(a, b)}


def test_the_same_run_twice_has_no_clear_difference() -> None:
    found = by_metric(result(slow()), result(slow(seed=2)))
    assert set(found) == {"events_p50", "events_p90", "events_p99", "errors", "degraded", "hit_rate"}
    assert [name for name, change in found.items() if change.clear] == []
    assert all(change.low <= change.difference <= change.high for change in found.values())


def test_a_slower_run_is_clearly_slower_by_as_much_as_it_is() -> None:
    found = by_metric(result(slow()), result(slow(1.3, seed=2)))
    median = found["events_p50"]
    assert median.clear
    assert median.relative == pytest.approx(0.3, abs=0.06)
    assert median.low < 0.3 * median.a < median.high
    assert (median.unit, found["hit_rate"].clear) == ("ms", False)


@settings(max_examples=40, deadline=None)
@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_the_interval_of_a_shares_difference_holds_the_truth_most_of_the_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    draws = rng.binomial(400, (0.30, 0.36), size=(200, 2))
    found = [share_change("x", (int(a), 400), (int(b), 400)) for a, b in draws]
    inside = np.mean([one.low <= 0.06 <= one.high for one in found])
    assert inside >= 0.88


def test_newcombes_published_example() -> None:
    # Newcombe 1998, table II, (a): 56/70 against 48/80, method 10 gives 0.0524 to 0.3339
    change = share_change("x", (48, 80), (56, 70))
    assert (round(change.difference, 4), round(change.low, 4), round(change.high, 4)) == (0.2, 0.0524, 0.3339)


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("events_p50<+40%", True),
        ("events_p50<+20%", False),
        ("events_p50<0.5ms", False),
        ("hit_rate>-0.05", True),
        ("hit_rate>-1%", False),
        ("errors<=0", True),
        ("answers_p99<10ms", False),  # not measured
        ("overlap@20>=0.8, same_first>0.5", True),
        ("overlap@20>=0.9", False),
        ("hit_rate.low>-0.08, hit_rate.high<0.05", True),
        ("hit_rate.low>-0.05", False),
        ("events_p50.high<+45%, events_p50.low>+15%", True),
        ("events_p50.high<+30%", False),
        ("overlap@20.low>=0.8", True),
        ("overlap@20.low>=0.83", False),
        ("same_first.low>0", False),  # not measured here
    ],
)
def test_conditions_decide(text: str, ok: bool) -> None:
    found = changes(result(slow()), result(slow(1.3, seed=2), hits=280))
    lists = {"overlap@20": 0.85, "overlap@20:low": 0.81, "same_first": 0.6}
    assert all(one.ok for one in check(parse_conditions(text), found, lists)) is ok


@pytest.mark.parametrize("text", ["p99", "p99<10", "hit_rate<5ms", "p99<<1ms", "p99.middle<1", "dropped_seen<5%"])
def test_a_condition_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        parse_conditions(text)


def test_lists_are_compared_by_what_both_show_and_where() -> None:
    a = {n: Answer(f"s{n % 3}", ("a", "b", "c"), ("near", "near", "trending"), hit=True) for n in range(6)}
    b = {n: Answer(f"s{n % 3}", ("b", "a", "d"), ("near", "near", "new"), hit=n < 3) for n in range(1, 7)}
    found = compare_lists(a, b)
    assert found.questions == 5
    assert found.overlap[5].value == pytest.approx(2 / 3)
    assert (found.same_first.value, found.same_list.value, found.rank_change.value) == (0.0, 0.0, 1.0)
    assert (found.only_a, found.only_b) == ({"trending": 5}, {"new": 5})
    assert found.hit_difference.value == pytest.approx(-3 / 5)
    same = compare_lists(a, a)
    assert (same.overlap[20].value, same.overlap[20].low, same.same_list.value) == (1.0, 1.0, 1.0)
    assert compare_lists(a, {}).questions == 0
    assert compare_lists(a, {}).metrics()["overlap@5"] == 0.0


def test_what_one_alone_shows_is_put_down_to_the_rule_that_took_it_from_the_other() -> None:
    sold_out: dict[str, Any] = {"counts": {"out_of_stock": 2}, "dropped": {"b": "out_of_stock", "q": "out_of_stock"}}
    nothing: dict[str, Any] = {"counts": {}, "dropped": {}}
    a = {n: Answer(f"s{n}", ("a", "b", "c"), ("", "", ""), **nothing) for n in range(4)}
    b = {n: Answer(f"s{n}", ("a", "d", "e"), ("", "", ""), **sold_out) for n in range(3)}
    b[3] = Answer("s3", ("a", "b"), ("", ""), counts=None, dropped=None)
    found = compare_lists(a, b)
    rule = found.rules["out_of_stock"]
    assert (rule.a, rule.b, rule.difference.value) == (0.0, 1.5, 1.5)
    assert (rule.gone_in_a, rule.gone_in_b, rule.named_in_b) == (0, 3, {"b": 3})
    assert (found.rules[NO_RULE].gone_in_b, found.rules[NO_RULE].named_in_b) == (3, {"c": 3})
    assert found.rules[NO_RULE].named_in_a == {"d": 3, "e": 3}
    assert found.rules[NOT_TOLD].named_in_b == {"c": 1}
    assert next(iter(found.rules)) == "out_of_stock"
    assert found.metrics()["dropped_out_of_stock"] == 1.5


def test_drops_of_two_runs_are_compared_by_rule_with_an_interval() -> None:
    def run(*answers: dict[str, int]) -> dict[str, Any]:
        drops = Drops()
        for told in answers:
            drops.add(told)
        whole = result([1.0])
        return {**whole, "answers": {**whole["answers"], "dropped": drops.as_json()}}

    a = run(*[{"seen": 2}] * 300, *[{"seen": 4}] * 100)
    b = run(*[{"seen": 2, "out_of_stock": 3}] * 200, *[{}] * 200)
    found = by_metric(a, b)
    seen, stock = found["dropped_seen"], found["dropped_out_of_stock"]
    assert (seen.a, seen.b, seen.difference, seen.unit, seen.clear) == (2.5, 1.0, -1.5, "count", True)
    # variances .75 and 1 of 400 answers each: 1.96 * sqrt(1.75 / 400) = .1296
    assert (round(seen.low, 3), round(seen.high, 3)) == (-1.63, -1.37)
    assert (stock.a, stock.b) == (0.0, 1.5)
    assert not [name for name in by_metric(result([1.0]), b) if name.startswith("dropped")]
    assert [
        one.ok for one in check(parse_conditions("dropped_seen<0, dropped_out_of_stock.high<1"), list(found.values()))
    ] == [True, False]


async def test_two_targets_get_the_same_schedule_and_are_asked_the_same(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 2b 1c 1d 2e")
    ours, theirs = Arrivals(recommend=lambda _: answer("c", "e")), Arrivals(recommend=lambda _: answer("e", "x"))
    because = answer("c", "e")
    because["recommendations"][0]["reason"] = 'similar to "a boot" that you viewed'
    ours.recommend = lambda _: because
    theirs.recommend = lambda _: answer("e", "x", dropped={"seen": 1}, dropped_items={"seen": ["c"]})
    told: list[dict[str, Any]] = []
    async with target_server(ours) as (_, url_a), target_server(theirs) as (_, url_b):
        options = PlayOptions(path, pace=FixedRate(100), questions=Questions(baselines=False))
        both = await play_both(options, Side(url_a), Side(url_b), on_difference=told.append)
    a, b, lists = both.a, both.b, both.lists
    assert sorted(ours.ids()) == sorted(theirs.ids())
    assert ours.by_session() == theirs.by_session()
    asked = [sorted(ask["session_id"] for ask in arrivals.asks) for arrivals in (ours, theirs)]
    assert asked[0] == asked[1]
    assert all(ask["explain"] for ask in ours.asks)
    assert (a.accepted, b.accepted, a.lost, b.lost) == (5, 5, 0, 0)
    assert lists.questions == 3
    assert lists.overlap[5].value == pytest.approx(1 / 2)  # of two items each
    assert lists.hit_difference.value == pytest.approx(-1 / 3)  # c and e against e
    assert (lists.only_a, lists.only_b) == ({"similar to … that you viewed": 3}, {"none given": 3})
    assert (lists.rules["seen"].b, lists.rules["seen"].named_in_b) == (1.0, {"c": 3})
    assert (lists.rules[NOT_TOLD].named_in_a, b.answers is not None) == ({"x": 3}, True)
    assert len({one["question"] for one in told}) == 3
    assert [(one["only_a"], one["only_b"]) for one in told] == [({"c": "seen"}, {"x": NOT_TOLD})] * 3
    assert b.answers is not None
    assert b.answers.dropped == {"answers": 3, "rules": {"seen": {"candidates": 3, "answers": 3, "squares": 3}}}


async def test_a_gateway_is_compared_with_what_a_template_describes(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1c")
    template = tmp_path / "other.toml"
    template.write_text(
        '[recommendations]\npath = "/api/recommendations/homepage"\nitems = "/recommendations/*/product_id"'
        '\n[recommendations.body]\nsession_id = "{session_id}"'
    )
    ours, theirs = Arrivals(recommend=lambda _: answer("b")), Arrivals(recommend=lambda _: answer("c"))
    async with target_server(ours) as (_, url_a), target_server(theirs) as (_, url_b):
        options = PlayOptions(path, pace=FixedRate(100), questions=Questions(baselines=False))
        both = await play_both(options, Side(url_a), Side(url_b, template))
    assert (both.lists.questions, both.lists.overlap[5].value, both.lists.hit_difference.value) == (2, 0.0, 0.0)
    assert (len(theirs.events), theirs.asks[0].get("explain")) == (0, None)


async def test_a_target_that_stalls_does_not_hold_the_other_back(tmp_path: Path) -> None:
    path = recording(tmp_path, " ".join(f"{n % 4}i{n}" for n in range(40)))

    async def stall(_request: Any, _batch: Any) -> None:
        await asyncio.sleep(0.4)

    quick, slow_one = Arrivals(recommend=lambda _: answer("a")), Arrivals(recommend=lambda _: answer("a"))
    slow_one.before = stall
    async with target_server(quick) as (_, url_a), target_server(slow_one) as (_, url_b):
        options = PlayOptions(path, pace=FixedRate(200), questions=Questions(share=0.5, baselines=False))
        both = await play_both(options, Side(url_a), Side(url_b))
    assert both.b.latency.p50 > 350.0
    assert both.a.latency.p50 < both.b.latency.p50


def test_the_command_compares_files_and_decides_the_exit_code(tmp_path: Path) -> None:
    app = groups()["replay"]
    for name, factor in (("a", 1.0), ("b", 1.5)):
        (tmp_path / f"{name}.json").write_bytes(orjson.dumps(result(slow(factor))))
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    out = tmp_path / "diff.json"
    outcome = TYPED.invoke(app, ["diff", *files, "--assert", "events_p50<+10%", "-o", str(out)])
    assert outcome.exit_code == 1
    assert "does not hold" in outcome.output
    document = orjson.loads(out.read_bytes())
    assert document["checks"][0]["held"] is False
    assert document["changes"][0]["metric"] == "events_p50"
    outcome = TYPED.invoke(app, ["diff", *files, "--assert", "events_p50<+90%,hit_rate>=0"])
    assert outcome.exit_code == 0, outcome.output
    assert isinstance(TYPED.invoke(app, ["diff", "--live", "http://a", "http://b"]).exception, SettingsError)


def moved_away(folder: Path) -> Path:
    return folder.rename(folder.with_name(f"{folder.name}-moved"))


async def test_answers_that_two_runs_have_kept_are_compared_as_live_ones_are(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 2b 1c 1d 2e")
    told = {"a": answer("c", "e", dropped={}, dropped_items={}),
            "b": answer("e", "x", dropped={"seen": 1}, dropped_items={"seen": ["c"]})}  # fmt: skip
    for name, shown in told.items():
        arrivals = Arrivals(recommend=lambda _, shown=shown: shown)  # type: ignore[misc]
        async with target_server(arrivals) as (_, url):
            options = PlayOptions(path, url, pace=FixedRate(100), questions=Questions(baselines=False))
            answers = tmp_path / f"{name}.jsonl.zst"
            result = await play_recording(replace(options, answers=answers, run=name), ServiceSettings())
            result.write(tmp_path / f"{name}.json")
        assert all(ask["explain"] for ask in arrivals.asks)
    app = groups()["replay"]
    files = [str(tmp_path / f"{name}.json") for name in told]
    lines, out = tmp_path / "lines.jsonl", tmp_path / "diff.json"
    typed = ["diff", *files, "--per-question", str(lines), "-o", str(out), "--assert", "overlap@5>0.4,hit_difference<0"]
    outcome = TYPED.invoke(app, typed)
    assert outcome.exit_code == 0, outcome.output
    lists = orjson.loads(out.read_bytes())["lists"]
    assert (lists["questions"], lists["overlap"]["5"]["value"]) == (3, pytest.approx(1 / 2))
    assert lists["rules"]["seen"]["named_in_b"] == {"c": 3}
    assert [orjson.loads(line)["only_a"] for line in lines.read_bytes().splitlines()] == [{"c": "seen"}] * 3
    moved = moved_away(tmp_path)  # answers are found beside their result
    outcome = TYPED.invoke(app, ["diff", str(moved / "a.json"), str(moved / "a.json"), "--assert", "same_list>=1"])
    assert outcome.exit_code == 0, outcome.output
    (moved / "a.jsonl.zst").unlink()
    outcome = TYPED.invoke(app, ["diff", str(moved / "a.json"), str(moved / "b.json"), "--assert", "same_list>=0"])
    assert (outcome.exit_code, "does not hold same_list>=0: not measured" in outcome.output) == (1, True)
    typed = ["diff", str(moved / "a.json"), str(moved / "b.json"), "--per-question", "x"]
    assert isinstance(TYPED.invoke(app, typed).exception, SettingsError)


def test_a_file_that_holds_no_answers_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.zst").write_bytes(b"nothing of the kind")
    with pytest.raises(ImportFormatError, match=r"x.jsonl.zst:1: expected answers of a replay"):
        list(read_answers(tmp_path / "x.jsonl.zst"))
    with pytest.raises(ImportFormatError, match="No such file"):
        list(read_answers(tmp_path / "y.jsonl.zst"))


@pytest.mark.parametrize("more", [{"workers": 2}, {"questions": None}, {"questions": Questions(when=Ask.PAGE)}])
async def test_answers_are_kept_of_questions_before_clicks_in_one_process(more: dict[str, Any], tmp_path: Path) -> None:
    options = PlayOptions(recording(tmp_path, "1a"), questions=Questions(), answers=tmp_path / "x")
    with pytest.raises(SettingsError, match="--answers: expected --recommend, asked before clicks, and one worker"):
        await play_recording(replace(options, **more), ServiceSettings())
