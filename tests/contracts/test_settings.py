"""Settings are read once, and say what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.api import Placement, Seen
from contracts.errors import SettingsError
from contracts.settings import RedisSettings, ServiceSettings
from gateway.settings import GatewaySettings


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


ORIGINS = ("https://shop.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("https://shop.example", ORIGINS[:1]),
        ("https://shop.example,http://localhost:3000", ORIGINS),
        (" https://shop.example , http://localhost:3000, ", ORIGINS),
        ('["https://shop.example", "http://localhost:3000"]', ORIGINS),
        ("*", ("*",)),
        ("", ()),
        ("[]", ()),
    ],
)
def test_a_list_may_be_written_with_commas_or_as_json(
    written: str, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEXTCLICK_GATEWAY__CORS_ORIGINS", written)
    monkeypatch.setenv("NEXTCLICK_PIPELINE__RULES", written)
    settings = GatewaySettings()
    assert (settings.gateway.cors_origins, settings.pipeline.rules) == (origins, origins)


def test_a_list_may_be_written_with_commas_in_toml_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_bytes(b'\xef\xbb\xbf[gateway]\ncors_origins = "https://shop.example, http://localhost:3000"\n')
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(config))
    assert GatewaySettings().gateway.cors_origins == ORIGINS


def test_a_table_is_json_or_a_variable_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_PIPELINE__LEAVE_OUT_SEEN", '{"cart": "none"}')
    assert GatewaySettings().pipeline.leave_out_seen == {Placement.CART: Seen.NONE}
    monkeypatch.setenv("NEXTCLICK_PIPELINE__LEAVE_OUT_SEEN__HOMEPAGE", "taken")
    assert GatewaySettings().pipeline.leave_out_seen[Placement.HOMEPAGE] is Seen.TAKEN


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("GATEWAY__CORS_ORIGINS", '["a', "GATEWAY__CORS_ORIGINS: expected words with commas .*, got '\\[\"a'"),
        ("PIPELINE__LEAVE_OUT_SEEN", "all", "PIPELINE__LEAVE_OUT_SEEN: expected a JSON object, got 'all'"),
        ("PIPELINE__LEAVE_OUT_SEEN", "[1]", "PIPELINE__LEAVE_OUT_SEEN: .* valid dictionary"),
        ("PIPELINE__LEAVE_OUT_SEEN", '{"nowhere": "all"}', "PIPELINE__LEAVE_OUT_SEEN__NOWHERE__.*"),
        ("GATEWAY", "x", "GATEWAY: expected a JSON object, got 'x'"),
        ("GATEWAY", "[1]", "GATEWAY: .*"),
        ("GATEWAY__PORT__X", "1", "GATEWAY__PORT: .*"),
        ("GATEWAY__PORT", "80\n80", r"GATEWAY__PORT: .*got '80\\n80'"),
        ("GATEWAY__CORS", "x", "GATEWAY__CORS: Extra inputs"),
        ("SESSION__IDLE_GAP", "soon", "SESSION__IDLE_GAP: .*a duration is written as"),
        ("REDIS__URL", "localhost:6379", "REDIS__URL: .*expected redis://"),
        ("REDIS__URL", "http://localhost", "REDIS__URL: .*expected redis://"),
        ("REDIS__URL", "redis://h:port/0", "REDIS__URL: .*"),
        ("REDIS__URL", "", "REDIS__URL: .*expected redis://"),
    ],
)
def test_every_settings_error_is_one_line_that_names_the_variable(
    name: str, written: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"NEXTCLICK_{name}", written)
    with pytest.raises(SettingsError, match=f"^NEXTCLICK_{said}") as refused:
        GatewaySettings()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"[gateway", b"\xff\xfe", b"record = 3\n", b"[gateway]\nport = 'x'\n"])
def test_a_file_that_is_none_is_one_line(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_bytes(content)
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(config))
    with pytest.raises(SettingsError, match=r"site\.toml: expected TOML|NEXTCLICK_(GATEWAY|RECORD)") as refused:
        GatewaySettings()
    assert "\n" not in str(refused.value)


def test_a_folder_in_place_of_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(tmp_path))
    with pytest.raises(SettingsError, match="NEXTCLICK_CONFIG: expected a TOML file at"):
        ServiceSettings()


@pytest.mark.parametrize("url", ["redis://ann:secret@h:port/0", "http://ann:secret@h/0", "redis://:sec/ret@h:x"])
def test_a_refused_address_does_not_show_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", url)
    with pytest.raises(SettingsError, match="NEXTCLICK_REDIS__URL") as refused:
        ServiceSettings()
    assert "sec" not in str(refused.value)


def test_types_of_the_sites_own_are_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_EVENTS__TYPES", '{"wishlist_add": "like", "not_for_me": "hide"}')
    assert ServiceSettings().events.types == {"wishlist_add": "like", "not_for_me": "hide"}


@pytest.mark.parametrize(
    "built_in", ["view", "cart", "purchase", "like", "rating", "hide", "dislike", "unhide", "return"]
)
def test_types_that_have_a_meaning_are_not_given_another(built_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_EVENTS__TYPES", f'{{"{built_in}": "hide"}}')
    with pytest.raises(SettingsError, match=f"TYPES.*event types of the site's own, got '{built_in}', which has"):
        ServiceSettings()


@pytest.mark.parametrize("types", [{"impression": "view"}, {"Wish": "like"}, {"wish": "love"}])
def test_types_that_cannot_be_are_refused(types: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TYPES"):
        ServiceSettings(events={"types": types})


def test_where_a_cluster_and_sentinels_are_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_REDIS__KIND", "cluster")
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", "redis://:secret@10.0.0.7:6380/0")
    monkeypatch.setenv("NEXTCLICK_REDIS__NODES", "10.0.0.8:6380, [::1]:6381")
    told = ServiceSettings().redis
    assert told.seeds == (("10.0.0.7", 6380), ("10.0.0.8", 6380), ("::1", 6381))
    assert told.place == "10.0.0.7:6380 (cluster)"
    monkeypatch.setenv("NEXTCLICK_REDIS__KIND", "sentinel")
    watched = ServiceSettings().redis
    assert watched.seeds == (("10.0.0.8", 6380), ("::1", 6381))
    assert watched.place == "mymaster of the Sentinels 10.0.0.8:6380, [::1]:6381"


def test_a_cluster_or_sentinels_that_cannot_be_are_refused_with_what_to_set() -> None:
    refused = [
        ({"nodes": ("10.0.0.8:6380",)}, "NEXTCLICK_REDIS__KIND=cluster or sentinel"),
        ({"kind": "sentinel"}, "the places of the Sentinels as HOST:PORT, got none"),
        ({"kind": "cluster", "nodes": ("10.0.0.8",)}, "expected HOST:PORT, got '10.0.0.8'"),
        ({"kind": "cluster", "nodes": ("user:word@h:1",)}, "user, password and TLS stand in the URL"),
        ({"kind": "cluster", "url": "redis://h:1/3"}, "database 0"),
        ({"kind": "cluster", "url": "unix:///tmp/redis"}, "no sockets"),
    ]
    for given, told in refused:
        with pytest.raises(ValidationError) as error:
            RedisSettings.model_validate(given)
        assert told in str(error.value), given
