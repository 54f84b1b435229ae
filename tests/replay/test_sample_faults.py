"""Faults planted in recordings: each does what it says within its hours, and nothing anywhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import NextclickError, SettingsError
from contracts.events import Rejection
from contracts.items import Item
from contracts.plain_events import decode_event
from eventlog.files import read_header, read_items, read_raw, write_events, write_items
from nextclick.cli import build_app
from replay.sample.faults import FARM_CLICKS, HOUR_MS, Planting, Span, cut, fault_of, plant, plant_in_items

START = 1_700_000_000_000
NOON = START + 12 * HOUR_MS


def a_day() -> list[bytes]:
    """A view every 20 s, a cart every 200 s."""
    found = []
    for number in range(24 * 180):
        kind = "cart" if number % 10 == 0 else "view"
        about = {"v": 1, "event_id": f"e{number}", "type": kind, "session_id": f"s{number // 5}"}
        found.append(orjson.dumps({**about, "item_id": f"i{number % 97}", "ts": START + number * 20_000}))
    return found


DAY = a_day()


def planted(name: str, share: float = 0.0, lines: Iterable[bytes] = DAY) -> tuple[list[bytes], Planting]:
    fault = fault_of(name)
    span = Span(NOON, NOON + 6 * HOUR_MS, share or fault.usual_share)
    planting = Planting(span, np.random.default_rng(1))
    return list(plant(lines, fault, planting)), planting


def in_hours(line: bytes) -> bool:
    return NOON <= orjson.loads(line)["ts"] < NOON + 6 * HOUR_MS


def outside(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if not in_hours(line)]


def test_a_silent_tracker_sends_nothing_of_its_type_in_its_hours() -> None:
    lines, planting = planted("silent-cart")
    assert outside(lines) == outside(DAY)
    inside = Counter(orjson.loads(line)["type"] for line in lines if in_hours(line))
    assert inside == {"view": 6 * 162}
    assert planting.planted == 6 * 18


def test_events_sent_twice_stand_side_by_side() -> None:
    lines, planting = planted("duplicate")
    assert len(lines) == len(DAY) + planting.planted
    assert list(dict.fromkeys(lines)) == DAY
    assert 250 < planting.planted < 400
    assert outside(lines) == outside(DAY)


def test_broken_events_are_refused_for_several_reasons_and_all_others_are_as_they_were() -> None:
    lines, planting = planted("broken", 0.5)
    outcomes = [decode_event(line, now_ms=START + 48 * HOUR_MS) for line in lines]
    reasons = Counter(one.reason for one in outcomes if isinstance(one, Rejection))
    assert set(reasons) == {"not_json", "invalid", "unknown_version"}
    assert sum(reasons.values()) == planting.planted > 400
    assert [line for line in lines if line in set(DAY)] == [line for line in DAY if line in set(lines)]


def test_late_and_future_events_keep_their_place_and_have_another_time() -> None:
    for name, low, high in (("late", -6, -1), ("future", 1, 24)):
        lines, planting = planted(name)
        before = [orjson.loads(line) for line in DAY]
        after = [orjson.loads(line) for line in lines]
        assert [one["event_id"] for one in after] == [one["event_id"] for one in before]
        moved = [new["ts"] - old["ts"] for new, old in zip(after, before, strict=True) if new["ts"] != old["ts"]]
        assert len(moved) == planting.planted > 30
        assert all(low * HOUR_MS <= by < high * HOUR_MS for by in moved)


def test_a_poisoned_day_has_views_of_items_at_random() -> None:
    lines, planting = planted("random-clicks", 1.0)
    assert outside(lines) == outside(DAY)
    items = [orjson.loads(line)["item_id"] for line in lines if in_hours(line)]
    was = [orjson.loads(line)["item_id"] for line in DAY if in_hours(line)]
    assert set(items) <= {f"i{number}" for number in range(97)}
    assert sum(new != old for new, old in zip(items, was, strict=True)) > 0.9 * planting.planted
    assert planting.planted == 6 * 162


def test_a_click_farm_clicks_a_few_items_in_sessions_of_its_own() -> None:
    lines, planting = planted("click-farm")
    added = [orjson.loads(line) for line in lines if line not in set(DAY)]
    assert [line for line in lines if line in set(DAY)] == DAY
    assert len(added) == planting.planted > 400
    assert {one["item_id"] for one in added} <= set(planting.farmed)
    sessions = Counter(one["session_id"] for one in added)
    assert max(sessions.values()) == FARM_CLICKS
    assert all(name.startswith("farm-") for name in sessions)
    times = [orjson.loads(line)["ts"] for line in lines]
    assert times == sorted(times)


def test_a_second_fault_hands_on_what_the_first_one_broke() -> None:
    broken, _ = planted("broken", 1.0)
    lines, _ = planted("silent-view", lines=broken)
    assert set(lines) <= set(broken)
    assert any(not line.endswith(b"}") for line in lines)


def test_items_lose_a_field_and_nothing_else() -> None:
    items = [(f"i{number}", Item(title="T", price=5.0, image_url="u", stock=1)) for number in range(1000)]
    found = dict(plant_in_items(items, "no-price", 0.3, np.random.default_rng(1)))
    without = [one for one in found.values() if one.price is None]
    assert 250 < len(without) < 350
    assert all(one.image_url == "u" and one.stock == 1 for one in found.values())


def test_a_day_can_be_cut_out() -> None:
    assert list(cut(DAY, START + HOUR_MS, START + 2 * HOUR_MS)) == DAY[180:360]


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"--fault: expected one of broken, duplicate, late.*silent-TYPE.*got 'loud'"
    ):
        fault_of("loud")
    with pytest.raises(SettingsError, match="--share: expected more than 0 and at most 1, got 2"):
        Span(0, 1, 2.0)
    with pytest.raises(SettingsError, match="--from: expected a moment before --to"):
        Span(5, 5, 1.0)


def typed(*words: str) -> str:
    outcome = CliRunner().invoke(build_app(), ["sample", "plant", *words])
    assert outcome.exit_code == 0, repr(outcome.exception)
    return outcome.output


def test_the_command_plants_in_logs_and_catalogues(tmp_path: Path) -> None:
    write_events(tmp_path / "day.jsonl.zst", DAY)
    write_items(tmp_path / "items.jsonl", [(f"i{number}", Item(title="T", price=5.0)) for number in range(50)])
    day, out = str(tmp_path / "day.jsonl.zst"), str(tmp_path / "silent.jsonl.zst")
    said = typed(day, "--fault", "silent-cart", "--from", "2023-11-15T10:13:20", "--first", "2023-11-15", "--out", out)
    assert "(a tracker that went silent)" in said
    assert read_header(out).events == len(list(read_raw(out))) < len(DAY)
    typed(day, "--fault", "late", "--out", str(tmp_path / "late.jsonl.zst"))
    assert len(list(read_raw(tmp_path / "late.jsonl.zst"))) == len(DAY)
    items = str(tmp_path / "items.jsonl")
    typed(items, "--fault", "no-price", "--share", "1", "--out", str(tmp_path / "poor.jsonl"))
    assert all(item.price is None for _, item in read_items(tmp_path / "poor.jsonl"))
    refused = CliRunner().invoke(build_app(), ["sample", "plant", day, "--fault", "late", "--out", day])
    assert isinstance(refused.exception, NextclickError)


def test_a_fault_that_meets_no_event_is_no_success(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl.zst"
    write_events(log, DAY)
    words = ["sample", "plant", str(log), "--fault", "silent-carts", "--out", str(tmp_path / "out.jsonl.zst")]
    refused = CliRunner().invoke(build_app("sample"), words)
    assert refused.exit_code == 1
    assert "events of type carts between --from and --to, found none" in str(refused.exception)
