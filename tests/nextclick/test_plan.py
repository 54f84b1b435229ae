"""`nextclick plan`: what it says, as tables and as JSON; its sources; and how wrong it was."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import SettingsError
from nextclick.bench.plan import full_ended, kept_rows, part_of, point_rows
from nextclick.bench.plan_rows import full_trend
from nextclick.bench.serving_runs import RatePoint
from nextclick.cli import build_app
from nextclick.commands.plan import bench_files, known_coefficients
from nextclick.plan.coefficients import NAMES
from nextclick.plan.numbers import number_of
from nextclick.plan.predicted import OTHERS, checked, middle_error, row_name, worker_name
from nextclick.show.plan_tables import check_words

ROOT = Path(__file__).parents[2]
SHOP = ["--requests", "1000", "--events", "600", "--items", "10000", "--users", "1000"]


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(build_app("plan"), ["plan", *words])


def test_a_plan_says_what_is_needed_and_what_it_costs() -> None:
    told = run(*SHOP)
    assert told.exit_code == 0
    for line in (
        "p99 of a request, predicted",
        "gateways",
        "trends flow",
        "Redis shards",
        "log: partitions",
        "balancer",
    ):
        assert line in told.output
    assert "sales day" not in told.output
    assert "Coefficients" not in told.output


def test_it_explains_each_line_and_names_its_sources_when_asked() -> None:
    told = run(*SHOP, "--explain").output
    assert "processes of" in told
    assert "shards by memory, GB: sessions" in told
    assert "make bench-pair" in told


def test_as_json_it_has_days_parts_money_and_coefficients() -> None:
    told = orjson.loads(run(*SHOP, "--peak", "10", "--json").output)
    assert told["v"] == 1
    assert set(told) == {"v", "days", "money", "warnings", "coefficients"}
    assert set(told["days"]) == {"ordinary", "sales"}
    day = told["days"]["ordinary"]
    assert set(day) == {
        "shop", "latency", "parts", "machines", "cache", "cache_nodes", "table_shards", "log", "network", "blocked",
        "totals", "busy_cores_by_coefficient",
    }  # fmt: skip
    assert set(day["parts"][0]) == {"name", "count", "busy_cores", "memory_gb", "spent", "how", "loads"}
    assert set(told["coefficients"]) == NAMES
    assert day["totals"]["busy_cores"] == pytest.approx(sum(part["busy_cores"] for part in day["parts"]))
    assert told["days"]["sales"]["shop"]["requests"] == 10_000.0
    low, high = (sum(cost[end] for cost in told["money"]["costs"]) for end in ("low", "high"))
    assert (told["money"]["low"], told["money"]["high"]) == (pytest.approx(low), pytest.approx(high))
    assert low < high


def test_the_log_of_an_ordinary_day_has_the_partitions_of_the_sales_day() -> None:
    days = orjson.loads(run("--requests", "5000", "--peak", "10", "--json").output)["days"]
    assert days["ordinary"]["log"]["partitions"] == days["sales"]["log"]["partitions"] > 8
    assert days["ordinary"]["log"]["mb_s"] < days["sales"]["log"]["mb_s"]


def test_what_nobody_measured_is_told_with_its_factor() -> None:
    told = run("--requests", "50000", "--events", "12000", "--items", "50000000").output
    assert re.search(r"gateway processes: [\d,]+, [\d,]+ times what was measured \(2\)", told)
    assert "an index of 17 graphs on one machine" in told


def test_a_cheaper_coefficient_needs_fewer_cores() -> None:
    usual, cheaper = (
        orjson.loads(run(*SHOP, "--json", *more).output)["days"]["ordinary"]["totals"]["busy_cores"]
        for more in ([], ["--set", "gateway_request=100"])
    )
    assert cheaper < usual


def test_prices_of_the_users_own_are_taken(tmp_path: Path) -> None:
    text = (ROOT / "nextclick/plan/prices.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("hour = 0.408", "hour = 4.08").replace('currency = "USD"', 'currency = "EUR"'))
    usual, mine = (orjson.loads(run(*SHOP, "--json", *more).output)["money"] for more in ([], ["--prices", str(path)]))
    assert mine["currency"] == "EUR"
    assert mine["high"] - usual["high"] == pytest.approx(3 * (4.08 - 0.408) * 24 * 30.4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--requests", "-5"], "--requests: expected a number from 0.001"),
        (["--set", "speed=3"], "--set: expected NAME=VALUE"),
        (["--from", "nowhere"], "expected a folder of benchmark files"),
        (["--check", "--set", "row_bytes=3"], "--check: expected no --set"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(words: list[str], said: str) -> None:
    error = run(*words).exception
    assert isinstance(error, SettingsError)
    assert said in str(error)


def test_every_coefficient_names_a_command_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, one in known_coefficients([], []).items():
        make, target = one.command.split()
        assert (make, target in targets) == ("make", True), name


def test_files_that_are_no_benchmark_are_passed_by(tmp_path: Path) -> None:
    for name, raw in {"a": b'{"name":"a","rows":[]}', "b": b"{", "c": b"[1]", "d": b'{"rows":3}'}.items():
        (tmp_path / f"{name}.json").write_bytes(raw)
    assert [one["name"] for one in bench_files(tmp_path)] == ["a"]


def test_predictions_stand_beside_what_was_measured_with_their_error() -> None:
    c = known_coefficients([], [])
    cost = c["gateway_request"].values[0]
    rows = [{"name": row_name(1, 100.0, "gateways"), "value": cost / 1.25}, {"name": worker_name(2), "value": 0.0}]
    found = {one.what: one for one in checked(c, {"rows": rows})}
    assert found["1 gateway, 100/s: gateways"].error == pytest.approx(0.25)
    assert found["2 gateways, 300/s: p99"].error is None
    assert found[worker_name(2)].error is None
    assert middle_error(list(found.values())) == pytest.approx(0.25)
    assert middle_error([]) is None


def test_two_gateways_are_predicted_from_half_the_rate_of_one() -> None:
    found = {one.what: one.predicted for one in checked(known_coefficients([], []), None)}
    curve = known_coefficients([], [])["gateway_request"]
    assert found["2 gateways, 300/s: gateways"] == pytest.approx(curve.cost_at(150.0))
    assert found["1 gateway, 300/s: gateways"] == pytest.approx(curve.cost_at(300.0))


def test_no_figure_predicts_itself() -> None:
    from dataclasses import replace

    c = known_coefficients([], [])
    with pytest.raises(ValueError, match="gateway_request are of plan"):
        checked({**c, "gateway_request": replace(c["gateway_request"], file="plan")}, None)


def test_a_check_beside_others_says_that_its_p99_is_theirs() -> None:
    c = known_coefficients([], [])
    rows = [{"name": row_name(1, 100.0, what), "value": 2.0} for what in ("gateways", "p99", OTHERS)]
    said = check_words(checked(c, {"rows": rows}), {"rows": rows})
    assert "other processes kept up to 2.0 cores busy" in said
    assert "other processes" not in check_words(checked(c, {"rows": rows[:2]}), {"rows": rows[:2]})


def test_without_figures_the_check_says_what_to_measure() -> None:
    told = run("--check").output
    assert "make bench-plan" in told


def test_parts_that_are_not_measured_again_keep_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert kept_rows({"rows"}, path) == {}
    names = ("trends: a row written, Redis", worker_name(1), "an item in Redis")
    path.write_bytes(orjson.dumps({"rows": [{"name": name, "value": 1.0, "unit": "us"} for name in names]}))
    kept = {part: [row.name for row in rows] for part, rows in kept_rows({"rows"}, path).items()}
    assert kept == {"served": ["an item in Redis"], "workers": ["1 sessions worker, backlog: processor time"]}


def test_full_rows_are_as_large_as_their_codec_says() -> None:
    assert len(full_trend()) == 27 + 4 * 3 + 20 * 50
    assert len(full_ended()) == 9 + 8 * 20 + 4


def test_a_rate_of_the_benchmark_has_the_rows_that_the_check_reads() -> None:
    used = {"gateway-0": 900.0, "gateway-1": 800.0, "redis": 100.0, "trends": 50.0}
    point = RatePoint(300.0, 10, 9, 1.0, 2.0, 3.0, 0, 1, 0.0, used, 60.0)
    rows = {row.name: row.value for row in point_rows(2, point)}
    assert rows["2 gateways, 300/s: gateways"] == 1700.0
    assert rows["2 gateways, 300/s: Redis"] == 100.0
    assert rows["2 gateways, 300/s: p99"] == 3.0
    assert {part_of(name) for name in rows} == {"served"}
    assert part_of(worker_name(1)) == "workers"
    assert part_of("trends: a row read by one follower, Redis") == "rows"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("200000", 200_000.0), ("200,000", 200_000.0), ("200_000", 200_000.0), ("200k", 200_000.0)),
        *(("50M", 50e6), ("50m", 50e6), ("1.5b", 1.5e9), ("1e6", 1e6), ("2.5E+3", 2500.0), ("0.5", 0.5), (".5", 0.5)),
        *(("1,234,567.5", 1_234_567.5), (" 7 ", 7.0), ("-5", -5.0)),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["1,5", "200,00", "50 M", "1e6k", "many", "", "5G", "1.000.000", "nan", "inf", "k"])
def test_what_is_no_number_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number such as 200000, 200,000, 200k, 1\.5M, 1B or 2e6, got"):
        number_of(text)
    refused = run("--items", text)
    assert refused.exit_code == 2
    assert "expected a number such as 200000" in " ".join(refused.output.replace("│", " ").split())


def test_a_plan_of_a_shop_that_one_machine_holds_says_so_first() -> None:
    told = run("--requests", "100", "--events", "100", "--items", "20k").output
    assert told.startswith("One machine of ")
    assert "does: `nextclick up`" in told.splitlines()[0]
    assert "Note: one machine" not in told
    large = run("--requests", "50k", "--events", "12,000", "--items", "50M").output
    assert "ne machine of" not in large
    whole = run("--requests", "50000", "--events", "12000", "--items", "50000000").output
    assert large == whole
