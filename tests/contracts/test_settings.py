"""Settings are read once, and say what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.errors import SettingsError
from contracts.settings import ServiceSettings


def test_the_environment_beats_the_file_and_the_file_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "site.toml"
    config.write_text('[redis]\nprefix = "file"\nurl = "redis://file:1/0"\n[session]\nmax_events = 20\n')
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(config))
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", "environment")
    monkeypatch.setenv("NEXTCLICK_TREND__HALF_LIFE", "PT90S")
    settings = ServiceSettings()
    assert (settings.redis.prefix, settings.redis.url) == ("environment", "redis://file:1/0")
    assert (settings.session.max_events, settings.session.idle_gap) == (20, timedelta(minutes=30))
    assert settings.trend.half_life == timedelta(seconds=90)


def test_a_setting_out_of_range_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_LOG__PARTITIONS", "none")
    with pytest.raises(SettingsError, match=r"NEXTCLICK_LOG__PARTITIONS: .* valid integer.*, got 'none'"):
        ServiceSettings()


def test_a_misspelt_setting_of_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_REDIS__URI", "redis://x")
    with pytest.raises(SettingsError, match=r"NEXTCLICK_REDIS__URI: Extra inputs are not permitted"):
        ServiceSettings()


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServiceSettings().artifacts = "elsewhere"  # type: ignore[misc]
