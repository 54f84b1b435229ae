"""The TOML file and the environment of every service: read, or refused in one line."""

from __future__ import annotations

import os

from contracts.errors import SettingsError
from flows.settings import FlowSettings
from gateway.settings import GatewaySettings
from nextclick.stack.settings import StackSettings
from tests.fuzz.files import written
from tests.fuzz.target import Target

FILE = b'artifacts = "m"\n[redis]\nurl = "redis://u:p@h:1/0"\n[session]\nidle_gap = "PT30M"\nmax_events = 50\n'
FILE += b'[gateway]\ncors_origins = ["https://a.example"]\n[trend]\nhalf_life = "12:00:00"\n'
VARIABLES = b"NEXTCLICK_REDIS__URL=unix:///r.sock\nNEXTCLICK_GATEWAY__CORS_ORIGINS=https://a,https://b\nNEXTCLICK_LOG__KIND=kafka\n"
VARIABLES += b'NEXTCLICK_SESSION={"max_events":5}\nNEXTCLICK_TREND__HALF_LIFE=P1D\n'


def check(raw: bytes) -> None:
    """An input is the file, or lines of variables."""
    before = dict(os.environ)
    try:
        if raw.startswith(b"NEXTCLICK_"):
            os.environ.update(_variables(raw))
        else:
            os.environ["NEXTCLICK_CONFIG"] = str(written("nextclick.toml", raw))
        for kind in (FlowSettings, GatewaySettings, StackSettings):
            kind().model_dump()
    except SettingsError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        raise
    finally:
        os.environ.clear()
        os.environ.update(before)


def _variables(raw: bytes) -> dict[str, str]:
    pairs = (line.partition(b"=") for line in raw.split(b"\n"))
    named = {os.fsdecode(name): os.fsdecode(value) for name, equals, value in pairs if equals and name}
    return {name: value for name, value in named.items() if name.startswith("NEXTCLICK_") and "\0" not in name + value}


TARGET = Target(
    check,
    {"file": FILE, "variables": VARIABLES},
    code=("contracts.settings", "contracts.masked", "gateway.settings", "flows.settings"),
    refusals=(SettingsError,),
    words=(
        *(
            b"NEXTCLICK_",
            b"__",
            b"[gateway]\n",
            b"[log]\n",
            b"partitions = ",
            b"PT90S",
            b"P1D",
            b"1e999",
            b"inf",
            b"nan",
        ),
        *(b"[" * 1000, b"a = " + b"[" * 1500, b'"""', b"1979-05-27T07:32:00Z", b"redis://", b"unix://"),
    ),
)
