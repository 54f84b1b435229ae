"""A line of a log says when, how bad, and which process."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import orjson

from contracts.logs import REQUEST_ID, JsonFormatter
from tests.processes import ROOT


def test_every_line_has_time_level_and_process_and_no_secret() -> None:
    code = """
import logging
from contracts.logs import log_as
log_as("sessions", logging.WARNING)
logging.getLogger("flows.x").warning("no answer of redis://:s3cret@host")
logging.getLogger("flows.x").info("not said")
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING sessions\[\d+\] flows\.x: no answer of redis://\*\*\*@host\n",
        said,
    )


def test_by_setting_every_line_is_a_json_object_with_its_traceback_in_it_and_no_secret() -> None:
    code = """
import logging
from contracts.logs import log_as
log_as("sessions", logging.WARNING)
try:
    int("redis://:s3cret@host")
except ValueError:
    logging.getLogger("flows.x").exception("no answer of %s", "redis://:s3cret@host")
"""
    environment = {**os.environ, "NEXTCLICK_LOGS__FORMAT": "json"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    [line] = done.stderr.splitlines()
    said = orjson.loads(line)
    assert b"s3cret" not in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said.pop("time"))
    assert said.pop("pid") > 0
    assert said.pop("error").startswith("Traceback (most recent call last):\n")
    assert said == {
        "level": "ERROR",
        "process": "sessions",
        "logger": "flows.x",
        "message": "no answer of redis://***@host",
    }


def test_a_line_names_the_request_that_it_is_of() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "half of \ud800", None, None)
    formatter = JsonFormatter("gateway")
    assert "request_id" not in orjson.loads(formatter.format(record))
    token = REQUEST_ID.set("ab12")
    try:
        assert orjson.loads(formatter.format(record))["request_id"] == "ab12"
    finally:
        REQUEST_ID.reset(token)


def test_a_wrong_setting_of_logs_is_said_as_text_by_who_reads_it() -> None:
    environment = {**os.environ, "NEXTCLICK_LOGS__FORMAT": "xml"}
    command = [sys.executable, "-m", "judge"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.startswith("NEXTCLICK_LOGS__FORMAT: ")
