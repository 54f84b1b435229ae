"""`nextclick replay diff`: two results, or two running targets, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind, lines_kind, written_aside
from nextclick.commands import replay_options
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_parse import plain_options
from nextclick.show.replay import bar, complain, console, write_json

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.options import PlayOptions
    from replay.report.diff import Change, Checked
    from replay.report.diff_lists import Difference, Estimate, ListsCompared
    from replay.report.diff_live import Both, Side

COMPARISON = json_kind("the result of `nextclick replay diff`", "a", "b", "changes", "checks")
DIFFERENCES = lines_kind("differing answers", lambda first: {"question", "only_a", "only_b"} <= first.keys())
Template = Annotated[Path | None, typer.Option(help="With --live: its template, when it is no gateway.")]


@spread
def diff(
    a: Annotated[str, typer.Argument(help="A result file; with --live the address of a gateway.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    recording: Annotated[Path | None, typer.Argument(help="With --live: what to play into both.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Play into two running targets at the same time.")] = False,
    *,
    tempo: replay_options.PaceOptions,
    events: replay_options.Events = None,
    recommend: replay_options.RecommendShare = 1.0,
    target_a: Template = None,
    target_b: Template = None,
    per_question: Annotated[
        Path | None, typer.Option(help="Write every question whose answers differ (.jsonl).")
    ] = None,
    conditions: Annotated[
        str, typer.Option("--assert", help="Exit 1 unless all hold: p99<+10%, hit_rate.low>-0.01, overlap@20>=0.8.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the comparison as JSON.")] = None,
) -> None:
    """Compare two results, or two live targets that are fed the same schedule.

    Exits 1 when a condition does not hold, or when a live run lost events or is invalid.
    """
    from replay.report.diff import changes, check, parse_conditions
    from replay.report.page import read_result

    given = [recording, target_a, target_b, *((Path(a), Path(b)) if not live else ())]
    expect_outputs((out, COMPARISON), (per_question, DIFFERENCES), inputs=given)
    wanted = parse_conditions(conditions)
    lists: ListsCompared | None = None
    if live:
        from nextclick.stack.settings import gateway_url
        from replay.report.diff_live import Side

        if recording is None:
            raise SettingsError("diff --live: expected A, B and a recording to play into both")
        options = plain_options(recording, tempo, events, recommend)
        both = _played(options, Side(gateway_url(a), target_a), Side(gateway_url(b), target_b), per_question)
        ours, theirs, lists, sound = both.a.as_json(), both.b.as_json(), both.lists, _sound(both)
    else:
        if recording is not None:
            raise SettingsError("diff: expected two result files; a recording goes with --live")
        ours, theirs, sound = read_result(Path(a)), read_result(Path(b)), True
        lists = _kept_answers([(Path(a), ours), (Path(b), theirs)], per_question)
    found = changes(ours, theirs)
    checked = check(wanted, found, lists.metrics() if lists is not None else None)
    console.print(changes_table(found, a, b))
    if lists is not None:
        console.print(*lists_tables(lists))
    for one in checked:
        console.print(f"[{'green]holds' if one.ok else 'bold red]does not hold'}[/] {one}", highlight=False)
    if out is not None:
        write_json(out, _document(a, b, found, lists, checked), COMPARISON)
    raise typer.Exit(0 if sound and all(one.ok for one in checked) else 1)


def _kept_answers(results: Sequence[tuple[Path, dict[str, Any]]], per_question: Path | None) -> ListsCompared | None:
    """Compare the answers that two runs of one recording have kept; None when one has kept none."""
    from replay.measure.answer_log import compare_answers

    files = [file for path, result in results if (file := _answers_of(path, result)) is not None]
    if len(files) < len(results):
        if per_question is not None:
            raise SettingsError("--per-question: expected results of `replay play --answers`, or --live")
        return None
    if len({result["recording"].rpartition("(")[2] for _, result in results}) > 1:  # how many events
        console.print("answers are not compared: they are of two recordings", style="yellow")
        return None
    with _lines(per_question) as on_difference:
        return compare_answers(files[0], files[1], on_difference=on_difference)


def _answers_of(path: Path, result: dict[str, Any]) -> Path | None:
    """Return the answers that a result names: where they were, or beside the result that was moved with them."""
    named = result.get("answers_file")
    if not named:
        return None
    return next((file for file in (Path(named), path.parent / Path(named).name) if file.exists()), None)


def _played(options: PlayOptions, a: Side, b: Side, per_question: Path | None) -> Both:
    import uvloop

    from nextclick.stack.client import expect_listening
    from replay.report.diff_live import play_both

    for side in (a, b):
        if side.template is None:
            expect_listening(side.url)
    with _lines(per_question) as on_difference, bar(options) as (_, show):
        return uvloop.run(play_both(options, a, b, progress=show, on_difference=on_difference))


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[Difference], None]]:
    """Give what writes a line for every question whose answers differ, as it happens."""
    import orjson

    if path is None:
        yield lambda one: None
        return
    with written_aside(path, DIFFERENCES) as aside, aside.open("xb") as file:

        def write(one: Difference) -> None:
            file.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))

        yield write
    console.print(f"Written: {path}", soft_wrap=True)


def _sound(both: Both) -> bool:
    """Tell whether both runs may be compared, and say what is against it."""
    for name, one in (("A", both.a), ("B", both.b)):
        complain(tuple(f"{name}: {reason}" for reason in one.invalid))
        if one.lost:
            console.print(f"[bold red]{one.lost:,} events were lost[/] by {name}: {one.failed}")
    return not any(one.lost or one.invalid for one in (both.a, both.b))


def changes_table(found: Sequence[Change], a: str, b: str) -> Table:
    """Return the differences of two runs as a table; what is clear stands out."""
    table = _table("metric", "A", "B", "B - A", "", "95% interval", title=f"A {a}\nB {b}")
    for one in found:
        show = {"ms": _milliseconds, "share": _points}.get(one.unit, _number)
        relative = f"{one.relative:+.1%}" if one.unit == "ms" and one.relative is not None else ""
        values = (show(one.a).lstrip("+"), show(one.b).lstrip("+"), show(one.difference), relative)
        interval = f"{show(one.low)} to {show(one.high)}"
        unit = " ms" if one.unit == "ms" else ""
        table.add_row(one.metric + unit, *values, interval, style="bold" if one.clear else "dim")
    return table


def lists_tables(lists: ListsCompared) -> list[Table]:
    """Return how two targets' answers compare: what they share, why one alone shows an item, what rules took away."""
    table = _table("answers compared", f"{lists.questions:,}", "95% interval", title="The same questions, two answers")
    rows: dict[str, tuple[Estimate, Callable[[float], str]]] = {
        f"overlap@{k}": (one, "{:.3f}".format) for k, one in lists.overlap.items()
    }
    rows["hit rate, B - A, paired"] = lists.hit_difference, _points
    rows["same first item"] = lists.same_first, "{:.3f}".format
    rows["same list"] = lists.same_list, "{:.3f}".format
    rows["mean change of position"] = lists.rank_change, "{:.2f}".format
    for name, (one, show) in rows.items():
        table.add_row(name, show(one.value), f"{show(one.low)} to {show(one.high)}")
    alone = _table("reason", "only A", "only B", title="Items that one alone shows, by the reason it gives")
    for reason in {**lists.only_a, **lists.only_b}:
        alone.add_row(reason, f"{lists.only_a.get(reason, 0):,}", f"{lists.only_b.get(reason, 0):,}")
    return [table, alone, _rules_table(lists)]


def _rules_table(lists: ListsCompared) -> Table:
    names = ("rule", "A drops", "B drops", "B - A", "95% interval", "lost by A", "by B")
    title = "Candidates of an answer that rules dropped, and items lost by them that the other shows"
    table = _table(*names, title=title)
    for rule, one in lists.rules.items():
        change = one.difference
        shown = (
            f"{one.a:.2f}",
            f"{one.b:.2f}",
            _number(change.value),
            f"{_number(change.low)} to {_number(change.high)}",
        )
        if not one.a and not one.b and not change.value:
            shown = ("", "", "", "")
        table.add_row(rule, *shown, f"{one.gone_in_a:,}", f"{one.gone_in_b:,}")
    return table


def _table(*names: str, title: str) -> Table:
    """Return an empty table that fits 80 columns: names to the left, figures to the right."""
    table = Table(*names, title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    return table


def _milliseconds(value: float) -> str:
    return f"{value:+,.2f}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}%"


def _number(value: float) -> str:
    return f"{value:+,.3f}"


def _document(
    a: str, b: str, found: Sequence[Change], lists: ListsCompared | None, checked: Sequence[Checked]
) -> dict[str, Any]:
    compared = asdict(lists) if lists is not None else None
    if compared is not None:
        compared["overlap"] = {str(k): one for k, one in compared["overlap"].items()}
    return {
        "a": a,
        "b": b,
        "changes": [one.as_json() for one in found],
        "lists": compared,
        "checks": [{"name": one.condition.text, "value": one.value, "held": one.ok} for one in checked],
    }
