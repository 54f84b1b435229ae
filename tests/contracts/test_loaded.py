"""The garbage collector and what a process has loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from contracts.loaded import keep_loaded, loading


@pytest.fixture
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_thawed")
def test_the_collector_passes_by_what_was_loaded_and_looks_at_what_came_later() -> None:
    loaded = [{"title": [str(number)]} for number in range(1000)]
    keep_loaded()
    later = [{"title": [str(number)]} for number in range(1000)]
    looked_at = set(map(id, gc.get_objects()))
    assert not looked_at & set(map(id, loaded))
    assert looked_at >= set(map(id, later))


def test_the_collector_is_still_while_modules_are_loaded_also_where_one_is_refused() -> None:
    seen: list[bool] = []

    def load() -> None:
        with loading():
            seen.append(gc.isenabled())
            raise ImportError("no such module")

    with pytest.raises(ImportError):
        load()
    assert (seen, gc.isenabled()) == ([False], True)


def test_a_collector_that_somebody_stopped_stays_stopped() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
