"""Whether training is installed: torch is an extra that serving does without."""

from __future__ import annotations

from importlib.util import find_spec

from contracts.errors import SettingsError


def expect_torch() -> None:
    """Raise SettingsError where training is not installed."""
    if find_spec("torch") is None:
        raise SettingsError("training needs torch, which serving does without: install the `train` extra")
