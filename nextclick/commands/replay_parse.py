"""What people type for a replay, as the records that the replay takes. Each error names the option."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.api import Placement
from contracts.errors import SettingsError
from nextclick.commands.replay_options import (
    PaceOptions,
    QuestionAndBaselineOptions,
    QuestionOptions,
    VaryingPaceOptions,
)

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.options import PlayOptions, Questions
    from replay.engine.pacer import Curve, Pace

PLACEMENT_BY_EVENT = {"view": "product", "cart": "cart", "purchase": "homepage", "search": "search", "*": "homepage"}


def pace_of(asked: PaceOptions) -> Pace:
    """Return the pace that --speed, --rate, --ramp, --peak and --curve ask for. Raises SettingsError for a clash."""
    from replay.engine.pacer import FixedRate, RateProfile, TimesFaster, Warped

    paced = asked if isinstance(asked, VaryingPaceOptions) else VaryingPaceOptions(asked.speed, asked.rate)
    speed, rate, ramp, peaks, curve = paced.speed, paced.rate, paced.ramp, paced.peak or [], paced.curve
    if ramp and (rate is not None or peaks or curve):
        raise SettingsError(
            "--ramp: expected it alone, got --rate, --peak or --curve with it: put a --curve on a --rate"
        )
    if speed is not None and (rate is not None or ramp):
        raise SettingsError(f"expected --speed, or {'--ramp' if ramp else '--rate'}, got both: leave one out")
    if ramp:
        return RateProfile.parse_ramp(ramp)
    shape = _curve_of(peaks, curve)
    if rate is not None:
        return FixedRate(rate) if shape is None else RateProfile.along(rate, shape)
    return TimesFaster(speed or 1.0) if shape is None else Warped(speed or 1.0, shape)


def _curve_of(peaks: list[str], curve: Path | None) -> Curve | None:
    from replay.engine.pacer import Curve, Peak

    if peaks and curve is not None:
        raise SettingsError("expected --peak or --curve, got both: put the peak into the curve's file")
    if curve is not None:
        return Curve.read(curve)
    if not peaks:
        return None
    try:
        return Curve.with_peaks(tuple(Peak.parse(peak) for peak in peaks))
    except ValueError as error:
        raise SettingsError(f"--peak: {error}") from error


def questions_of(asked: QuestionOptions) -> Questions | None:
    """Return what --recommend, --placement and --ask ask for, with baselines where `asked` has them; None: nothing."""
    from replay.engine.options import Questions

    if not asked.recommend:
        return None
    questions = Questions(
        share=_share_of(asked.recommend), placements=placements_of(asked.placement), when=asked.ask, baselines=False
    )
    if isinstance(asked, QuestionAndBaselineOptions):
        return replace(questions, prime=asked.prime, seen_items=asked.seen_items, baselines=True)
    return questions


def _share_of(recommend: str) -> float:
    try:
        share = 1.0 if recommend == "all" else float(recommend)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise SettingsError(f"--recommend: expected all, or a share above 0 and up to 1, got {recommend!r}")
    return share


def placements_of(text: str) -> dict[str, str]:
    """Read `homepage`, `by-event`, or `view=product,cart=cart,*=homepage`. Raises SettingsError."""
    if text == "by-event":
        return dict(PLACEMENT_BY_EVENT)
    found = {"*": "homepage"}
    for part in text.split(","):
        event, equals, placement = part.strip().rpartition("=")
        if placement not in list(Placement):
            raise SettingsError(
                f"--placement: expected by-event, one of {', '.join(Placement)}, or view=product, got {part!r}"
            )
        found[event if equals else "*"] = placement
    return found


def plain_options(
    recording: Path, tempo: PaceOptions, events: int | None, recommend: float, *, watch: float = 0.0
) -> PlayOptions:
    """Return what --speed, --rate, --events and a share of --recommend ask for, without baselines, and the
    environment's API key.
    """
    from nextclick.stack.api_key import api_key
    from replay.engine.options import PlayOptions, Questions

    return PlayOptions(
        recording,
        pace=pace_of(tempo),
        events=events,
        questions=Questions(share=recommend, baselines=False) if recommend > 0 else None,
        watch=watch,
        key=api_key(),
    )
