"""The command line: every command in one place. Rooms are imported when their command runs, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module, metadata
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from typer.core import TyperGroup

from contracts.errors import NextclickError, said_in
from contracts.masked import masked
from contracts.settings import wrong_setting
from nextclick.show.renamed import renamed
from nextclick.stack.as_init import work_beside_init

Verbs = Mapping[str, Callable[..., None]]


VERBS = (
    "demo",
    "buyers",
    "up",
    "doctor",
    "restore",
    "retrain",
    "explain",
    "flow",
    "mirror",
    "progress",
    "settings",
    "formats",
    "features",
    "tune",
    "plan",
    "quality",
)
"""Commands of the first level: each is the function of its name in a module of its name."""


RENAMED: Mapping[str, tuple[str, str]] = {"shards": ("items", "shards")}
"""Names of before that are still taken, and not shown: the group and the verb that they are now."""


@cache
def build_app(name: str = "") -> typer.Typer:
    """Return the whole command line; or, quicker, no more of it than the command or group of this name."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Nextclick: a streaming, session-based recommender. One click changes the next recommendation.",
    )
    app.callback(invoke_without_command=True)(_options)
    known = name in VERBS or name in GROUPS or name in RENAMED
    for verb in VERBS:
        if not known or verb == name:
            app.command(verb)(getattr(import_module(f"nextclick.commands.{verb}"), verb))
    for group in GROUPS:
        if not known or group == name:
            app.add_typer(_group(group), name=group)
    for before, now in RENAMED.items():
        if not known or before == name:
            app.command(before, hidden=True)(renamed(GROUPS[now[0]][1]()[now[1]], before, *now))
    return app


def groups() -> dict[str, typer.Typer]:
    """Return the commands that have commands of their own, by name."""
    return {name: _group(name) for name in GROUPS}


class _OfItsOwnName(TyperGroup):
    """A group that is a command too: `nextclick backup FOLDER` stands for `nextclick backup make FOLDER`."""

    verb = "make"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.verb, *args]
        return super().parse_args(ctx, args)


@cache
def _group(name: str) -> typer.Typer:
    help, verbs = GROUPS[name]
    found = verbs()
    kind = _OfItsOwnName if _OfItsOwnName.verb in found else TyperGroup
    group = typer.Typer(no_args_is_help=True, help=help, cls=kind)
    for verb, function in found.items():
        group.command(verb)(function)
    return group


def _backup_verbs() -> Verbs:
    from nextclick.commands import backup

    return {"make": backup.make, "verify": backup.verify}


def _bench_verbs() -> Verbs:
    from nextclick.bench import freshness, globo, index, profile, replay, replay_globo, serving

    return {
        "globo": globo.globo,
        "freshness": freshness.freshness,
        "index": index.bench_index,
        "profile": profile.profile,
        "serving": serving.serving,
        "replay": replay.replay_bench,
        "replay-globo": replay_globo.bench_replay_globo,
    }


def _campaign_verbs() -> Verbs:
    from nextclick.commands import campaign_run

    return {"run": campaign_run.run_campaign}


def _dead_letters_verbs() -> Verbs:
    from nextclick.commands import dead_letters, dead_letters_change

    return {
        "list": dead_letters.list_letters,
        "show": dead_letters.show,
        "count": dead_letters.count,
        "replay": dead_letters_change.replay,
        "drop": dead_letters_change.drop,
    }


def _evaluate_verbs() -> Verbs:
    from nextclick.commands import (
        evaluate_impressions,
        evaluate_next_item,
        evaluate_policy,
        evaluate_scenarios,
        evaluate_stream,
        evaluate_users,
    )

    return {
        "next-item": evaluate_next_item.next_item,
        "stream": evaluate_stream.stream,
        "impressions": evaluate_impressions.impressions,
        "scenarios": evaluate_scenarios.scenarios,
        "policy": evaluate_policy.policy,
        "users": evaluate_users.users,
    }


def _experiment_verbs() -> Verbs:
    from nextclick.commands import (
        experiment,
        experiment_bandit_log,
        experiment_power,
        experiment_report,
        experiment_simulate,
        experiment_simulations,
        experiment_units,
    )

    return {
        "list": experiment.list_experiments,
        "show": experiment.show,
        "put": experiment.put,
        "stop": experiment.stop,
        "promote": experiment.promote,
        "rollback": experiment.rollback,
        "versions": experiment.versions,
        "simulate": experiment_simulate.simulate,
        "report": experiment_report.report,
        "power": experiment_power.power,
        "units": experiment_units.units,
        "bandit-log": experiment_bandit_log.bandit_log,
        "bandit-simulate": experiment_simulations.bandit,
        "interleave-simulate": experiment_simulations.interleave,
    }


def _feed_verbs() -> Verbs:
    from nextclick.commands import feed

    return {
        "add": feed.add,
        "list": feed.list_feeds,
        "show": feed.show,
        "pull": feed.pull,
        "confirm": feed.confirm,
        "remove": feed.remove,
        "run": feed.run,
    }


def _index_verbs() -> Verbs:
    from nextclick.commands import index, index_store

    return {
        "build": index.build_snapshot,
        "inspect": index.inspect,
        "verify": index.verify,
        "rollback": index.rollback,
        "push": index_store.push,
        "pull": index_store.pull,
        "shard": index.shard,
    }


def _items_verbs() -> Verbs:
    from nextclick.commands import items_images, items_load, items_shards, items_shop

    found: Verbs = {"load": items_load.load_items, "images": items_images.images, "shop": items_shop.shop}
    return {**found, "shards": items_shards.shards}


def _import_verbs() -> Verbs:
    from nextclick.commands import import_logs

    return {command.__name__.removeprefix("import_"): command for command in import_logs.IMPORTS}


def _keys_verbs() -> Verbs:
    from nextclick.commands import keys, keys_audit

    return {
        "create": keys.create,
        "list": keys.list_keys,
        "rotate": keys.rotate,
        "revoke": keys.revoke,
        "audit": keys_audit.show_audit,
    }


def _kpi_verbs() -> Verbs:
    from nextclick.commands import kpi, kpi_alert, kpi_export, kpi_verify

    return {
        "show": kpi.show_kpi,
        "verify": kpi_verify.verify_kpi,
        "export": kpi_export.export_kpi,
        "alert": kpi_alert.alert_kpi,
    }


def _models_verbs() -> Verbs:
    from nextclick.commands import models, models_change, models_store

    return {
        "list": models.list_versions,
        "show": models.show,
        "compare": models.compare,
        "history": models.history,
        "verify": models.verify,
        "add": models_change.add,
        "publish": models_change.publish,
        "rollback": models_change.rollback,
        "pin": models_change.pin,
        "shadow": models_change.shadow,
        "push": models_store.push,
        "pull": models_store.pull,
    }


def _replay_verbs() -> Verbs:
    from nextclick.commands import (
        replay_anonymise,
        replay_diff,
        replay_export,
        replay_freshness,
        replay_limit,
        replay_play,
        replay_record,
        replay_report,
        replay_scenario,
        replay_show,
    )

    return {
        "show": replay_show.show,
        "play": replay_play.play,
        "freshness": replay_freshness.freshness,
        "limit": replay_limit.limit,
        "export": replay_export.export,
        "record": replay_record.record,
        "anonymise": replay_anonymise.anonymise,
        "report": replay_report.report,
        "diff": replay_diff.diff,
        "scenario": replay_scenario.scenario,
    }


def _sample_verbs() -> Verbs:
    from nextclick.commands import sample_describe, sample_make, sample_plant

    return {"make": sample_make.make, "describe": sample_describe.describe, "plant": sample_plant.plant_fault}


def _scenario_verbs() -> Verbs:
    from nextclick.commands import scenario, scenario_assert, scenario_check, scenario_diff

    return {
        "list": scenario.list_scenarios,
        "show": scenario.show,
        "check": scenario_check.check,
        "diff": scenario_diff.diff,
        "assert": scenario_assert.assert_statements,
        "put": scenario.put,
        "delete": scenario.delete,
        "versions": scenario.versions,
        "rollback": scenario.rollback,
    }


def _train_verbs() -> Verbs:
    from nextclick.commands import (
        train_models,
        train_quality,
        train_reranker,
        train_session_model,
        train_shop,
        train_user_tower,
    )

    return {
        "session-model": train_session_model.session_model,
        "shop": train_shop.shop,
        "quality": train_quality.quality,
        "reranker": train_reranker.reranker,
        "models": train_models.models,
        "user-tower": train_user_tower.user_tower,
    }


GROUPS: Mapping[str, tuple[str, Callable[[], Verbs]]] = {
    "backup": (
        "Back up a deployment: `nextclick backup FOLDER` (or FILE); `nextclick restore` brings it back.",
        _backup_verbs,
    ),
    "bench": ("Measure the whole stack; what `make bench-...` calls.", _bench_verbs),
    "campaign": ("Picks for an audience: for an email, a push, a call to a webhook.", _campaign_verbs),
    "dead-letters": ("What could not be taken: look at it, send it again, drop it.", _dead_letters_verbs),
    "evaluate": ("Measure ranking quality on recorded sessions.", _evaluate_verbs),
    "experiment": (
        "Experiments: publish, certify, stop; what was found and how long one takes (needs the `experiments` extra).",
        _experiment_verbs,
    ),
    "feed": ("Catalogues that a shop publishes, pulled again and again: Merchant XML, CSV, Shopify, ...", _feed_verbs),
    "index": ("Snapshots of the index: build, look into, check, go back.", _index_verbs),
    "items": (
        "Load catalogue items into a running stack, make files of them; shards of the catalogue in Redis.",
        _items_verbs,
    ),
    "import": ("Turn published recordings into event-log files (.jsonl.zst).", _import_verbs),
    "keys": ("API keys: who may call the gateway, and who changed what.", _keys_verbs),
    "kpi": ("What was shown, and what came of it; `verify` counts again from the log.", _kpi_verbs),
    "models": ("Versions of the models: what there is, which one serves, go back.", _models_verbs),
    "replay": ("Play recorded traffic and measure what it does.", _replay_verbs),
    "sample": ("A year of a synthetic shop, at size.", _sample_verbs),
    "scenario": ("What a shop decides of its lists: publish, check, try, go back.", _scenario_verbs),
    "train": ("Train models (needs the `train` extra: torch).", _train_verbs),
}


def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        Console().print(f"nextclick {metadata.version('nextclick')}", highlight=False)
        raise typer.Exit


def main() -> None:
    """Run the command line; an expected error is one message, not a traceback."""
    work_beside_init()
    try:
        build_app(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))()
    except NextclickError as error:
        _complain(str(error))
    except ValidationError as error:
        _complain(str(wrong_setting(error)))
    except BaseExceptionGroup as group:
        if (said := said_in(group)) is None:
            raise
        _complain(str(said))
    except OSError as error:
        _complain(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _complain(text: str) -> NoReturn:
    shown = Console(stderr=True)
    shown.print("[bold red]error[/] ", end="")
    lines = (" ".join(line.split()) for line in masked(text).splitlines())
    shown.print("\n".join(filter(None, lines)), markup=False, emoji=False, highlight=False, soft_wrap=True)
    sys.exit(1)
