"""Round trips of many commands: what comes back, and what a connection that dies does to them."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path

import pytest
import redis

from contracts.settings import RedisSettings
from state.client import connect
from state.embedded import EmbeddedRedis
from state.redis_rounds import RedisRounds


def test_answers_come_in_order_with_errors_among_them(redis_settings: RedisSettings) -> None:
    rounds = RedisRounds(connect(redis_settings))
    first, second, third = rounds.run([("SET", "rounds", 7), ("NO-SUCH",), ("GET", "rounds")])
    assert (first, str(second)[:15], third) == (b"OK", "unknown command", b"7")
    assert rounds.run([]) == []
    assert rounds.run([("GET", "rounds")]) == [b"7"]
    rounds.close()


def test_a_redis_that_restarted_is_told_of_once_however_soon_it_is_back(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        rounds = RedisRounds(connect(RedisSettings(url=server.url, timeout_ms=60_000)))
        assert rounds.run([("PING",)]) == [b"PONG"]
        server.kill()
        server.start()
        with pytest.raises(redis.ConnectionError):
            rounds.run([("PING",)])
        assert rounds.run([("PING",)]) == [b"PONG"]
        rounds.close()


def test_answers_to_a_round_that_was_half_answered_are_let_go() -> None:
    heard = []

    def serve(listener: socket.socket) -> None:
        for answer in (b"+old\r\n", b"+new\r\n+newer\r\n"):
            connection, _ = listener.accept()
            heard.append(connection.recv(10_000).count(b"ECHO"))
            connection.sendall(answer)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        client = redis.Redis.from_url(url, protocol=2, lib_name=None, lib_version=None)
        rounds = RedisRounds(client)
        with pytest.raises(redis.ConnectionError):
            rounds.run([("ECHO", "old"), ("ECHO", "older")])
        assert rounds.run([("ECHO", "new"), ("ECHO", "newer")]) == [b"new", b"newer"]
        assert heard == [2, 2]
        rounds.close()
        server.join()


def test_scripts_run_by_their_text_where_redis_does_not_have_them_and_what_it_refuses_is_raised(
    redis_settings: RedisSettings,
) -> None:
    text = "if ARGV[1] == 'no' then return redis.error_reply('REFUSED by the script') end return ARGV[1] .. KEYS[1]"
    client, sha = connect(redis_settings), hashlib.sha1(text.encode()).hexdigest()
    rounds = RedisRounds(client)
    client.script_flush()
    for _ in range(2):  # the second time it is there
        assert rounds.scripts(sha, text, [[1, "k", "a"], [1, "k", "b"]]) == [b"ak", b"bk"]
    with pytest.raises(redis.ResponseError, match="REFUSED by the script"):
        rounds.scripts(sha, text, [[1, "k", "a"], [1, "k", "no"]])
    assert rounds.scripts(sha, text, [[1, "k", "c"]]) == [b"ck"]
    rounds.close()
    client.close()
