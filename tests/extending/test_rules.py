"""The recipe of a site's own rule: a module on the path, named by a setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import SettingsError
from rerank.query import PipelineSettings, Query
from rerank.site_rules import load_rules
from tests.extending.scratch import write_files
from tests.rerank.shop import NOW, Shop, item

SECTION = "A rule"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe's module, importable."""
    assert write_files(SECTION, tmp_path) == ["shop_rules.py"]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_rules", raising=False)
    return tmp_path / "shop_rules.py"


def ids(shop: Shop, rules: tuple[str, ...], query: Query) -> tuple[set[str], dict[str, int]]:
    [answer] = shop.pipeline(settings=PipelineSettings(rules=rules)).recommend([query])
    return {ranked.item_id for ranked in answer.items}, answer.dropped


@pytest.mark.usefixtures("module")
def test_a_sites_own_rule_drops_and_is_counted_by_its_name() -> None:
    shop = Shop(per_category=3)
    shown, dropped = ids(shop, (), Query(NOW, candidates=("lamps-1", "lamps-2", "shoes-1")))
    assert (shown, dropped) == ({"lamps-1", "lamps-2", "shoes-1"}, {})
    shown, dropped = ids(shop, ("shop_rules:no_lamps",), Query(NOW, candidates=("lamps-1", "lamps-2", "shoes-1")))
    assert (shown, dropped) == ({"shoes-1"}, {"no_lamps": 2})


@pytest.mark.usefixtures("module")
def test_a_sites_own_rule_reads_the_context_of_its_request() -> None:
    shop = Shop(per_category=3)
    shop.put(item("shoes-1", price=900.0))
    asked = {"candidates": ("shoes-1", "shoes-2")}
    rules = ("shop_rules:members_only",)
    assert ids(shop, rules, Query(NOW, **asked)) == ({"shoes-2"}, {"members_only": 1})
    assert ids(shop, rules, Query(NOW, context={"member": True}, **asked)) == ({"shoes-1", "shoes-2"}, {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop_rules", "expected package.module:function, got something else"),
        ("no_such_module:rule", "expected a function that can be imported, got ModuleNotFoundError"),
        ("shop_rules:gone", "expected a function that can be imported, got AttributeError"),
        ("shop_rules:np", "expected a function, got a module"),
        ("shop_rules:nobody", "boolean a candidate, got too many positional arguments"),
        ("shop_rules:two", "boolean a candidate, got missing a required argument: 'visitors'"),
        ("shop_rules:counts", "boolean a candidate, got 0, asked about none"),
        ("shop_rules:raises", "boolean a candidate, got KeyError, asked about none: 'stock'"),
        ("shop_rules:seen", "expected a name of its own, because drops are counted by it, got the rule 'seen' twice"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_in_one_line(module: Path, name: str, message: str) -> None:
    with module.open("a") as file:
        file.write(
            "def nobody(): ...\ndef two(proposed, visitors): ...\ndef counts(proposed): return 0\n"
            "def raises(proposed): return {}['stock']\ndef seen(proposed): return proposed.rows < 0\n"
        )
    with pytest.raises(SettingsError) as refused:
        load_rules([name])
    said = str(refused.value)
    assert said.startswith(f"NEXTCLICK_PIPELINE__RULES: {name}: ")
    assert message in said
    assert "\n" not in said


@pytest.mark.usefixtures("module")
def test_the_same_rule_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="got the rule 'no_lamps' twice"):
        load_rules(["shop_rules:no_lamps", "shop_rules:no_lamps"])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_gateway_refuses_a_rule_at_start(processes: str) -> None:
    environment = {"NEXTCLICK_PIPELINE__RULES": '["nowhere:rule"]', "NEXTCLICK_GATEWAY__PROCESSES": processes}
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env={**os.environ, **environment, "NEXTCLICK_GATEWAY__PORT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 78
    assert ended.stderr.splitlines() == [
        "NEXTCLICK_PIPELINE__RULES: nowhere:rule: expected a function that can be imported, "
        "got ModuleNotFoundError: No module named 'nowhere'"
    ]
