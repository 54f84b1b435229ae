"""What the figures of an experiment support: a verdict, and the sentence that says it. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from experiments.report import Comparison, Report
from experiments.sample_ratio import SampleRatio

Kind = Literal["ship", "stop", "keep", "wait", "go_on", "ratio", "nothing"]
"""`ratio`: the units do not hold their shares; `stop`: a guardrail broke; `keep`: all treatments are worse; `nothing`:
the planned units are in, or the one look was taken, and nothing is shown.
"""


class Verdict(NamedTuple):
    """`treatment` is whom it is about, empty for all."""

    kind: Kind
    treatment: str
    sentence: str


def decision(found: Report) -> str:
    """Return the sentence of the verdict."""
    return verdict(found).sentence


def verdict(found: Report) -> Verdict:
    """Return what is to be done. First whether the figures can be believed, then what must not get worse, then what
    wins.
    """
    if found.ratio.is_broken:
        return ratio_broken(found.ratio)
    broken = [one for one in found.comparisons if one.metric.name in found.asked.guardrails and one.side < 0]
    if broken:
        return Verdict("stop", broken[0].treatment, f"Stop {broken[0].treatment}: guardrail {_moved(broken[0])}.")
    primary = found.of_metric(found.asked.metrics[0].name)
    clear = [one for one in primary if one.side and one.corrected < found.asked.alpha]
    better = sorted((one for one in clear if one.side > 0), key=lambda one: -abs(one.difference))
    if better:
        return Verdict("ship", better[0].treatment, f"Ship {better[0].treatment}: {_moved(better[0])}.")
    if clear and len(clear) == len(primary):
        return Verdict("keep", "", f"Keep {found.control}: with {clear[0].treatment} {_moved(clear[0])}.")
    return _not_decided(found, [one for one in primary if one not in clear])


def ratio_broken(ratio: SampleRatio) -> Verdict:
    """Return the verdict on an experiment whose units do not hold their shares."""
    sentence = (
        f"Stop, and find where units are lost: the variants do not hold the shares that were set "
        f"(p = {ratio.p:.2g}), so no figure of this experiment can be believed."
    )
    return Verdict("ratio", "", sentence)


def _not_decided(found: Report, left: list[Comparison]) -> Verdict:
    early = next((one for one in left if one.early), None)
    if early is not None:
        belief = early.belief
        so_far = f"; so far {early.treatment} is better with a chance of {belief.better:.0%}" if belief else ""
        few = f"{early.metric.name} of {early.treatment} has too few units for an interval ({early.early}){so_far}"
        return Verdict("wait", early.treatment, f"Wait: {few}.")
    widest = max(left, key=lambda one: one.ends[1] - one.ends[0])
    where = f"the change of {widest.metric.name} by {widest.treatment} lies within {_ends(widest)}"
    if found.asked.fixed:
        said = f"Nothing is shown: {where}, which holds 0; no second look can be taken at a fixed horizon."
        return Verdict("nothing", "", said)
    planned = f"{found.asked.planned:,}"
    if found.units >= found.asked.planned:
        return Verdict(
            "nothing", "", f"Stop, or plan for more: the planned {planned} units are in, and {where}, which holds 0."
        )
    return Verdict("go_on", "", f"Go on: after {found.units:,} of {planned} planned units {where}, which holds 0.")


def _moved(one: Comparison) -> str:
    verb = "rises" if one.difference > 0.0 else "falls"
    if one.lift == one.lift:  # not NaN
        return f"{one.metric.name} {verb} by {abs(one.lift):.1%} {_ends(one)}"
    return f"{one.metric.name} {verb} by {abs(one.difference):.4g} {_ends(one)}"


def _ends(one: Comparison) -> str:
    low, high = one.lift_ends
    if abs(low) < float("inf") and abs(high) < float("inf"):
        return f"[{low:+.1%}, {high:+.1%}]"
    return f"[{one.ends[0]:+.4g}, {one.ends[1]:+.4g}]"
