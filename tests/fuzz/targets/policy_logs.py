"""A log of a policy, and another policy held to it."""

from __future__ import annotations

import numpy as np

from contracts.errors import ImportFormatError
from experiments.bandit_log import read_log
from experiments.off_policy import own_value, policy_values
from experiments.policies import shares_of, uniform
from tests.fuzz.files import written
from tests.fuzz.target import Target

ROWS = b"action,position,reward,propensity,hour\na,1,1,0.5,7\nb,2,0,0.25,8\na,2,0,0.75,9\nb,1,2.5,0.5,\n"


def check(raw: bytes) -> None:
    log, rng = read_log(written("log.csv", raw), context=["hour"]), np.random.default_rng(1)
    assert own_value(log, rng, resamples=10).name == "own"
    for policy in (uniform(log), shares_of(log, log, "itself")):
        values, weights = policy_values(log, policy, rng, resamples=10)
        assert [one.name for one in values] == ["ips", "snips", "dr"]
        assert weights.unsupported < 1.0


TARGET = Target(
    check,
    {"rows": ROWS},
    code=("experiments.tables", "experiments.bandit_log", "experiments.off_policy", "experiments.reward_model"),
    refusals=(ImportFormatError,),
    words=(b",", b"\n", b"a", b"nan", b"-1", b"1e-300", b"1e308", b"x"),
)
