"""A campaign from its audience to its file and its webhook, and what of it survives a kill."""

from __future__ import annotations

import asyncio
import csv
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from typer.testing import CliRunner

from campaigns.delivery import IDEMPOTENCY, SIGNATURE, RetryRules, is_signed
from campaigns.recipients import ConsentRule, Recipient, Skip, once_each
from contracts.errors import ImportFormatError, OutputRefused
from contracts.settings import RedisSettings, ServiceSettings
from gateway.settings import GatewaySettings
from nextclick.campaign.audience import recipients_in, users_in
from nextclick.campaign.deliver import NotTaken, Webhook, deliver
from nextclick.campaign.output import written
from nextclick.campaign.run import Run, run
from nextclick.campaign.work import Plan, Wanted, Work
from nextclick.campaign.worker import pick as make_parts
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from tests.gateway.catalogue_table import ITEMS, Table
from tests.gateway.conftest import LOG
from tests.processes import wait_for

WANTED = Wanted("autumn", "email", 3, ("title",), None, ConsentRule.UNLESS_REFUSED, 0, 0.0, False, 4)


def pick(user: str, *item_ids: str) -> dict[str, Any]:
    shown = {"campaign": "autumn", "user_id": user, "request_id": "0" * 32, "at_ms": 7, "scenario": "email"}
    more = {"version": 3, "experiment": None, "variant": None, "cold_start": "profile"}
    own = [
        {"position": at, "item_id": one, "score": 0.5, "reason": "new", "title": f"Title, {one}", "price": 9.5}
        for at, one in enumerate(item_ids, 1)
    ]
    return {**shown, **more, "items": own}


def picked(folder: Path, users: int = 10) -> tuple[Work, Plan]:
    """A run whose parts are all there: every third user refused."""
    work = Work(folder)
    with work.held():
        plan = work.begin(WANTED, 7, [Recipient(f"u-{n}") for n in range(users)])
    for number, recipients in work.batches(plan, 0, 1):
        work.put_part(
            number, [pick(one.user_id, "a", "b") if n % 3 else Skip.CONSENT for n, one in enumerate(recipients)], {}
        )
    return work, plan


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_an_audience_is_read_row_by_row_and_a_broken_row_says_what_it_lacks(
    tmp_path: Path, ending: str, packed: str
) -> None:
    import gzip

    rows: list[Mapping[str, Any]] = [
        {"user_id": "anna", "email": "a@x.example", "region": "eu", "age": "34"},
        {"user_id": "", "email": "b@x.example", "region": "", "age": ""},
        {"user_id": "carl", "email": "", "region": "", "age": "200"},
        {"user_id": "dora", "email": "", "region": "", "age": ""},
    ]
    text = "user_id;email;region;age\n" + "".join(";".join(row.values()) + "\n" for row in rows)
    if ending == ".jsonl":
        text = "".join(orjson.dumps(row).decode() + "\n" for row in rows)
    path = tmp_path / f"users{ending}{packed}"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    told: list[str] = []
    found = list(recipients_in(path, told.append))
    anna, dora = Recipient("anna", context={"region": "eu", "age": 34}), Recipient("dora")
    assert found == [anna, Skip.INVALID, Skip.INVALID, dora]
    assert [one.partition(": ")[2] for one in told] == [
        "user_id: expected 1 to 256 characters, got none",
        "age: expected whole years from 0 to 150, got '200'",
    ]


def test_an_audience_of_parquet_is_read_by_its_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"user_id": [17, None], "item_id": ["sku-1", "x"], "other": [1.5, 2.5]})
    parquet.write_table(table, tmp_path / "users.parquet")
    found = list(recipients_in(tmp_path / "users.parquet", lambda text: None))
    assert found == [Recipient("17", item_id="sku-1"), Skip.INVALID]


def test_a_user_stands_in_once_and_not_at_all_on_a_suppression_list(tmp_path: Path) -> None:
    (tmp_path / "stop.txt").write_text("bert\n\n carl \n")
    stopped = frozenset(users_in(tmp_path / "stop.txt"))
    given = [Recipient("anna"), Recipient("bert"), Skip.INVALID, Recipient("anna", item_id="x")]
    assert list(once_each(given, stopped)) == [Recipient("anna"), Skip.SUPPRESSED, Skip.INVALID, Skip.REPEATED]
    (tmp_path / "stop.csv").write_text("user_id\nbert\n,\nx,y,z\n")
    assert list(users_in(tmp_path / "stop.csv")) == ["bert", "x"]
    (tmp_path / "broken.jsonl").write_text('{"user_id": ""}\n')
    with pytest.raises(ImportFormatError, match="must be whole"):
        list(users_in(tmp_path / "broken.jsonl"))


def test_picks_are_written_as_lines_of_users_and_as_rows_of_items(tmp_path: Path) -> None:
    work, plan = picked(tmp_path / "work", users=3)
    for ending in (".jsonl", ".csv", ".parquet"):
        with written(tmp_path / f"picks{ending}", ("title", "price")) as write:
            for _, picks in work.picks(plan):
                write(picks)
    lines = (tmp_path / "picks.jsonl").read_bytes().splitlines()
    assert [orjson.loads(one) for one in lines] == [pick("u-1", "a", "b"), pick("u-2", "a", "b")]
    with (tmp_path / "picks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(one["user_id"], one["position"], one["item_id"], one["title"]) for one in rows] == [
        ("u-1", "1", "a", "Title, a"),
        ("u-1", "2", "b", "Title, b"),
        ("u-2", "1", "a", "Title, a"),
        ("u-2", "2", "b", "Title, b"),
    ]
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(tmp_path / "picks.parquet").to_pylist()
    assert [(one["user_id"], one["item_id"], one["price"]) for one in found] == [
        ("u-1", "a", 9.5), ("u-1", "b", 9.5), ("u-2", "a", 9.5), ("u-2", "b", 9.5),
    ]  # fmt: skip


def test_an_output_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").write_text("mine\n")
    with pytest.raises(OutputRefused, match="picks of a campaign"), written(tmp_path / "picks.csv", ("price",)):
        pass
    (tmp_path / "picks.jsonl.work").mkdir()
    (tmp_path / "picks.jsonl.work" / "mine").write_text("mine")
    with pytest.raises(OutputRefused, match="the work of a campaign"):
        Work(tmp_path / "picks.jsonl.work").plan()


def test_workers_share_the_parts_and_none_is_made_twice(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    plan = work.begin(WANTED, 7, [Recipient(f"u-{n}") for n in range(10)])
    shares = [[number for number, _ in work.batches(plan, worker, 2)] for worker in range(2)]
    assert shares == [[0, 2], [1]]
    work.put_part(2, [Skip.CONSENT] * 2, {})
    (tmp_path / "work" / "parts" / "000001.jsonl.aside").write_bytes(b"half a pa")
    left = [(number, [one.user_id for one in users]) for number, users in work.batches(plan, 0, 1)]
    assert left == [(0, ["u-0", "u-1", "u-2", "u-3"]), (1, ["u-4", "u-5", "u-6", "u-7"])]


def test_two_runs_are_never_at_work_in_one_folder(tmp_path: Path) -> None:
    work, _ = picked(tmp_path / "work")
    with work.held(), pytest.raises(OutputRefused, match="another run is at work there"), Work(work.folder).held():
        pass


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses that it is given, then 200, and remembers what came."""

    came: list[tuple[Mapping[str, str], bytes]]
    statuses: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.append((dict(self.headers), body))
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving(*statuses: int) -> Iterator[tuple[str, list[tuple[Mapping[str, str], bytes]]]]:
    own = type("Own", (Receiver,), {"came": [], "statuses": list(statuses)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/picks?x=1", own.came
        finally:
            server.shutdown()
            thread.join()


def test_a_batch_is_sent_again_under_its_key_until_it_is_taken(tmp_path: Path) -> None:
    work, plan = picked(tmp_path / "work")
    pauses: list[float] = []
    with receiving(503, 200, 500, 200) as (url, came):
        assert deliver(work, plan, Webhook(url, ("s3cret",), batch=4), pauses.append) == 2
    sent = [orjson.loads(body) for _, body in came]
    assert [one["batch"] for one in sent] == [0, 0, 1, 1]
    assert [[each["user_id"] for each in one["picks"]] for one in sent[1::2]] == [
        ["u-1", "u-2", "u-5", "u-6"],
        ["u-9"],
    ]
    keys = [headers[IDEMPOTENCY] for headers, _ in came]
    assert (keys[0], keys[2]) == (keys[1], keys[3])
    assert keys[0] != keys[2]
    assert all(is_signed(headers[SIGNATURE], body, "s3cret", time.time(), 600) for headers, body in came)
    assert len(pauses) == 2


def test_a_webhook_that_takes_nothing_more_is_gone_on_with_where_it_stopped(tmp_path: Path) -> None:
    work, plan = picked(tmp_path / "work")
    with receiving(200, 422) as (url, came):
        with pytest.raises(NotTaken, match="batch 1: answered 422"):
            deliver(work, plan, Webhook(url, batch=2), lambda seconds: None)
        assert deliver(work, plan, Webhook(url, batch=2), lambda seconds: None) == 3
    assert [orjson.loads(body)["batch"] for _, body in came] == [0, 1, 1, 2]


def test_a_webhook_that_never_answers_is_given_up(tmp_path: Path) -> None:
    work, plan = picked(tmp_path / "work")
    with receiving() as (url, _):
        pass
    with pytest.raises(NotTaken, match="at attempt 3, the last"):
        deliver(work, plan, Webhook(url, rules=RetryRules(attempts=3)), lambda seconds: None)


def test_the_command_says_what_it_expected() -> None:
    for words, said in (
        (["--out", "picks.txt", "--where", "true"], "expected an output that ends in"),
        (["--out", "picks.csv"], "expected --audience FILE, --where FILTER, or both"),
        (["--out", "picks.csv", "--where", "user.age >"], "the filter of users: line 1"),
        (["--out", "picks.csv", "--audience", "none.csv"], "none.csv: expected a file of users"),
        (["--out", "picks.csv", "--consent", "maybe"], "--consent: expected unless-refused or required"),
        (["--out", "picks.csv", "--within", "P400D"], "--within: expected up to P90D"),
        (["--out", "picks.csv", "--fields", "title,no such"], "no such"),
        (["--out", "picks.csv", "--where", "true", "--webhook", "ftp://x"], "--webhook: expected http://host"),
    ):
        found = CliRunner().invoke(build_app("campaign"), ["campaign", "run", *words])
        assert said in str(found.exception), found.exception


@pytest.fixture
def environment(redis_settings: RedisSettings) -> dict[str, str]:
    """What processes of a deployment with a catalogue are told."""
    made = GatewaySettings(redis=redis_settings, log=LOG, artifacts=str(ARTIFACTS))
    with closing(Table(made)) as table:
        table.put(ITEMS[:300])
    told = {"URL": redis_settings.url, "PREFIX": redis_settings.prefix}
    own = {f"NEXTCLICK_REDIS__{name}": value for name, value in told.items()}
    return {**own, "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions), "NEXTCLICK_ARTIFACTS": str(ARTIFACTS)}


@pytest.mark.slow
def test_a_run_that_was_killed_at_a_random_moment_ends_as_one_that_was_not(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [f"u-{n}" for n in range(400)]
    audience, stop = tmp_path / "users.csv", tmp_path / "stop.txt"
    audience.write_text("user_id\n" + "".join(f"{user}\n" for user in [*users, "u-7", "stopped"]))
    stop.write_text("stopped\n")
    command = [sys.executable, "-P", "-m", "nextclick", "campaign", "run", "--out", str(tmp_path / "picks.jsonl")]
    command += ["--audience", str(audience), "--suppress", str(stop), "--campaign", "autumn", "--limit", "3"]
    command += ["--fields", "title", "--batch", "4", "--nice", "0", "--workers", "1"]
    work = Work(tmp_path / "picks.jsonl.work")
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    wanted = random.Random().randint(0, 60)
    wait_for(
        lambda: process.poll() is not None or ((work.folder / "plan.json").exists() and work.done() >= wanted), 240
    )
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert wanted <= work.done() < 100
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    whole = Work(tmp_path / "whole")
    (whole.folder / "parts").mkdir(parents=True)
    for name in ("lock", "plan.json", "audience.jsonl"):
        shutil.copy(work.folder / name, whole.folder / name)
    plan = whole.plan()
    assert plan is not None
    asyncio.run(make_parts(GatewaySettings(), whole, 0, 1))
    asked = Run(tmp_path / "picks.jsonl", WANTED, audience, [stop], workers=1, niceness=0)
    with pytest.raises(OutputRefused, match="a run with another limit was begun there"):
        run(replace(asked, wanted=msgspec.structs.replace(WANTED, limit=4)), ServiceSettings(), unseen, str)
    found = run(asked, ServiceSettings(), unseen, str)
    assert (found.users, found.picked, found.items, found.resumed) == (402, 400, 1200, True)
    assert dict(found.skipped) == {"repeated": 1, "suppressed": 1}
    lines = (tmp_path / "picks.jsonl").read_bytes().splitlines()
    assert lines == [line for _, picks in whole.picks(plan) for line in picks]
    assert [orjson.loads(one)["user_id"] for one in lines] == users
    assert not work.folder.exists()


def unseen(done: int, of: int) -> None:
    pass
