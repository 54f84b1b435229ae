"""Snapshots of a catalogue of several shards, and those of before there were any."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import orjson

from contracts.settings import IndexSettings, RedisSettings
from retrieval.build import build
from retrieval.follow import Follower, past_of
from retrieval.live import open_current, start_of, together
from retrieval.snapshot import read_manifest
from state.shards import catalogue_reader, catalogue_writer
from tests.retrieval.tables import DIM, name, row, service, tower

TOWER = tower()
IDS = [f"i{n}" for n in range(60)]


def test_a_snapshot_of_shards_is_gone_on_from_shard_by_shard(redis_settings: RedisSettings, tmp_path: Path) -> None:
    redis = redis_settings.model_copy(update={"item_shards": 3})
    settings = service(redis, tmp_path)
    with closing(catalogue_writer(redis)) as table, closing(catalogue_reader(redis)) as reader:
        table.claim()
        table.commit({name(one): row(one, TOWER) for one in IDS[:50]})
        built = build(settings, reader, TOWER)
        assert (built.manifest.change, sum(one.change for one in built.manifest.shards)) == (50, 50)
        table.commit({name(one): row(one, TOWER) for one in IDS[50:]}, [name(one) for one in IDS[:5]])
        opened = open_current(settings.index, model=(TOWER.version, DIM))
        assert opened is not None
        follower = Follower(reader, TOWER, IndexSettings(exact_up_to=0))
        loaded: list[int] = []
        follower.start(opened, loaded.append)
        assert (follower.number, len(follower.index), loaded) == (65, 55, [])
        assert follower.place.number == sum(one.end() for one in reader.shards)

        start = start_of(built.manifest)
        assert past_of(reader, start) is not None
        assert past_of(reader, start._replace(shards=())) is None
        other = together([one._replace(fingerprint="another") for one in start.shards])
        assert past_of(reader, other) is None
    with closing(catalogue_reader(redis_settings)) as one_table:
        assert past_of(one_table, start) is None


def test_a_snapshot_of_one_shard_is_sealed_as_before_there_were_shards(
    redis_settings: RedisSettings, tmp_path: Path
) -> None:
    settings = service(redis_settings, tmp_path)
    with closing(catalogue_writer(redis_settings)) as table, closing(catalogue_reader(redis_settings)) as reader:
        table.commit({name(one): row(one, TOWER) for one in IDS})
        built = build(settings, reader, TOWER)
    path = tmp_path / built.name / "manifest.json"
    document = orjson.loads(path.read_bytes())
    assert document.pop("shards") == []
    seal = document.pop("seal")
    assert hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest() == seal
    path.write_bytes(orjson.dumps({**document, "seal": seal}))
    assert start_of(read_manifest(tmp_path / built.name)).shards == ()
