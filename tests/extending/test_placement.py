"""The recipe of a placement, done on a copy."""

from __future__ import annotations

from pathlib import Path

from contracts.api import Placement, Seen
from rerank.query import PipelineSettings, Query
from tests.extending.scratch import Scratch
from tests.rerank.shop import NOW, Shop, session

ASK = """
from contracts.api import Placement
from rerank.query import Query
from tests.rerank.shop import NOW, Shop, session

query = Query(NOW, placement=Placement("checkout"), session=session("games-3"), limit=8)
[answer] = Shop().pipeline().recommend([query])
shown = [ranked.item_id for ranked in answer.items]
print("games-3" in shown, sum(name.startswith("games") for name in shown))
"""


def test_a_placement_is_one_line(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    assert scratch.follow("A placement") == ["contracts/api.py"]
    seen, games = scratch.says(ASK).split()
    assert seen == "False"
    assert int(games) > 4
    settings = scratch.says("from nextclick.show.settings_table import settings_table; print(settings_table())")
    assert '"checkout":"all"' in settings.replace(" ", "")


def test_a_placement_without_its_defaults_fails_at_import(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    api = scratch.folder / "contracts" / "api.py"
    api.write_text(api.read_text().replace('"push", PlacementDefaults(Seen.TAKEN, recalls_bought=True)', '"push"'))
    ended = scratch.run("-c", "import contracts.api")
    assert ended.returncode == 1
    assert "placement 'push': expected its PlacementDefaults beside its name, got none" in ended.stderr


def test_a_placement_that_the_setting_does_not_name_keeps_its_default() -> None:
    settings = PipelineSettings(leave_out_seen={Placement.CART: Seen.NONE})
    query = Query(NOW, placement=Placement.HOMEPAGE, session=session("games-3"), limit=20)
    [answer] = Shop().pipeline(settings=settings).recommend([query])
    assert answer.items
    assert "games-3" not in {ranked.item_id for ranked in answer.items}


def test_placements_leave_out_what_they_say() -> None:
    assert {placement.value: placement.defaults.leave_out_seen.value for placement in Placement} == {
        "homepage": "all",
        "product": "all",
        "cart": "taken",
        "search": "none",
        "email": "taken",
        "push": "taken",
    }
    unlimited = [placement.value for placement in Placement if not placement.defaults.limits_categories]
    assert unlimited == ["product", "search"]
