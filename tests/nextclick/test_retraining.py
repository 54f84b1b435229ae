"""Training again and again: when, on what, and what is said of it. The training itself: `test_retrain`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import orjson
import pytest

from contracts.codec import encode_row
from contracts.errors import SettingsError, StateUnavailable
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.retrain_settings import RetrainOptions
from contracts.retrain_status import RetrainStatus
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.files import read_events, read_items, write_events
from eventlog.open_log import open_writer
from nextclick.stack import retraining
from nextclick.stack.retrain_data import write_catalogue, write_newest
from nextclick.stack.retraining import Loop, Ran, after, begun, command, noted, registry_of, train
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from registry.folder import Registry
from registry.retrained import read_retrained
from state.retrain_status import RetrainStatusStore
from state.tables import TableWriter
from tests.gateway.conftest import event

DAY = 86_400_000
NOW = 1_790_000_000_000


class Clock:
    now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


def test_a_run_is_due_one_period_after_the_last_began_whenever_the_loop_is_started() -> None:
    first = begun(None, DAY, NOW)
    assert (first.next_ms, first.last) == (NOW + DAY, None)
    ran = after(first, Ran("published", "Better.", "v", 10), NOW + DAY, NOW + DAY + 500)
    assert (ran.next_ms, ran.runs, ran.running_since_ms) == (NOW + 2 * DAY, {"published": 1}, None)
    assert ran.last is not None
    assert (ran.last.why, ran.last.version, ran.last.events) == ("Better.", "v", 10)
    assert begun(ran, DAY, NOW + DAY + 700).next_ms == NOW + 2 * DAY
    assert begun(ran, DAY, NOW + 9 * DAY).next_ms == NOW + 2 * DAY
    assert begun(ran, 1000, NOW + DAY + 700).next_ms == NOW + DAY + 1700


def test_a_run_that_failed_is_tried_again_after_ten_minutes_and_one_that_took_longer_at_once() -> None:
    status = RetrainStatus(every_ms=DAY, next_ms=NOW)
    assert after(status, Ran("failed", "no disk"), NOW, NOW + 1).next_ms == NOW + 600_000
    assert after(status, Ran("refused", "Worse."), NOW, NOW + 3 * DAY).next_ms == NOW + 3 * DAY


def test_whatever_a_run_raises_is_its_outcome_and_the_loop_goes_on() -> None:
    clock, told, raised = Clock(), list[RetrainStatus](), iter([OSError("disk full"), ZeroDivisionError("odd")])

    def run() -> Ran:
        error = next(raised, None)
        if error is not None:
            raise error
        return Ran("refused", "Worse: mrr.", "v2", 7)

    loop = Loop(run, told.append, begun(None, 60_000, NOW), clock)
    assert loop.look() == 60_000
    clock.now_ms += 60_000
    assert loop.look() == 60_000
    assert told[-2].running_since_ms == NOW + 60_000
    for _ in range(2):
        clock.now_ms += 60_000
        loop.look()
    last = told[-1].last
    assert last is not None
    assert (told[-1].runs, last.outcome, last.why) == ({"failed": 2, "refused": 1}, "refused", "Worse: mrr.")


def test_a_redis_that_is_away_ends_nothing() -> None:
    clock = Clock()

    def away(status: RetrainStatus) -> None:
        raise StateUnavailable("no Redis")

    loop = Loop(lambda: Ran("published", "Better."), away, begun(None, 60_000, NOW), clock)
    clock.now_ms += 60_000
    assert loop.look() == 60_000
    assert loop.status.runs == {"published": 1}


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    registry = Registry(tmp_path / "models")
    registry.publish(registry.add(ARTIFACTS, now_ms=NOW).name, now_ms=NOW)
    options = RetrainOptions(recordings=str(tmp_path / "recorded"), least_events=3)
    return ServiceSettings(
        redis=redis_settings,
        log=LogSettings(partitions=2),
        artifacts=str(tmp_path / "models" / "serving"),
        retrain=options,
    )


def recorded(folder: Path, name: str, *times: int) -> None:
    folder.mkdir(exist_ok=True)
    write_events(folder / name, [event(f"{name}-{ts}", "s", "i", ts=ts) for ts in times])


def times(path: Path) -> list[int]:
    return [one.ts for one in read_events(path)]


def test_recordings_of_several_gateways_are_one_in_time_order_and_what_is_too_old_is_left_out(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "recorded"
    recorded(folder, "a.jsonl.zst", NOW - 40 * DAY, NOW - 3 * DAY, NOW - DAY)
    recorded(folder, "b.jsonl.zst", NOW - 2 * DAY, NOW - 1)
    recorded(folder, "old.jsonl.zst", NOW - 50 * DAY)
    (folder / "broken.jsonl.zst").write_bytes(b"none")
    header = write_newest(settings, settings.retrain, NOW, tmp_path / "out.jsonl.zst")
    assert times(tmp_path / "out.jsonl.zst") == [NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY, NOW - 1]
    assert header.events == 4


def test_without_recordings_it_is_the_log_and_the_catalogue_is_that_of_the_table(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    options = settings.retrain.model_copy(update={"recordings": ""})
    with closing(open_writer(settings.log, settings.redis)) as writer:
        raws = [event(f"e{ts}", "s", "i", ts=ts) for ts in (NOW - 90 * DAY, NOW - 5, NOW - 9)]
        writer.append(Topic.CLICKS, [Record("s", orjson.dumps(raw)) for raw in raws])
    write_newest(settings, options, NOW, tmp_path / "out.jsonl.zst")
    assert times(tmp_path / "out.jsonl.zst") == [NOW - 9, NOW - 5]
    with closing(TableWriter(settings.redis, CATALOGUE)) as table:
        row = CatalogueRow("i", Item(title="Lamp"), 7, 1, 0, b"")
        table.commit({item_key("i").to_bytes(8, "little"): encode_row(row)})
    assert write_catalogue(settings, tmp_path / "items.jsonl.zst") == 1
    [(item_id, item)] = read_items(tmp_path / "items.jsonl.zst")
    assert (item_id, item.title, item.stock) == ("i", "Lamp", 7)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """In place of trainings: what they would be asked; they are the command lines that `says` names."""
    asked: list[list[str]] = []
    monkeypatch.setattr(retraining, "command", lambda options, recording, items, folder: asked[0])
    return asked


def test_too_few_events_are_waited_for_and_a_training_that_fails_says_its_last_words(
    settings: ServiceSettings, tmp_path: Path, ran: list[list[str]]
) -> None:
    recorded(tmp_path / "recorded", "a.jsonl.zst", NOW - 1, NOW)
    registry = registry_of(settings)
    found = train(settings, registry, tmp_path / "run.log", lambda: NOW)
    assert (found.outcome, found.events) == ("skipped", 2)
    recorded(tmp_path / "recorded", "a.jsonl.zst", NOW - 2, NOW - 1, NOW)
    ran.append(["sh", "-c", "echo begun; echo 'no memory' >&2; exit 3"])
    found = train(settings, registry, tmp_path / "run.log", lambda: NOW)
    assert (found.outcome, found.why, found.version) == ("failed", "exit status 3: no memory", None)


def test_a_candidate_is_told_by_its_version_and_old_ones_go(
    settings: ServiceSettings, tmp_path: Path, ran: list[list[str]]
) -> None:
    recorded(tmp_path / "recorded", "a.jsonl.zst", NOW - 2, NOW - 1, NOW)
    registry = registry_of(settings)
    first = registry.names()[0]
    other = tmp_path / "other"
    (other / "reranker").mkdir(parents=True)
    for n in range(4):
        (other / "reranker" / "ranker.ubj").write_text(str(n))
        registry.add(other, now_ms=NOW + 1000 * (n + 1), note=f"Candidate {n}.")
    newest = registry.names()[-1]
    before = registry.names
    seen = iter([registry.names()[:-1]])
    registry.names = lambda: next(seen, None) or before()  # type: ignore[method-assign]
    ran.append(["sh", "-c", "exit 1"])
    keeping = settings.model_copy(update={"retrain": settings.retrain.model_copy(update={"keep": 3})})
    found = train(keeping, registry, tmp_path / "run.log", lambda: NOW)
    assert (found.outcome, found.why, found.version) == ("refused", "Candidate 3.", newest)
    assert len(registry.names()) == 4  # the three newest, and the one that serves
    assert first in registry.names()


def test_a_candidate_that_is_refused_again_did_not_fail(settings: ServiceSettings) -> None:
    registry = registry_of(settings)
    [name] = registry.names()
    ran = retraining._outcome(registry, 1, f"a table\n{name}: Only 97 pages.\n", None, 9)
    assert (ran.outcome, ran.version) == ("refused", name)


def test_what_passed_while_another_is_pinned_is_told_so(settings: ServiceSettings, tmp_path: Path) -> None:
    registry = registry_of(settings)
    first = registry.names()[0]
    (tmp_path / "other" / "reranker").mkdir(parents=True)
    (tmp_path / "other" / "reranker" / "ranker.ubj").write_text("1")
    second = registry.add(tmp_path / "other", now_ms=NOW, note="Better.").name
    registry.pin(first)
    ran = retraining._outcome(registry, 0, "", second, 9)
    assert (ran.outcome, ran.why) == ("passed", f"Better. It does not serve: {first} is pinned.")


def test_whatever_comes_of_a_run_is_noted_beside_the_models(tmp_path: Path) -> None:
    def away() -> Ran:
        raise StateUnavailable("no Redis")

    assert noted(lambda: Ran("skipped", "Too few."), tmp_path).outcome == "skipped"
    with pytest.raises(StateUnavailable):
        noted(away, tmp_path)
    assert set(read_retrained(tmp_path)) == {"skipped", "failed"}


def test_the_command_line_says_what_the_settings_say() -> None:
    options = RetrainOptions(metric="mrr, hit_rate", may_lose=0.05, settings="shop.toml", mlflow="file:runs")
    words = command(options, Path("e"), Path("i"), Path("models"))
    assert words[3:] == [
        *["retrain", "e", "--folder", "models", "--newest", "0.1", "--may-lose", "0.05"],
        *["--metric", "mrr", "--metric", "hit_rate", "--items", "i"],
        *["--settings", "shop.toml", "--mlflow", "file:runs"],
    ]


def test_the_stack_runs_it_where_it_has_a_period_and_refuses_artifacts_of_no_registry(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    def stack(artifacts: str, every: str | None) -> Stack:
        given = {"stack.folder": tmp_path / "stack", "artifacts": artifacts, "retrain.every": every}
        return Stack(with_given(StackSettings(), given))

    assert "retrain" not in [child.name for child in stack(settings.artifacts, None)._children()]
    child = stack(settings.artifacts, "P1D")._children()[-1]
    assert (child.name, child.niceness, child.env["NEXTCLICK_RETRAIN__EVERY"]) == ("retrain", 10, "P1D")
    with pytest.raises(SettingsError, match="to be the `serving` of a folder of models"):
        stack(str(ARTIFACTS), "P1D")._expect_what_children_read()


def test_its_state_is_read_as_it_was_written(redis_settings: RedisSettings) -> None:
    store = RetrainStatusStore(redis_settings)
    assert store.read() is None
    status = after(begun(None, DAY, NOW), Ran("refused", "Worse.", None, 5), NOW, NOW + 1)
    store.write(status)
    assert store.read() == status
    store.close()
