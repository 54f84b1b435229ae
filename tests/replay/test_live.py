from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from contracts.settings import ServiceSettings
from evaluation.baselines import CoVisitation, Popularity
from eventlog.files import write_events
from replay.engine.choices import GATEWAY, Ask, SeenItems, Times
from replay.engine.pacer import FixedRate
from replay.engine.play import Limits
from replay.engine.run import PlayOptions, Questions, new_run_name, play_recording
from replay.measure.hit_rates import ALL, FRESH, NEW, score
from tests.replay.target_server import Arrivals, target_server


def click(n: int, session: str, item: str) -> dict[str, Any]:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": item}
    return {**fields, "ts": 1_700_000_000_000 + n * 10}


def recording(folder: Path, clicks: str, name: str = "day.jsonl.zst") -> Path:
    """`1a 2b 1c`: session 1 clicks a, session 2 clicks b, session 1 clicks c."""
    write_events(folder / name, [click(n, one[0], one[1:]) for n, one in enumerate(clicks.split())])
    return folder / name


def answer(*items: str, **more: Any) -> dict[str, Any]:
    shown = [{"product_id": item, "score": 1.0, "reason": "", "position": n} for n, item in enumerate(items, start=1)]
    fields = {"recommendations": shown, "model_version": "m1", "degraded": [], "timings_us": {"total": 1500}}
    return {**fields, "session": {"events": 1, "age_ms": 5}, **more}


def options(path: Path, url: str, **questions: Any) -> PlayOptions:
    pace = FixedRate(200)
    return PlayOptions(path, url, pace=pace, run="r1", limits=Limits(connections=8), questions=Questions(**questions))


async def test_every_click_but_a_sessions_first_is_asked_about_before_it_is_sent(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 2b 1c 1d 2e")
    arrivals = Arrivals(recommend=lambda asked: answer("c", "e"))
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url), ServiceSettings())
    assert sorted(ask["session_id"] for ask in arrivals.asks) == ["r1-1", "r1-1", "r1-2"]
    assert all(ask["limit"] == 20 and ask["placement"] == "homepage" for ask in arrivals.asks)
    tokens = {event["event_id"]: f"p0:{n}" for n, event in enumerate(arrivals.events, start=1)}
    asked = [ask["after"] for ask in arrivals.asks if ask["session_id"] == "r1-1"]
    assert asked == [tokens["r1-e0"], tokens["r1-e2"]]  # each session's own last token
    assert result.hit_rates is not None
    gateway = result.hit_rates.tallies[ALL][GATEWAY]
    assert (gateway.cases, gateway.hits[20]) == (3, 2)
    assert gateway.mrr(20) == pytest.approx((1 + 0.5) / 3)
    assert (result.accepted, result.lost, result.invalid) == (5, 0, ())


async def test_the_answers_are_counted_degraded_stale_short_and_timed(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1c")
    arrivals = Arrivals(recommend=lambda asked: answer("z", degraded=["no_ranker"], stale=True))
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url), ServiceSettings())
    assert result.answers is not None
    assert (result.answers.degraded, result.answers.stale, result.answers.short) == ({"no_ranker": 2}, 2, 2)
    assert result.answers.models == {"m1": 2}
    assert result.answers.stages["total"].p50 == 1.5
    document = orjson.loads(orjson.dumps(result.as_json()))
    assert document["hit_rates"]["by_population"][ALL][GATEWAY]["hit_rate@20"] == 0.0


async def test_on_pages_every_page_is_asked_about_and_the_next_click_is_looked_for_in_its_list(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 2b 1c 1d 2e 3f")
    arrivals = Arrivals(recommend=lambda asked: answer("c", "e"))
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url, when=Ask.PAGE), ServiceSettings())
    assert sorted(ask["session_id"] for ask in arrivals.asks) == ["r1-1"] * 3 + ["r1-2"] * 2 + ["r1-3"]
    tokens = {event["event_id"]: f"p0:{n}" for n, event in enumerate(arrivals.events, start=1)}
    assert sorted(ask["after"] for ask in arrivals.asks) == sorted(tokens.values())  # each page its own event's
    assert result.answers is not None
    assert (result.answers.questions, result.answers.followed, result.answers.hits) == (6, 3, 2)
    assert sum(result.series["answers_count"]) == 6
    assert (sum(result.series["answers_followed"]), sum(result.series["answers_hits"])) == (3, 2)
    assert result.hit_rates is not None
    gateway = result.hit_rates.tallies[ALL][GATEWAY]
    assert (gateway.cases, gateway.hits[20]) == (3, 2)  # c of c, e is 2nd; d of neither
    assert gateway.mrr(20) == pytest.approx((1 + 0.5) / 3)
    assert (result.accepted, result.lost) == (6, 0)


async def test_a_visitor_clicks_on_while_a_page_still_waits_for_its_list(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1c")
    arrivals, all_there = Arrivals(), asyncio.Event()

    async def note(request: web.Request, batch: list[dict[str, Any]]) -> None:
        if len(arrivals.events) + len(batch) == 3:
            all_there.set()

    async def when_all_are_there(asked: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wait_for(all_there.wait(), 60)
        return answer("b")

    arrivals.before, arrivals.recommend = note, when_all_are_there
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url, when=Ask.PAGE), ServiceSettings())
    assert result.answers is not None
    assert (result.accepted, result.answers.questions, result.answers.errors) == (3, 3, {})
    assert (result.answers.followed, result.answers.hits) == (2, 1)  # answered after the clicks that they are held to


async def test_a_share_of_the_pages_is_asked_about(tmp_path: Path) -> None:
    path = recording(tmp_path, " ".join(f"{n % 7}i{n}" for n in range(200)))
    arrivals = Arrivals(recommend=lambda asked: answer("i1"))
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url, when=Ask.PAGE, share=0.25), ServiceSettings())
    assert result.answers is not None
    assert 40 <= len(arrivals.asks) == result.answers.questions <= 60
    assert result.answers.questions - 7 <= result.answers.followed <= result.answers.questions  # 7 sessions end


async def test_what_rules_dropped_is_counted_by_rule(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1c 1d")
    told = iter([{"seen": 2}, {"seen": 1, "out_of_stock": 4}, {}])
    arrivals = Arrivals(recommend=lambda asked: answer("z", dropped=next(told)))
    async with target_server(arrivals) as (_, url):
        result = await play_recording(options(path, url), ServiceSettings())
    assert result.answers is not None
    assert not any("explain" in ask for ask in arrivals.asks)
    assert result.answers.dropped == {
        "answers": 3,
        "rules": {
            "out_of_stock": {"candidates": 4, "answers": 1, "squares": 16},
            "seen": {"candidates": 3, "answers": 2, "squares": 5},
        },
    }


async def test_a_target_that_does_not_tell_what_rules_dropped_has_none(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1c")
    told = iter([answer("z"), answer("z", dropped="nothing")])
    async with target_server(Arrivals(recommend=lambda asked: next(told))) as (_, url):
        result = await play_recording(options(path, url), ServiceSettings())
    assert result.answers is not None
    assert (result.answers.dropped, result.answers.errors) == (None, {"unreadable answer": 1})


async def test_an_answer_that_fails_is_a_miss_and_the_click_is_sent_all_the_same(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b")
    async with target_server(Arrivals()) as (_, url):
        result = await play_recording(options(path, url), ServiceSettings())
    assert result.answers is not None
    assert result.answers.errors == {"status 503": 1}
    assert result.hit_rates is not None
    assert result.hit_rates.tallies[ALL][GATEWAY].cases == 1
    assert result.accepted == 2


async def test_a_share_asks_the_same_clicks_in_every_run(tmp_path: Path) -> None:
    path = recording(tmp_path, " ".join(f"1i{n}" for n in range(200)))
    asked: list[list[str]] = []
    for _ in range(2):
        arrivals = Arrivals(recommend=lambda asked: answer())
        async with target_server(arrivals) as (_, url):
            play = PlayOptions(path, url, pace=FixedRate(2000), time=Times.RECORDED, questions=Questions(share=0.25))
            await play_recording(play, ServiceSettings())
        asked.append([ask["after"] for ask in arrivals.asks])
    assert asked[0] == asked[1]
    assert 40 <= len(asked[0]) <= 60


def test_baselines_answer_the_same_questions_test_then_train(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 2a 2b 3c 3d")
    rates = score(path, {1: 0, 3: 1, 5: 0}, [Popularity(), CoVisitation()])
    by_model = rates.tallies[ALL]
    assert {model: (tally.cases, tally.hits[20]) for model, tally in by_model.items()} == {
        "gateway": (3, 1),
        "popularity": (3, 1),  # knows b by the second time, d never
        "co-visitation": (3, 1),
    }


def test_repeats_are_hidden_from_baselines_as_the_gateway_hides_them_and_reported_apart(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a 1b 1a")
    hidden = score(path, {1: 0, 2: 0}, [Popularity()])
    shown = score(path, {1: 0, 2: 0}, [Popularity()], seen_items=SeenItems.SHOWN)
    assert (hidden.questions, hidden.repeats) == (2, 1)
    assert hidden.tallies[ALL]["popularity"].hits[20] == 0
    assert shown.tallies[ALL]["popularity"].hits[20] == 1
    assert hidden.tallies[FRESH]["popularity"].cases == 1


def test_a_training_log_primes_baselines_and_tells_which_items_are_new(tmp_path: Path) -> None:
    prime = recording(tmp_path, "8a 8b 9a 9b", "day1.jsonl.zst")
    path = recording(tmp_path, "1a 1b 2x 2y 3x 3y")
    rates = score(path, {1: 0, 3: 0, 5: 1}, [CoVisitation()], prime=prime)
    assert rates.tallies[ALL]["co-visitation"].hits[20] == 2
    assert {model: (tally.cases, tally.hits[20]) for model, tally in rates.tallies[NEW].items()} == {
        "gateway": (2, 1),
        "co-visitation": (2, 1),
    }


def test_run_names_differ_by_time() -> None:
    assert new_run_name(36**3) == "r1000"
