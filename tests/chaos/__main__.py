"""`make chaos`: faults at random moments under a real stack, and everything compared with a plain reading of the log.

    python -m tests.chaos [--short] [--seed 1] [--log redis] [--only kills] [--folder FOLDER]

The whole matrix takes about 40 minutes, `--short` a minute. A seed draws the same faults and traffic again;
when they meet is the machine's. Figures go to build/bench/chaos.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextclick.bench.report import console, expect_bench
from tests.chaos.matrix import full, short
from tests.chaos.report import print_outcomes, write_outcomes
from tests.chaos.scenario import Outcome, Scenario, run_scenario
from tests.kafka_broker import KafkaBroker, NoKafka


def main() -> None:
    options = _options()
    expect_bench("chaos")
    outcomes: list[Outcome] = []
    command = "make chaos" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else "")
    for log in options.log or ["redis", "kafka"]:
        chosen = (short if options.short else full)(log)
        chosen = [one for one in chosen if not options.only or one.name in options.only]
        outcomes += _run_all(log, chosen, options.seed, options.folder)
    print_outcomes(outcomes, command)
    write_outcomes(outcomes, command)
    if not all(outcome.held for outcome in outcomes):
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one scenario of a minute a log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", action="append", choices=["redis", "kafka"], help="one log instead of both")
    parser.add_argument("--only", action="append", help="scenarios by name, instead of all")
    parser.add_argument("--folder", type=Path, help="keep all files (logs among them) in this empty folder")
    return parser.parse_args()


def _run_all(log: str, scenarios: list[Scenario], seed: int, kept: Path | None) -> Iterator[Outcome]:
    with _folder(kept) as folder, _broker(log, folder) as broker:
        if log == "kafka" and broker is None:
            return
        for scenario in scenarios:
            place = folder / f"{log}-{scenario.name.replace(' ', '-')}"
            with console.status(f"{log}: {scenario.name}") as status:
                outcome = run_scenario(
                    scenario, place, seed, broker, lambda text, n=scenario.name: status.update(f"{log}: {n}: {text}")
                )
            worst = max((moment.recovery_s for moment in outcome.moments), default=0.0)
            console.print(
                f"{log}: {scenario.name}: {outcome.skipped or 'held' if outcome.held else '[red]did not hold[/]'}, "
                f"{len(outcome.moments)} faults, {outcome.events:,} events, longest recovery {worst:.1f} s",
            )
            for line in outcome.wrong[:10]:
                console.print(f"  {line}", style="red", markup=False, highlight=False)
            yield outcome


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="nextclick-chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _broker(log: str, folder: Path) -> Iterator[KafkaBroker | None]:
    if log == "redis":
        yield None
        return
    (folder / "kafka").mkdir(parents=True, exist_ok=True)
    try:
        broker = KafkaBroker(folder / "kafka")
        broker.format()
        broker.start()
    except NoKafka as reason:
        if os.environ.get("NEXTCLICK_REQUIRE_KAFKA") == "1":
            raise
        console.print(f"kafka: left out, {reason}", style="yellow")
        yield None
        return
    try:
        yield broker
    finally:
        broker.kill()


if __name__ == "__main__":
    main()
