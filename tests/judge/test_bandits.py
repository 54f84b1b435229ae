"""Shares of bandits: who earns more gets more, what is old fades, and no variant falls under its floor."""

from __future__ import annotations

from typing import Any

import pytest

from attribution.cells import Cell
from attribution.facts import SCALE, Dims
from attribution.sums import VariantHour, sums_of
from contracts.bandit_shares import decode_shares
from contracts.experiments import Experiment, ExperimentVersion
from contracts.keys import Keys
from contracts.settings import RedisSettings
from judge.bandits import SharesJob, hours_of, shares_of, write_shares
from state.bandit_shares import SharesReader, SharesWriter
from state.client import connect

HOUR = 490_000
NOW_MS = HOUR * 3_600_000 + 1_800_000


def bandit(name: str = "x", **allocation: Any) -> ExperimentVersion:
    document = {
        "scenario": "homepage",
        "variants": [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5}],
        "allocation": {"kind": "bandit", **allocation},
    }
    experiment = Experiment.model_validate(document)
    return ExperimentVersion(name=name, version=1, published_ms=1, started_ms=1, experiment=experiment, buckets={})


def hours(
    control: tuple[float, float], b: tuple[float, float], hour: int = HOUR, device: str = ""
) -> list[VariantHour]:
    return [VariantHour(hour, "control", device, "no", *control), VariantHour(hour, "b", device, "no", *b)]


def test_the_better_variant_gets_all_but_the_floor() -> None:
    found = shares_of(bandit(floor=0.1), hours((1000, 50), (1000, 150)), NOW_MS)
    assert found == {"": pytest.approx((0.1, 0.9), abs=0.001)}


def test_before_any_page_shares_are_even() -> None:
    assert shares_of(bandit(), [], NOW_MS) == {"": pytest.approx((0.5, 0.5))}


def test_a_page_earns_once_at_most_and_variants_of_another_name_count_for_none() -> None:
    strange = VariantHour(HOUR, "gone", "", "", 1000, 1000)
    found = shares_of(bandit(), [*hours((10, 90), (10, 10)), strange], NOW_MS)
    assert found == {"": pytest.approx((0.5, 0.5))}


def test_a_click_in_the_hour_after_its_page_counts() -> None:
    pages = hours((1000, 0), (1000, 0), HOUR - 1)
    assert shares_of(bandit(), [*pages, *hours((0, 50), (0, 150))], NOW_MS)[""][1] > 0.9


def test_old_pages_fade_by_the_half_life() -> None:
    then = hours((1000, 150), (1000, 50), HOUR - 48)
    now = hours((60, 2), (60, 9))
    fading = shares_of(bandit(half_life="PT1H"), [*then, *now], NOW_MS)[""]
    lasting = shares_of(bandit(half_life="P30D"), [*then, *now], NOW_MS)[""]
    assert fading[1] > 0.9
    assert lasting[0] > 0.9


def test_cells_have_shares_of_their_own_and_begin_with_the_whole() -> None:
    phones, desktops = hours((1000, 20), (1000, 100), device="phone"), hours((1000, 100), (1000, 20), device="desktop")
    found = shares_of(bandit(context=["device"]), [*phones, *desktops, *hours((1, 0), (1, 0), device="tv")], NOW_MS)
    assert found["phone"] == pytest.approx((0.05, 0.95), abs=0.001)
    assert found["desktop"] == pytest.approx((0.95, 0.05), abs=0.001)
    assert found["tv"] == pytest.approx((0.5, 0.5), abs=0.05)
    assert sorted(found) == ["", "desktop", "phone", "tv"]


def test_hours_before_the_experiment_or_of_ten_half_lives_ago_are_not_read() -> None:
    assert hours_of(bandit(half_life="PT2H"), NOW_MS) == (HOUR - 20, HOUR)
    young = bandit().model_copy(update={"started_ms": NOW_MS - 3_600_000})
    assert hours_of(young, NOW_MS) == (HOUR - 1, HOUR)


async def test_shares_of_those_that_run_are_written_for_gateways(redis_settings: RedisSettings) -> None:
    stopped = bandit("stopped").model_copy(update={"stopped_ms": 5})
    shares_stay = bandit().experiment.model_copy(update={"allocation": None})
    fixed = bandit("fixed").model_copy(update={"experiment": shares_stay})
    asked: list[tuple[str, int, int]] = []

    def sums(name: str, first: int, last: int) -> list[VariantHour]:
        asked.append((name, first, last))
        return hours((1000, 50), (1000, 150))

    writer, reader = SharesWriter(redis_settings), SharesReader(redis_settings)
    assert write_shares(writer, [stopped, fixed, bandit()], sums, NOW_MS) == 1
    assert asked == [("x", HOUR - 60, HOUR)]
    found, nothing = await reader.read(["x", "stopped"])
    assert nothing is None
    assert found is not None
    shares = decode_shares(found)
    assert (shares.started_ms, shares.at_ms, shares.variants) == (1, NOW_MS, ("control", "b"))
    assert shares.cells == {"": pytest.approx((0.05, 0.95), abs=0.001)}
    writer.forget("x")
    assert await reader.read(["x"]) == [None]
    writer.close()
    await reader.close()


async def test_shares_follow_what_the_attribution_flow_counted(redis_settings: RedisSettings) -> None:
    def cells(hour: int, variant: str, clicks: int) -> dict[Cell, int]:
        dims = Dims(experiment="x", variant=variant, device="phone", returning="no")
        return {Cell(hour, dims, "pages"): 1000 * SCALE, Cell(hour, dims, "clicks"): clicks * SCALE}

    now = {**cells(HOUR, "control", 50), **cells(HOUR, "b", 150)}
    long_ago = {**cells(HOUR - 61, "control", 999), **cells(HOUR - 61, "b", 0)}
    with connect(redis_settings) as redis:
        for (name, day), fields in sums_of({**now, **long_ago}).items():
            redis.hset(Keys(redis_settings.prefix).experiment_sums(name, day), mapping=fields)
    job, reader = SharesJob(redis_settings, lambda: [bandit()], lambda: NOW_MS), SharesReader(redis_settings)
    job.write()
    [found] = await reader.read(["x"])
    assert found is not None
    assert decode_shares(found).cells == {"": pytest.approx((0.05, 0.95), abs=0.001)}
    job.close()
    await reader.close()
