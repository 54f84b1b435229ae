"""Answers of a real gateway that were kept are made again, byte for byte, and say why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.answer_records import FILE_MS, drop_old, files_in
from gateway.explained import NotKept, explained
from gateway.keys import RECOMMENDER
from gateway.settings import AnswerOptions
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.version import DataRange
from tests.gateway.conftest import Client, Start, event
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import publish, stock_up

SCENARIOS: dict[str, dict[str, Any]] = {
    "cheap": {"filter": 'price < 65 and brand == "B1"'},
    "boosted": {"boosts": [{"if": "price > 30", "multiply": 2, "why": "deal"}], "fields": ["title", "price"]},
    "mixed": {"diversity": 0.5, "explore": 0.4, "limits": [{"field": "brand", "most": 2}]},
    "pinned": {"pins": [{"item_id": "shoe-8", "position": 2, "why": "of the week"}], "bury": ["shoe-1"]},
    "fresh": {"new_share": 0.5, "popularity_debias": 0.3},
}
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"limit": 3, "explain": True},
    {"item_id": "shoe-2", "exclude": ["shoe-4"]},
    {"filter": "price > 15", "limit": 4, "fields": ["title", "category"]},
    {"candidates": ["shoe-3", "shoe-1", "shoe-7"]},
    {"context": {"region": "DE", "age": 30, "device": "mobile"}, "user_id": "anna"},
    {"recent_events": [event("e-9", session_id="s", item_id="shoe-5")]},
]


async def written(client: Client) -> None:
    """Wait until what was answered is kept."""
    keeper = client.app[RECOMMENDER].keeper
    assert keeper is not None
    await keeper.close(30.0)


async def test_answers_of_every_scenario_are_made_again_byte_for_byte(
    start: Start, streams: Streams, tmp_path: Path
) -> None:
    client = await start(answers=AnswerOptions(to=str(tmp_path)))
    await stock_up(client)
    for name, document in SCENARIOS.items():
        await publish(client, name, document)
    variants = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "scenario": "boosted"}]
    split = {"allocation": {"kind": "interleaving"}, "variants": variants}
    body = {"scenario": "homepage", **split}
    experiment = await client.put("/api/experiments/x", json=body)
    assert experiment.status == 200, await experiment.text()
    bodies: dict[str, bytes] = {}
    for turn, name in enumerate(("homepage", "product", "cart", "search", *SCENARIOS)):
        for at, question in enumerate(QUESTIONS[turn % 2 :: 2]):
            asked = {"session_id": "s" if "recent_events" in question else f"s-{at}", **question}
            answer = await client.post(f"/api/recommendations/{name}", json=asked)
            assert answer.status == 200, await answer.text()
            bodies[(await answer.json())["request_id"]] = await answer.read()
    for item_id in ("shoe-1", "shoe-2"):
        assert (await client.put(f"/api/items/{item_id}", json={"title": "Other", "category": "b"})).status == 202
    await written(client)
    assert len(bodies) == 32
    for request_id, said in bodies.items():
        found = explained(tmp_path, request_id, lambda _: None)
        assert found.body == said
        assert found.is_same, (found.differs(), found.body, found.again)
    assert any(len(explained(tmp_path, one, lambda _: None).pages) == 2 for one in bodies)


async def test_why_not_is_said_of_a_past_answer(start: Start, streams: Streams, tmp_path: Path) -> None:
    client = await start(answers=AnswerOptions(to=str(tmp_path)))
    await stock_up(client)
    await publish(client, "boosted", SCENARIOS["boosted"])
    asked = {"session_id": "s", "limit": 2, "candidates": [f"shoe-{n}" for n in range(1, 9)]}
    answer = await (await client.post("/api/recommendations/boosted", json=asked)).json()
    shown = [one["item_id"] for one in answer["recommendations"]]
    await written(client)
    found = explained(tmp_path, answer["request_id"], lambda _: None)
    assert found.why_not(shown[1]).position == 2
    missing = next(one for one in asked["candidates"] if one not in shown)  # type: ignore[attr-defined]
    told = found.why_not(missing)
    assert told.verdict in ("outranked", "held_back")
    assert told.changes
    assert found.why_not("boot-1").verdict == "no_candidate"


async def test_only_the_share_that_is_asked_for_is_kept(start: Start, streams: Streams, tmp_path: Path) -> None:
    client = await start(answers=AnswerOptions(to=str(tmp_path), share=0.5))
    await stock_up(client)
    asked = [
        await (await client.post("/api/recommendations/homepage", json={"session_id": "s"})).json() for _ in range(20)
    ]
    await written(client)
    kept = 0
    for one in asked:
        wanted = int(one["request_id"][:8], 16) < 2**31
        try:
            explained(tmp_path, one["request_id"], lambda _: None)
            kept += 1
            assert wanted
        except NotKept:
            assert not wanted
    assert 0 < kept < 20


def test_an_answer_that_is_not_kept_says_why_that_may_be(tmp_path: Path) -> None:
    with pytest.raises(NotKept, match="is not among the 0 files"):
        explained(tmp_path, "0" * 31 + "1", lambda _: None)
    with pytest.raises(NotKept, match="expected a request id of 32 hex digits"):
        explained(tmp_path, "none", lambda _: None)


def test_old_files_go_and_the_oldest_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    names = [f"answers-20260101T{hour:02}0000-1.kept" for hour in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 100)
    (tmp_path / "answers-notes.kept").write_bytes(b"x")
    begun = 1_767_225_600_000
    drop_old(tmp_path, begun + FILE_MS + 1, 10_000)
    assert [path.name for path in files_in(tmp_path)] == names[1:]
    drop_old(tmp_path, 0, 150)
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[3], "answers-notes.kept"]


async def test_a_record_that_was_cut_short_ends_its_file(start: Start, streams: Streams, tmp_path: Path) -> None:
    client = await start(answers=AnswerOptions(to=str(tmp_path)))
    await stock_up(client)
    first, last = [
        (await (await client.post("/api/recommendations/homepage", json={"session_id": "s"})).json())["request_id"]
        for _ in range(2)
    ]
    await written(client)
    [path] = files_in(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    assert explained(tmp_path, first, lambda _: None).is_same
    with pytest.raises(NotKept):
        explained(tmp_path, last, lambda _: None)


async def test_the_command_says_what_made_an_answer_and_why_an_item_was_not_in_it(
    start: Start, streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "models")
    version = registry.add(ARTIFACTS, now_ms=1, note="of November", data=DataRange(sources=["day.jsonl.zst"], events=7))
    registry.publish(version.name, now_ms=2)
    kept, artifacts = tmp_path / "kept", str(tmp_path / "models" / "serving")
    client = await start(artifacts=artifacts, answers=AnswerOptions(to=str(kept)))
    await stock_up(client)
    asked = {"session_id": "s", "limit": 2, "recent_events": [event("e-9", session_id="s", item_id="shoe-5")]}
    answer = await (await client.post("/api/recommendations/homepage", json=asked)).json()
    await written(client)
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", artifacts)
    monkeypatch.setenv("COLUMNS", "200")
    status, said = run(answer["request_id"], "--from", str(kept), "--item", "shoe-5", "--item", "boot-9")
    assert status == 0, said
    for told in (version.name, "day.jsonl.zst", answer["model_version"], str(version.reranker), "homepage, version 0"):
        assert told in said
    assert "shoe-5: It was dropped by seen." in said
    assert "boot-9: It was no candidate" in said
    assert re.search(r"Made again: the same, [\d,]+ bytes\.", said)
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", "")
    status, said = run(answer["request_id"], "--from", str(kept), "--folder", str(tmp_path / "none"))
    assert (status, "scores by the re-ranker read back" in said) == (0, True)
    status, said = run("0" * 32, "--from", str(kept))
    assert status == 1
    assert "is not among the 1 files of kept answers" in said


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(build_app("explain"), ["explain", *words])
    return found.exit_code, found.output or str(found.exception)
