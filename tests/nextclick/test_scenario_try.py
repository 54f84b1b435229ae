"""`nextclick scenario diff | assert` and `evaluate scenarios` as people type them, on the synthetic shop's visits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from eventlog.files import write_events
from replay.synthetic.shoppers import make_shop, shoppers, write_shop
from tests.nextclick.test_cli import nextclick

FAIR = {"filter": "price < 60", "limits": [{"field": "supplier", "most": 1}]}
ASKED = ("shop/events.jsonl.zst", "--items", "shop/items.jsonl.zst", "--questions", "60", "--limit", "6")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's items, 300 visits, and a scenario."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "shop").mkdir()
    shop = make_shop(np.random.default_rng(7), 400)
    write_shop(shop, shoppers(shop, 300, np.random.default_rng(8), name="shopper"), folder / "shop")
    (folder / "fair.json").write_bytes(orjson.dumps(FAIR))
    return folder


@pytest.mark.slow
def test_the_price_of_a_rule_is_told_before_it_is_published(folder: Path) -> None:
    said = nextclick("scenario", "diff", "fair.json", "homepage", *ASKED, "--out", "diff.json", cwd=folder)
    assert said.returncode == 0, said.stderr
    assert "fair instead of homepage" in said.stdout
    assert "60 pages of 6 items, asked on events.jsonl.zst." in said.stdout
    assert "intervals say nothing" not in said.stdout
    assert "--items does not have" not in said.stdout
    found = orjson.loads((folder / "diff.json").read_bytes())
    price = found["figures"]["page_price"]
    assert price["new"] < 60
    assert price["clear"]
    assert price["low"] < price["change"] < price["high"] < 0
    assert found["figures"]["diversity"]["new"] > 0  # items have vectors of the general model
    assert "pages come from the general model" in said.stdout
    assert "Users are not replayed" not in said.stdout
    assert found["pages"] == 60
    again = nextclick("scenario", "diff", "fair.json", "homepage", *ASKED, "--out", "page.html", cwd=folder)
    assert again.returncode == 0, again.stderr
    page = (folder / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<h1>fair instead of homepage</h1>" in page
    assert f"{price['change']:+.2f}" in page


@pytest.mark.slow
def test_statements_that_hold_end_with_0_and_one_that_does_not_with_1(folder: Path) -> None:
    (folder / "shop.assert").write_text(
        "# cheap\nmean(pages, max(price)) < 60\nshare(pages, distinct(supplier) == 6) == 1\n"
    )
    fair = nextclick("scenario", "assert", "shop.assert", *ASKED, "--scenario", "fair.json", cwd=folder)
    assert fair.returncode == 0, fair.stderr + fair.stdout
    assert "2 of 2 statements hold of 60 pages of 6 items" in fair.stdout
    plain = nextclick("scenario", "assert", "shop.assert", *ASKED, "--out", "asserted.json", cwd=folder)
    assert plain.returncode == 1
    assert "does not hold  mean(pages, max(price)) < 60" in plain.stdout
    assert "more pages" in plain.stdout
    first = orjson.loads((folder / "asserted.json").read_bytes())["statements"][0]
    assert (first["line"], first["holds"], len(first["pages"])) == (2, False, 3)
    assert first["value"] > 60
    assert len(first["pages"][0]["items"]) == 6


@pytest.mark.slow
def test_users_are_not_replayed_and_it_is_said(folder: Path) -> None:
    (folder / "old.json").write_bytes(orjson.dumps({"boosts": [{"if": "user.age > 60", "multiply": 2}]}))
    (folder / "user.assert").write_text("share(pages, all(price < user.price)) >= 0\n")
    said = nextclick("scenario", "assert", "user.assert", *ASKED, "--scenario", "old.json", cwd=folder)
    assert said.returncode == 0, said.stderr + said.stdout
    assert "Users are not replayed: user.age, user.price are unknown." in " ".join(said.stdout.split())


def test_a_statement_that_is_wrong_is_one_line_before_anything_is_asked(folder: Path) -> None:
    (folder / "wrong.assert").write_text("hit_rate >= 0.1\nshare(pages, distinct(brnd) > 1) > 0\n")
    said = nextclick("scenario", "assert", "wrong.assert", *ASKED, cwd=folder)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == ("error wrong.assert: line 2, column 23: no field is called brnd: did you mean brand?\n")


def test_a_scenario_that_there_is_not_is_one_line(folder: Path) -> None:
    said = nextclick("scenario", "diff", "No File.json", "homepage", *ASKED, cwd=folder)
    assert said.returncode == 1
    assert said.stderr == (
        "error No File.json: expected a file of a scenario, or the name of one, and found no such file\n"
    )
    (folder / "broken.json").write_text('{"filter": "pric < 5"}')
    said = nextclick("scenario", "diff", "broken.json", "homepage", *ASKED, cwd=folder)
    assert said.returncode == 1
    assert said.stderr.startswith("error broken.json: /filter: line 1, column 1: no field is called pric")


@pytest.mark.slow
def test_scenarios_stand_side_by_side(folder: Path) -> None:
    said = nextclick(
        *("evaluate", "scenarios", "homepage", "fair.json", "--events", *ASKED, "--out", "side.json"), cwd=folder
    )
    assert said.returncode == 0, said.stderr
    assert "60 pages each" in said.stdout
    homepage, fair = orjson.loads((folder / "side.json").read_bytes())["scenarios"]
    assert (homepage["name"], fair["name"]) == ("homepage", "fair")
    assert fair["figures"]["page_price"] < 60 < homepage["figures"]["page_price"]
    assert sum(fair["shown_by_supplier"].values()) == sum(fair["shown_by_price_band"].values()) == 360


@pytest.mark.slow
def test_a_table_of_other_columns_and_a_thin_recording_are_said(folder: Path) -> None:
    clicks = [
        {"v": 1, "event_id": f"e{at}", "type": "view", "session_id": f"s{at // 4}", "item_id": "abcdefg"[at % 7]}
        for at in range(80)
    ]
    write_events(folder / "few.jsonl.zst", ({**one, "ts": 1_790_000_000_000 + at} for at, one in enumerate(clicks)))
    (folder / "few.csv").write_text(
        "SKU,title,Preis\n" + "".join(f"{one},{one},{at}\n" for at, one in enumerate("abcde", 1))
    )
    (folder / "few.assert").write_text("mean(pages, max(price)) < 6\n")
    mapped = ("--items", "few.csv", "--map", "item_id=SKU", "--map", "price=Preis", "--limit", "2")
    for asked in (
        ("scenario", "diff", "fair.json", "homepage", "few.jsonl.zst"),
        ("scenario", "assert", "few.assert", "few.jsonl.zst"),
        ("evaluate", "scenarios", "homepage", "--events", "few.jsonl.zst"),
    ):
        said = nextclick(*asked, *mapped, cwd=folder)
        assert said.returncode == 0, said.stderr + said.stdout
        text = " ".join(said.stdout.split())
        assert "Only 30 pages of 10 visits could be asked: with fewer than 30 visits intervals say nothing." in text
        assert " of 30 next clicks are on items that --items does not have: no page can show them." in text
        assert "page_price" in text or "1 of 1 statements hold" in text
    lost = nextclick("scenario", "diff", "fair.json", "homepage", "few.jsonl.zst", "--map", "price=Preis", cwd=folder)
    assert "expected an items file with --items" in lost.stderr
