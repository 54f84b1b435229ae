"""Files that commands are told by: scenarios, templates of other recommenders, settings of trainings."""

from __future__ import annotations

from contracts.errors import SettingsError
from learning.settings_file import reranker_settings, training_settings
from replay.engine.scenario import read_scenario, timeline
from replay.engine.template import read_template
from tests.fuzz.files import written
from tests.fuzz.target import Target, read_by_one

SCENARIO = b'name = "bad"\n[stack]\ngateways = 2\n[[fault]]\nat_s = 3\ndo = "stop"\nwhat = "redis"\nfor_s = 2.5\n'
TEMPLATE = b'[events]\npath = "/e/{session_id}"\nbody = "{events}"\n[recommendations]\npath = "/r"\nitems = "/x/*/id"\n'
TRAINING = b"[session_model]\ndim = 32\nscale = 3.5\n[reranker]\nthreads = 2\n"


def check(raw: bytes) -> None:
    """An input is TOML, or (where it begins with a brace) a template in JSON."""
    if raw[:1] == b"{":
        read_template(written("a.json", raw))
        return
    path = written("a.toml", raw)
    read_by_one(
        (
            lambda: timeline(read_scenario(path)),
            lambda: read_template(path),
            lambda: (training_settings(path), reranker_settings(path)),
        ),
        (SettingsError,),
    )


TARGET = Target(
    check,
    {
        "scenario": SCENARIO,
        "template": TEMPLATE,
        "training": TRAINING,
        "json": b'{"events":{"path":"/e","body":["{events}"]}}',
    },
    code=("replay.engine.scenario", "replay.engine.template", "learning.settings_file"),
    refusals=(SettingsError,),
    words=(
        b"[[fault]]\n",
        b'do = "kill"\n',
        b"at_s = ",
        b"nan",
        b"inf",
        b"1e400",
        b"[" * 1500,
        b"{" * 400,
        b'"""',
        b"{events}",
    ),
)
