"""No secret of a URL is printed, logged, answered or written in a report."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from pydantic import ValidationError

from contracts.logs import MaskedFormatter
from contracts.masked import masked
from contracts.settings import RedisSettings, ServiceSettings
from tests.processes import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:s3cret@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:s3cret@host", "redis://***@host"),
        ("at rediss://s3cret@host:1, then", "at rediss://***@host:1, then"),
        ("'redis://:s3/cr@et@host/0'", "'redis://***@host/0'"),
        ("redis://:s3'cret@host, redis://:s3cret@other", "redis://***@host, redis://***@other"),
        ("unix://:s3cret@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
        ("unix:///run/redis.sock?password=s3cret&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("https://me:s3cret@shop.example/x?api_key=s3cret", "https://***@shop.example/x?api_key=***"),
        ("mail me@shop.example, see http://shop.example/x?y=1", "mail me@shop.example, see http://shop.example/x?y=1"),
        ("a@b redis://host", "a@b redis://host"),
        ("a@redis://host", "a@redis://host"),
        ("://" * 200_000, "://" * 200_000),  # each of them looked at once
        ("x://" + "@://" * 100_000 + "@host", "x://***@host"),
        ("", ""),
    ],
    ids=lambda text: text[:40],
)
def test_user_and_password_of_a_url_are_hidden_wherever_they_stand(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_log_line_hides_them_in_its_text_and_its_traceback() -> None:
    try:
        raise ValueError("no redis://:s3cret@host/0")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "at %s", ("redis://:s3cret@host",), sys.exc_info())
    said = MaskedFormatter("%(message)s").format(record)
    assert said.startswith("at redis://***@host\nTraceback")
    assert said.endswith("ValueError: no redis://***@host/0")


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:s3/cret@host:1/0", "redis://me:s3/cret@host", "redis://me:12/s3cret@host:1", "redis://:s3[cret@h"),
        *("redis://:s3#cret@host", "redis://:s3cret", "http://:s3cret@host", "s3cret", "redis:/127.0.0.1:6379"),
    ],
)
def test_an_address_that_would_be_read_wrong_is_refused_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="percent-encoded"):
        RedisSettings(url=url)
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", url)
    with pytest.raises(Exception, match=r"NEXTCLICK_REDIS__URL: .*percent-encoded") as told:
        ServiceSettings()
    assert url == "s3cret" or "cret" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["redis://", "redis://:a%2Fb@host", "redis://me:b@[::1]:6380/2", "unix:///run/redis.sock", "rediss://h?db=2"]
)
def test_an_address_that_can_be_read_is_taken(url: str) -> None:
    assert RedisSettings(url=url).url == url


def test_the_help_of_a_command_shows_a_set_address_without_its_password() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from nextclick.cli import main; main()", "index", "build", "--help"],
        env={"NEXTCLICK_REDIS__URL": "redis://:s3cret@host:1/0", "PATH": "/usr/bin", "COLUMNS": "200"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "redis://***@host:1/0" in shown.stdout
    assert "s3cret" not in shown.stdout
