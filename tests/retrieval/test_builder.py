"""The builder on a real table: when it builds, and what it says when it cannot look into what serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.builder import Builder, ask_for_build
from retrieval.live import GRAPH
from retrieval.snapshot import read_pointer
from session_model.serving import load_tower
from tests.gateway.catalogue_table import other_model
from tests.retrieval.tables import Shop


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    index = IndexSettings.model_validate({"folder": str(tmp_path), "min_items": 50, "exact_up_to": 0})
    return ServiceSettings(redis=redis_settings, artifacts=str(ARTIFACTS), index=index)


@pytest.fixture
def shop(redis_settings: RedisSettings) -> Shop:
    return Shop(redis_settings, load_tower(str(ARTIFACTS)))


@pytest.fixture
def builder(settings: ServiceSettings) -> Iterator[Builder]:
    made = Builder(settings)
    yield made
    made.close()


def test_a_first_snapshot_is_due_with_enough_items_and_another_once_a_tenth_has_changed(
    builder: Builder, shop: Shop
) -> None:
    shop.put([f"shoe {n}" for n in range(49)])
    assert builder.look() is None
    shop.put(["shoe 49"])
    assert builder.look() == "the first one, of 50 items"
    builder.build("the first one")
    shop.put([f"lamp {n}" for n in range(5)])
    assert builder.look() is None
    shop.put(["lamp 5"])
    assert builder.look() == "12.0% of the snapshot's items changed"


def test_a_snapshot_that_cannot_be_opened_is_warned_of_once(
    builder: Builder, shop: Shop, settings: ServiceSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop.put([f"shoe {n}" for n in range(50)])
    builder.build("the first one")
    graph = tmp_path / str(read_pointer(tmp_path).current) / GRAPH
    graph.write_bytes(bytes(graph.stat().st_size))

    assert builder.look() is None
    assert builder.look() is None

    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(
        "cannot open the snapshot that serves, so no change of the catalogue makes a new one due: "
    )
    assert str(graph) in warning
    assert "Run `nextclick index build`" in warning


def test_models_that_are_rolled_back_have_their_snapshot_serve_again_and_none_is_built(
    settings: ServiceSettings, shop: Shop, tmp_path: Path
) -> None:
    old, new, link = ARTIFACTS, tmp_path / "new", tmp_path / "serving"
    copytree(ARTIFACTS, new)
    version = other_model(new)
    link.symlink_to(old)
    index = settings.index.model_copy(update={"folder": str(tmp_path / "index")})
    builder = Builder(settings.model_copy(update={"artifacts": str(link), "index": index}))
    shop.put([f"shoe {n}" for n in range(20)])
    ask_for_build(tmp_path / "index", "the first one")
    assert builder.look() == "asked for: the first one"
    builder.build("asked")
    first = read_pointer(tmp_path / "index").current

    def serve(artifacts: Path) -> str | None:
        link.unlink()
        link.symlink_to(artifacts)
        why = builder.look()
        builder.build(str(why))
        assert builder.look() is None
        return why

    assert serve(new) == f"a new item tower, {version}"
    second = read_pointer(tmp_path / "index").current
    shop.put(["lamp"])
    assert str(serve(old)).startswith("a new item tower, ")
    pointer = read_pointer(tmp_path / "index")
    assert (pointer.current, pointer.previous, pointer.refused_tower) == (first, second, None)
    serve(new)
    assert read_pointer(tmp_path / "index").current == second
    builder.close()
