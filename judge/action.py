"""What the judge does about a verdict, or why it does nothing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from contracts.experiments import ExperimentVersion

if TYPE_CHECKING:  # scipy is imported with the first report
    from experiments.decision import Verdict

DAY_MS: Final = 86_400_000
WHY_LENGTH: Final = 500


class Action(NamedTuple):
    """What is asked of the gateway. `variant`: whom to promote."""

    kind: Literal["stop", "promote"]
    variant: str
    why: str


def action_of(
    version: ExperimentVersion, verdict: Verdict, *, now_ms: int, lag_s: float | None, max_lag_s: float
) -> tuple[Action | None, str | None]:
    """Return what to do, or why what the verdict says is not done; neither, where it says to do nothing.

    lag_s: how far the figures may be behind the log, None for not known.
    """
    experiment, why = version.experiment, verdict.sentence[:WHY_LENGTH]
    action: Action
    if verdict.kind in ("stop", "ratio"):
        if not experiment.stop_on_guardrail:
            return None, "`stop_on_guardrail` is false"
        action = Action("stop", "", why)
    elif verdict.kind == "ship":
        if not experiment.promote_winner:
            return None, "`promote_winner` is false"
        days = (now_ms - max(version.started_ms, version.begins_ms)) / DAY_MS
        if days < experiment.minimum_days:
            return None, f"it has run for {days:.1f} of {experiment.minimum_days} days (`minimum_days`)"
        action = Action("promote", verdict.treatment, why)
    else:
        return None, None
    if lag_s is None:
        return None, "it is not known how far the figures are behind the log"
    if lag_s > max_lag_s:
        return None, f"the figures are {lag_s:.0f} s behind the log, expected at most {max_lag_s:.0f} (judge.max_lag)"
    return action, None
