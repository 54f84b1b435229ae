"""What people type for a replay, as the records that the replay takes. Each error names the option."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contracts.api import Placement
from contracts.errors import SettingsError
from replay.choices import Ask, SeenItems

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.options import PlayOptions, Questions
    from replay.pacer import Curve, Pace

PLACEMENT_BY_EVENT = {"view": "product", "cart": "cart", "purchase": "homepage", "search": "search", "*": "homepage"}


def pace_of(speed: float | None, rate: float | None, ramp: str, peaks: list[str], curve: Path | None) -> Pace:
    """Return the pace that --speed, --rate, --ramp, --peak and --curve ask for. Raises SettingsError for a clash."""
    from replay.pacer import FixedRate, RateProfile, TimesFaster, Warped

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
    from replay.pacer import Curve, Peak

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


def questions_of(
    recommend: str,
    placement: str,
    prime: Path | None = None,
    seen_items: SeenItems = SeenItems.HIDDEN,
    when: Ask = Ask.CLICK,
    *,
    baselines: bool = True,
) -> Questions | None:
    """Return what --recommend, --placement, --prime, --seen-items and --ask ask for, None without questions."""
    from replay.options import Questions

    if not recommend:
        return None
    try:
        share = 1.0 if recommend == "all" else float(recommend)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise SettingsError(f"--recommend: expected all, or a share above 0 and up to 1, got {recommend!r}")
    return Questions(
        share=share,
        placements=placements_of(placement),
        prime=prime,
        seen_items=seen_items,
        baselines=baselines,
        when=when,
    )


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
    recording: Path,
    speed: float | None,
    rate: float | None,
    events: int | None,
    recommend: float,
    *,
    watch: float = 0.0,
) -> PlayOptions:
    """Return what --speed, --rate, --events and a share of --recommend ask for, without baselines."""
    from replay.options import PlayOptions, Questions

    return PlayOptions(
        recording,
        pace=pace_of(speed, rate, "", [], None),
        events=events,
        questions=Questions(share=recommend, baselines=False) if recommend > 0 else None,
        watch=watch,
    )
