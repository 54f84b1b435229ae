"""`nextclick experiment`: a file of units in, tables and one sentence out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import ImportFormatError, SettingsError
from nextclick.cli import build_app

pytest.importorskip("pyarrow", reason="needs the experiments extra")


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["experiment", *map(str, words)], env={"COLUMNS": "200"})


def shown(*words: object) -> str:
    done = run(*words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """10,000 visitors a variant: 3% and 4% bought, seen pages as they saw before."""
    rng = np.random.default_rng(1)
    lines = ["variant,device,bought,pages,before"]
    for name, hits in (("A", 300), ("B", 400)):
        before = rng.poisson(5.0, 10_000)
        pages = before + rng.poisson(1.0, 10_000)
        lines += [
            f"{name},{'phone' if at % 2 else 'desk'},{int(at < hits)},{pages[at]},{before[at]}" for at in range(10_000)
        ]
    path = tmp_path / "units.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_report_has_the_check_the_figures_and_the_decision(units: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    words = ["--metric", "bought", "--metric", "pages", "--covariate", "pages=before", "--guardrail", "pages"]
    text = shown("report", units, *words, "--by", "device", "--out", out)
    assert "Sample ratio: p = 1, stop below 0.001" in text
    assert "│ bought │ B │ 0.03 │ 0.04 │ +33.33% │ +6.32% to +68.54% │ 0.0041 │ 0.0041 │" in " ".join(text.split())
    assert "guardrail; past explains 8" in text
    assert "By device" in text
    assert text.splitlines()[-1] == "Ship B: bought rises by 33.3% [+6.3%, +68.5%]."
    written = orjson.loads(out.read_bytes())
    assert written["decision"] == "Ship B: bought rises by 33.3% [+6.3%, +68.5%]."
    assert [one["metric"]["name"] for one in written["comparisons"]] == ["bought", "pages"]
    assert sorted(written["segments"]) == ["desk", "phone"]
    assert shown("report", units, *words, "--out", out).endswith("+68.5%].\n")  # its own output may be replaced


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--metric", "bougt"], ImportFormatError, "got variant, device, bought, pages, before: did you mean bought?"),
        (["--metric", "device"], ImportFormatError, "column 'device': Row #2"),
        ([], SettingsError, "expected a metric at least"),
        (["--metric", "bought", "--cap", "pages=0.9"], SettingsError, "got one of 'pages': add --metric"),
        (["--metric", "bought", "--share", "A=half"], SettingsError, "expected a number behind `=`, got 'half'"),
        (["--metric", "bought", "--control", "C"], ImportFormatError, "among the variants A, B, got 'C'"),
    ],
)
def test_what_cannot_be_reported_says_why(units: Path, words: list[str], error: type[Exception], said: str) -> None:
    done = run("report", units, *words)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)


def test_power_says_units_and_days() -> None:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    text = shown("power", "--units-a-day", 3000, "--mean", 0.04, "--lift", 0.05)
    # 2 (1.96 + 0.8416)^2 * 2 * 0.04 * 0.96 / 0.002^2 = 301,401 units of both, by the normal distribution
    assert "│ +5.0% │         301,399 │  101 │              577,123 │  193 │" in text
    assert "│ 28   │   +9.47% │       +13.11% │" in text


def test_power_learns_from_units_and_their_past(units: Path) -> None:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    plain = shown("power", "--units-a-day", 1000, "--units", units, "--metric", "pages", "--lift", 0.01)
    past = shown(
        "power", "--units-a-day", 1000, "--units", units, "--metric", "pages", "--covariate", "before", "--lift", 0.01
    )
    assert "│ +1.0% │          52," in plain
    assert "│ +1.0% │           8," in past


def test_power_without_a_metric_says_what_it_needs() -> None:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    for words, said in (
        ([], "expected --units FILE"),
        (["--mean", 5], "expected the --deviation"),
        (["--mean", 0.1, "--lift", 0], "lifts above -1"),
    ):
        done = run("power", "--units-a-day", 10, *words)
        assert isinstance(done.exception, SettingsError)
        assert said in str(done.exception)
