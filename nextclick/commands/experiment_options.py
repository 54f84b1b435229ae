"""What the commands that read an experiment's events share: where the events are, and what its unit is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import SettingsError

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from attribution.credit import CreditRules
    from attribution.facts import Fact
    from attribution.participants import UnitOf


def unit_of(word: str) -> UnitOf:
    """Return what an experiment parts. Raises SettingsError."""
    if word == "user":
        return "user"
    if word == "session":
        return "session"
    raise SettingsError(f"expected --unit session or user, got {word!r:.60}")


def facts_of(recording: Sequence[Path]) -> tuple[list[Fact], CreditRules]:
    """Return the facts of recorded files, or without any of the log, and the rules of credit. Raises LogUnavailable."""
    from attribution.credit import CreditRules
    from contracts.settings import ServiceSettings
    from replay.reference.attribution import logged_facts, recorded_facts

    settings = ServiceSettings()
    options = settings.attribution
    facts = recorded_facts(settings, recording) if recording else logged_facts(settings, None)
    return facts, CreditRules(options.click_ms, options.purchase_ms, options.touch)
