"""The demo's experiment: its line, and a short run of it on a real stack."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from contracts.experiments import Experiment
from nextclick.stack.client import Client
from nextclick.stack.demo_buyers import DemoBuyers
from nextclick.stack.demo_experiment import DOCUMENT, NAME, DemoExperiment, buyers_of, measuring
from nextclick.stack.experiment_line import Standing, experiment_line
from nextclick.stack.load_items import load_items
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.engine.buying import BuyOptions
from replay.synthetic.shop import default_shop

REPORT: dict[str, Any] = {
    "units": {"popular": 1412, "session-aware": 1398},
    "figures": {
        "popular": {"pages": 4000.0, "clicks": 1000.0},
        "session-aware": {"pages": 4000.0, "clicks": 1500.0},
    },
    "comparisons": [
        {"metric": "orders", "lift": 9.0, "lift_ends": [8.0, 10.0], "early": ""},
        {"metric": "clicks/pages", "lift": 0.5, "lift_ends": [0.31, 0.72], "early": ""},
    ],
}


def line_of(comparison: dict[str, Any], seconds: float = 83.0) -> str:
    report = REPORT | {"comparisons": [REPORT["comparisons"][1] | comparison]}
    return experiment_line(Standing.of_report(report, "clicks/pages"), seconds)


def test_the_line_has_units_figures_and_the_change_with_its_interval() -> None:
    assert experiment_line(Standing.of_report(REPORT, "clicks/pages"), 83.9) == (
        "units: popular 1,412, session-aware 1,398 · clicks/pages: 0.250, 0.375 · change +50% [+31%, +72%] · 1:23"
    )


def test_a_metric_without_a_denominator_is_by_unit() -> None:
    report = REPORT | {"units": {"popular": 500, "session-aware": 500}}
    assert "clicks: 2.000, 3.000 · no interval yet" in experiment_line(Standing.of_report(report, "clicks"), 1.0)


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        ({"early": "12 units, needs 200"}, "no interval yet · 1:23"),
        ({"lift": None, "lift_ends": [None, None]}, "no interval yet · 1:23"),
        ({"lift_ends": [None, None]}, "no interval yet · 1:23"),
        ({"lift_ends": [-0.02, None]}, "change +50% [-2%, ] · 1:23"),
    ],
)
def test_the_line_says_no_change_before_there_is_an_interval(comparison: dict[str, Any], said: str) -> None:
    assert line_of(comparison).endswith(said)


def test_a_variant_that_nobody_has_met_has_no_figure() -> None:
    so_far = Standing("clicks/pages", {"popular": 0, "session-aware": 3}, (None, 0.5))
    assert experiment_line(so_far, 4.0) == (
        "units: popular 0, session-aware 3 · clicks/pages: -, 0.500 · no interval yet · 0:04"
    )


def test_whoever_opens_the_page_is_not_in_the_experiment() -> None:
    found = Experiment.model_validate(DOCUMENT)
    assert found.segment == 'context.device in ["mobile","desktop","tablet"]'
    assert [one.name for one in found.variants] == ["popular", "session-aware"]
    assert found.variants[1].patch is None  # what is promoted is the homepage as it is


def test_buyers_who_find_nobody_end_by_themselves() -> None:
    buyers = DemoBuyers(BuyOptions("http://127.0.0.1:1", "r1", visits=3, rate=1_000.0), default_shop())
    buyers.start()
    until = time.monotonic() + 20
    while buyers.come and time.monotonic() < until:
        time.sleep(0.01)
    buyers.stop()
    assert (buyers.come, buyers.error) == (False, None)
    assert buyers.takings.unanswered == {"ConnectionRefusedError": 3}


def test_buyers_that_fail_say_why() -> None:
    buyers = DemoBuyers(BuyOptions("http://shop.example", "r1"), default_shop())
    buyers.start()
    buyers.stop()
    assert "expected a gateway on this machine" in str(buyers.error)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("demo"))
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as running:
        with Client(running.url) as client:
            load_items(Console(quiet=True), list(default_shop().items[::4]), client)
        yield running


def looked(experiment: DemoExperiment, seconds: float) -> None:
    """Look at an experiment as the demo does, until it has ended or the time is up."""
    until = time.monotonic() + seconds
    while not experiment.ended and time.monotonic() < until:
        experiment.look()
        time.sleep(0.05)


@pytest.mark.slow
def test_buyers_come_to_both_variants_and_a_decision_ends_the_experiment(stack: Stack) -> None:
    console = Console(file=io.StringIO(), width=200)
    with Client(stack.url) as client:
        buyers = buyers_of(stack, default_shop(), rate=30.0, think_s=0.05)
        experiment = DemoExperiment(console, stack, client, buyers)
        try:
            experiment.start()
            looked(experiment, 3.0)
            assert not experiment.ended
            assert {name for name, _ in buyers.takings.groups} == {NAME}
            assert {variant for _, variant in buyers.takings.groups} == {"popular", "session-aware"}
            client.change_experiment(NAME, "promote", variant="session-aware", why="it is better")  # as the judge does
            looked(experiment, 30.0)
        finally:
            experiment.stop()
        assert client.scenario("homepage")["version"] == 1
    assert (experiment.ended, buyers.come, buyers.error, buyers.takings.lost) == (True, False, None, 0)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "units: popular " in said
    assert "Published as homepage version 1. The buyers have left." in said
    assert stack.child("attribution").running


@pytest.mark.slow
def test_a_page_that_the_gateway_does_not_have_is_not_linked(stack: Stack) -> None:
    with Client(stack.url) as client:
        assert client.has_page("/docs")
        assert not client.has_page("/nowhere")


@pytest.mark.slow
def test_an_experiment_without_a_decision_ends_with_its_buyers(stack: Stack) -> None:
    console = Console(file=io.StringIO(), width=200)
    with Client(stack.url) as client:
        experiment = DemoExperiment(console, stack, client, buyers_of(stack, default_shop(), rate=10.0, seconds=1.0))
        experiment.start()
        looked(experiment, 30.0)
    assert experiment.ended
    assert "The buyers have left; nothing was published." in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_measures_is_off_until_the_experiment() -> None:
    settings = StackSettings()
    assert not settings.attribution.run
    assert measuring(settings).attribution.run
