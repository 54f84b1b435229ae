"""The recipe of a candidate source, done on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extending.scratch import Scratch

SECTION = "A candidate source"
ASK = """
import numpy as np
from gateway.settings import GatewaySettings
from learning.ablation import without
from learning.next_item import Recall, brought_by
from learning.training import RerankTrainingSettings
from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.candidates import gather
from tests.rerank.shop import NOW, Shop, item

shop = Shop(per_category=3)
shop.put(item("rings-1", price=999.0, embedded=False), item("rings-2", price=888.0, embedded=False))
[answer] = shop.pipeline(with_encoder=False, settings=GatewaySettings().pipeline).recommend([Query(NOW)])
print("answer", sorted(ranked.item_id for ranked in answer.items if ranked.item_id.startswith("rings")))
left, _ = without(RerankTrainingSettings(), ["dearest"])
print("left out", RerankTrainingSettings().pipeline.dearest, left.pipeline.dearest)
contexts = contexts_of([Query(NOW)], shop.catalogue, None)
candidates = gather(contexts, shop.state, GatewaySettings().pipeline)
recall = Recall()
recall.count(brought_by(candidates), candidates.dearest_rank == 0, 1)
print("recall", recall.shares()["dearest"], recall.shares()["new"])
"""
HELP = """
import sys
from nextclick.cli import main
sys.argv = ["nextclick", "evaluate", "next-item", "--help"]
main()
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_a_source_is_a_file_and_its_place_in_the_list(scratch: Scratch) -> None:
    assert scratch.follow(SECTION) == ["retrieval/sources/dearest.py", "retrieval/sources/__init__.py"]
    said = scratch.says(ASK, NEXTCLICK_PIPELINE__DEAREST="2").splitlines()
    assert said == ["answer ['rings-1', 'rings-2']", "left out 5 0", "recall 1.0 0.0"]
    settings = scratch.says("from nextclick.show.settings_table import settings_table; print(settings_table())")
    assert "NEXTCLICK_PIPELINE__DEAREST" in settings
    assert "The most expensive items in stock." in settings
    help_text = scratch.says(HELP)
    assert "window, dearest)" in " ".join(help_text.split())


@pytest.mark.parametrize(
    ("forgotten", "message"),
    [
        ("    dearest.Sizes,\n", "candidate source 'dearest': SourceSettings lacks 'dearest': add its Sizes"),
        ("    dearest.Numbers,\n", "candidate source 'dearest': SourceNumbers lacks 'dearest_rank': add its Numbers"),
    ],
)
def test_half_a_source_fails_at_import(scratch: Scratch, forgotten: str, message: str) -> None:
    scratch.follow(SECTION)
    listed = scratch.folder / "retrieval" / "sources" / "__init__.py"
    listed.write_text(listed.read_text().replace(forgotten, ""))
    ended = scratch.run("-c", "import retrieval.candidates")
    assert ended.returncode == 1
    assert message in ended.stderr.splitlines()[-1]


def test_columns_that_are_swapped_do_not_type_check(scratch: Scratch) -> None:
    wrong = scratch.folder / "wrong.py"
    wrong.write_text(
        "from retrieval.sources import recent, trending\n"
        "from retrieval.sources.source import Source\n\n"
        "def checked(numbers: trending.Numbers) -> None: ...\n\n"
        "def swap(numbers: recent.Numbers) -> None:\n    checked(numbers)\n"
        "trending.Numbers(recent_rank=None)\n"
        "Source(name='x', brings='x', settings=(), rung=trending.SOURCE.rung, numbers=trending.Numbers,\n"
        "       bring=recent.bring, nothing=recent.NOTHING, lay_out=recent.lay_out, knows=trending.knows)\n"
    )
    (scratch.folder / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    ended = scratch.run("-m", "mypy", "--config-file", "mypy.ini", "--ignore-missing-imports", "wrong.py")
    lines = {line.split(":")[1] for line in ended.stdout.splitlines() if "error" in line and ":" in line}
    assert {"7", "8"} <= lines, ended.stdout
    assert lines & {"9", "10"}, ended.stdout
