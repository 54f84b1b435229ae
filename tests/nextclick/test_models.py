"""`nextclick models`: versions are listed, published, compared, and gone back to."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.settings import RedisSettings
from gateway.models import load_models
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from state.shadow_sums import ShadowSums
from tests.rerank.test_ranker import ranker


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(build_app("models"), ["models", *words])
    return found.exit_code, found.output or str(found.exception)


def test_a_version_is_published_compared_and_left_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", str(tmp_path / "models" / "serving"))
    monkeypatch.setenv("COLUMNS", "80")
    other = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    encoder = load_models(str(other)).encoder
    assert encoder is not None
    ranker("popularity", encoder.version).save(other / "reranker")
    assert "add one (`nextclick models add`)" in run("list")[1]
    assert run("add", str(ARTIFACTS), "--publish")[0] == 0
    assert run("add", str(other), "--note", "by popularity " * 9, "--publish")[0] == 0
    first, second = sorted(
        Registry(tmp_path / "models").names(), key=lambda name: Registry(tmp_path / "models").read(name).note
    )
    said = run("list")[1]
    assert [f"{name}  {mark}" in said for name, mark in ((second, "serving "), (first, "previous"))] == [True, True]
    assert f"  {encoder.version:016x}"[:10] in said  # a long note takes no other column's width
    assert "reranker" in run("compare", first, second)[1]
    assert f"{first} serves, after {second}" in run("rollback", "--why", "fewer clicks")[1]
    assert "rolled back" in run("history")[1]
    assert run("pin", first)[0] == 0
    assert f"{first} is pinned" in run("publish", second)[1]
    assert run("verify")[1].count("whole, ") == 2


def test_a_version_is_put_in_the_shadow_and_shown_with_what_it_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_settings: RedisSettings
) -> None:
    monkeypatch.setenv("NEXTCLICK_ARTIFACTS", str(tmp_path / "models" / "serving"))
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", redis_settings.url)
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", redis_settings.prefix)
    assert "No version is in the shadow" in run("shadow")[1]
    run("add", str(ARTIFACTS))
    [name] = Registry(tmp_path / "models").names()
    assert f"{name} is asked for 10% of the answers" in run("shadow", name, "--share", "0.1")[1]
    store = ShadowSums(redis_settings)
    for _ in range(2):
        store.add(name, {"answers": 2, "overlap": 1.5, "correlation": 0.4, "correlated": 1})
    store.close()
    said = run("shadow")[1]
    for line in ("overlap_at_10     0.75", "rank_correlation  0.4", "score_difference  none"):
        assert line in said
    shown = orjson.loads(run("show", name)[1])["shadow"]
    assert shown == {"answers": 4, "overlap_at_10": 0.75, "rank_correlation": 0.4, "score_difference": None}
    assert "No version is in the shadow" in run("shadow", "--none")[1]
    assert "nosuch" in run("shadow", "nosuch")[1]
    run("publish", name)
    assert f"{name} serves: a candidate is another version" in run("shadow", name)[1]


@pytest.mark.parametrize("words", ["[/]", "[bold", "[/red] \x1b[2J", "{}", "[link=x]"])
def test_notes_are_shown_as_they_are_whatever_they_hold(tmp_path: Path, words: str) -> None:
    for name in "ab":
        (tmp_path / name / "reranker").mkdir(parents=True)
        (tmp_path / name / "reranker" / "x").write_text(name)
    registry = Registry(tmp_path / "models")
    one, two = (registry.add(tmp_path / name, now_ms=1, note=words, by=words + name) for name in "ab")
    registry.publish(one.name, now_ms=2, by=words, why=words)
    for command in (("list",), ("history",), ("compare", one.name, two.name), ("show", one.name), ("verify",)):
        code, said = run(*command, "--folder", str(registry.folder))
        assert (code, "MarkupError" in said, "\x1b[2J" in said) == (0, False, False), said
