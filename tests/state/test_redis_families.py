"""Which servers the tests of state and log run on here, and what answers of each mean."""

from __future__ import annotations

import os

import pytest
import redis
from redis.exceptions import NoPermissionError

from contracts.redis_answers import advice, code_of
from tests.redis_servers import FOUND, SUPPORTED


@pytest.mark.parametrize("family", SUPPORTED)
def test_state_and_log_are_tested_on_a_server_of_this_family(family: str) -> None:
    if family not in FOUND:
        pytest.skip(f"this machine has no {family} server: found {', '.join(sorted(FOUND))}")


def test_as_many_families_as_wanted_are_there() -> None:
    """CI wants two (TEST_REDIS_FAMILIES)."""
    assert len(FOUND) >= int(os.environ.get("TEST_REDIS_FAMILIES", "1")), sorted(FOUND)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'. script: 1f"), "OOM"),
        (redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'."), "OOM"),
        (
            redis.ResponseError(
                "Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed"
            ),
            "OOM",
        ),
        (redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), "MISCONF"),
        (redis.ResponseError("Error running script: @user_script:1: -READONLY You can't write"), "READONLY"),
        (redis.ReadOnlyError("You can't write against a read only replica. script: 1f"), "READONLY"),
        (redis.ResponseError("BUSY Redis is busy running a script."), "BUSY"),
        (redis.ResponseError("BUSY Valkey is busy running a script."), "BUSY"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "LOADING"),
        (NoPermissionError("User default has no permissions to run the 'evalsha' command"), "NOPERM"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
        (redis.exceptions.MovedError("15882 127.0.0.1:28463"), "MOVED"),
        (redis.ResponseError("WRONGTYPE Operation against a key BUSYLOOP holding the wrong kind"), "WRONGTYPE"),
        (redis.ConnectionError("Error 111 connecting to 127.0.0.1:1. Connection refused."), None),
    ],
)
def test_an_error_is_known_by_its_code_whatever_the_sentence(error: Exception, code: str | None) -> None:
    assert code_of(error) == code
    assert advice(error) == advice(redis.ResponseError(f"{code} anything" if code else "anything else"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (redis.exceptions.MovedError("1 127.0.0.1:7000"), "set NEXTCLICK_REDIS__KIND=cluster"),
        (redis.ResponseError("This instance has cluster support disabled"), "leave NEXTCLICK_REDIS__KIND"),
    ],
)
def test_a_cluster_taken_for_one_redis_and_the_other_way_round_name_the_setting(error: Exception, told: str) -> None:
    assert told in advice(error)
