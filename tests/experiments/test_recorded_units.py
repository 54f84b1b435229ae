"""What units did in a recording, counted as an experiment's log would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import write_events
from experiments.recorded_metrics import counted, days_of, metrics_in, named
from experiments.recorded_units import Recorded, UnitOf, read_units

MINUTE, DAY = 60_000, 86_400_000
START = 1_790_000_000_000


def written(folder: Path, *events: dict[str, Any]) -> Path:
    path = folder / "log.jsonl.zst"
    lines = [
        {"v": 1, "event_id": f"e{at}", "session_id": "s", "ts": START + one.pop("at", at), **one}
        for at, one in enumerate(events)
    ]
    write_events(path, sorted(lines, key=lambda line: line["ts"]))
    return path


def view(item: str, **more: Any) -> dict[str, Any]:
    return {"type": "view", "item_id": item, **more}


def page(*items: str, **more: Any) -> dict[str, Any]:
    return {"type": "impression", "items": list(items), **more}


def bought(item: str, **more: Any) -> dict[str, Any]:
    return {"type": "purchase", "item_id": item, "currency": "EUR", **more}


def read(path: Path, unit: UnitOf = "session", **more: Any) -> Recorded:
    return read_units([path], unit=unit, **more)


def test_without_pages_units_count_from_their_first_event(tmp_path: Path) -> None:
    found = read(written(tmp_path, view("a"), view("b"), view("a", session_id="t"), {"type": "cart", "item_id": "a"}))
    assert (found.units, found.totals()) == ([b"s", b"t"], {"views": 3.0, "carts": 1.0})
    assert metrics_in(found.totals()) == ["views", "carts"]


def test_with_pages_units_count_from_their_first_page(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        view("a", session_id="never"),
        bought("a", value=9.0),
        page("a", "b", at=10),
        view("b", at=11),
        view("c", at=12),
        view("a", at=10 + 31 * MINUTE),
    )
    found = read(path)
    assert (found.units, found.unpaged) == ([b"s"], 1)
    assert found.totals() == {"views": 3.0, "pages": 1.0, "shown": 2.0, "clicks": 1.0}
    assert read(path, click_ms=32 * MINUTE).totals()["clicks"] == 2.0
    assert metrics_in(found.totals()) == ["clicks/pages"]


def test_a_page_that_client_and_gateway_tell_of_is_one(tmp_path: Path) -> None:
    own = page("a", "b", event_id="impression-r", request_id="r")
    found = read(written(tmp_path, own, page("a", event_id="e", request_id="r"), page("c")))
    assert found.totals() == {"pages": 2.0, "shown": 3.0}


def test_orders_count_once_and_returns_subtract(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        bought("a", value=10.0, order_id="o"),
        bought("b", value=5.0, order_id="o"),
        bought("c", value=1.0, event_id="twice"),
        bought("c", value=1.0, event_id="twice"),
        {"type": "return", "item_id": "b", "value": 5.0, "currency": "EUR"},
        {"type": "purchase", "item_id": "d", "value": 99.0, "currency": "USD"},
    )
    found = read(path)
    assert found.totals() == {"purchases": 4.0, "orders": 3.0, "revenue": 11.0}
    assert found.currencies == ["EUR"]


def test_users_are_units_and_events_of_nobody_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, view("a", user_id="u"), view("a", session_id="t", user_id="u"), view("b"))
    found = read(path, "user")
    assert (found.units, found.without, found.totals()) == ([b"u"], 1, {"views": 2.0})
    with pytest.raises(ImportFormatError, match="expected events of units to count, got none; 1 without a unit"):
        read(written(tmp_path, view("a")), "user")


def test_days_begin_with_the_first_event_and_a_cap_is_that_of_all(tmp_path: Path) -> None:
    spent = [bought("a", session_id=f"s{n}", value=float(n + 1), at=n * DAY // 4) for n in range(10)]
    found = read(written(tmp_path, *spent))
    assert days_of(found) == 3
    [metric] = named(["revenue"], ["revenue=0.5"], found.totals())
    revenue = counted(found, [metric], 2)["revenue"]
    assert (revenue.days, revenue.cap, revenue.values.tolist()) == (2, 4.5, [1, 2, 3, 4, 4.5, 4.5, 4.5, 4.5])


def test_what_a_recording_does_not_have_is_refused(tmp_path: Path) -> None:
    totals = read(written(tmp_path, view("a"))).totals()
    for names, caps, said in (
        (["clicks/pages"], [], "clicks/pages: expected what the recording has, views; got 'clicks'"),
        (["views"], ["orders=0.9"], "got one of 'orders': add --metric"),
        (["views"], ["views=x"], "expected a number behind `=`, got 'x'"),
    ):
        with pytest.raises(SettingsError, match=said):
            named(names, caps, totals)
    assert metrics_in(totals, ["clicks/pages"]) == ["views"]
    with pytest.raises(SettingsError, match="expected a metric that the recording has"):
        metrics_in({"shown": 3.0})
