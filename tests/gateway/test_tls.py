"""A gateway that speaks TLS itself: what is answered, what a handshake may cost, and certificates that are renewed."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from contracts.tls import client_context, server_context
from gateway.tls import OwnCertificate
from state.ports import free_port
from tests.certificates import Certificates, Pair
from tests.gateway.test_connections import HEALTH, begun
from tests.gateway.test_front import House, opened, request


@pytest.fixture
def trusting(certificates: Certificates) -> ssl.SSLContext:
    return client_context(str(certificates.ca))


@pytest.fixture
async def house(redis_settings: RedisSettings, certificates: Certificates) -> AsyncIterator[House]:
    own = certificates.server
    context = server_context(str(own.certificate), str(own.key))
    async with opened(redis_settings, tls=context, max_connections=40, max_connections_client=30) as house:
        yield house


async def test_both_ways_answer_over_tls_on_a_kept_connection(house: House, trusting: ssl.SSLContext) -> None:
    caller = await house.caller(trusting)
    for what in (request(), request(long=True), HEALTH, request(b"{")):
        assert (await caller.ask(what))[0] in (200, 400)
    caller.writer.write(request() * 50)
    assert [(await caller.answer())[0] for _ in range(50)] == [200] * 50


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(
    house: House, trusting: ssl.SSLContext
) -> None:
    """The client writes before it knows that the server has heard its last word."""

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", house.port), timeout=60) as bare:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            spoken = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            while True:
                try:
                    spoken.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    bare.sendall(outgoing.read())
                    incoming.write(bare.recv(65_536))
            spoken.write(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            bare.sendall(outgoing.read())  # the last of the handshake and the request, in one piece
            answer = b""
            while b'"ok"' not in answer:
                incoming.write(bare.recv(65_536))
                try:
                    answer += spoken.read(65_536)
                except ssl.SSLWantReadError:
                    continue
            return answer

    answers = await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(20)))
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


@pytest.mark.parametrize("what", [b"", b"\x16\x03\x01\x02\x00\x01", HEALTH], ids=["nothing", "half a hello", "HTTP"])
async def test_handshakes_that_do_not_end_keep_nobody_out(
    house: House, trusting: ssl.SSLContext, what: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(house, 200, what)
    for _ in range(30):
        caller = await house.caller(trusting)
        assert (await caller.ask(HEALTH))[0] == 200
        caller.writer.close()
    assert caplog.text == ""


async def test_a_client_that_leaves_as_soon_as_tls_is_spoken_is_nothing_for_the_log(
    house: House, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        caller = await house.caller(trusting)
        caller.writer.write(HEALTH)
        caller.writer.transport.abort()
    await asyncio.sleep(0.2)
    assert (await (await house.caller(trusting)).ask(HEALTH))[0] == 200
    assert caplog.text == ""


async def test_a_handshake_must_come_to_its_end_soon(redis_settings: RedisSettings, certificates: Certificates) -> None:
    own = certificates.server
    context = server_context(str(own.certificate), str(own.key))
    async with opened(redis_settings, tls=context, header_timeout_s=0.2) as house:
        (slow,) = await begun(house, 1, b"\x16\x03\x01\x02\x00\x01")
        async with asyncio.timeout(20):
            assert await slow.is_closed()


def shown(port: int, trusting: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as bare,
        trusting.wrap_socket(bare, server_hostname="127.0.0.1") as spoken,
    ):
        certificate = spoken.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def put(pair: Pair, folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(pair.certificate.read_bytes())
    key.write_bytes(pair.key.read_bytes())
    return certificate, key


async def test_a_renewed_certificate_is_taken_up_and_half_of_one_is_not(
    redis_settings: RedisSettings, certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = put(certificates.server, tmp_path)
    own = OwnCertificate(str(certificate), str(key))
    trusting = client_context(str(certificates.ca))
    async with opened(redis_settings, tls=own.context) as house:
        kept = await house.caller(trusting)
        before = await asyncio.to_thread(shown, house.port, trusting)
        certificate.write_bytes(certificates.renewed_server.certificate.read_bytes())
        own.look()  # between the two writes
        assert await asyncio.to_thread(shown, house.port, trusting) == before
        assert caplog.text.count("the gateway goes on with the certificate that it has: expected the private key") == 1
        own.look()
        key.write_bytes(certificates.renewed_server.key.read_bytes())
        own.look()
        assert await asyncio.to_thread(shown, house.port, trusting) != before
        assert (await kept.ask(HEALTH))[0] == 200
        key.unlink()
        own.look()
        assert await asyncio.to_thread(shown, house.port, trusting) != before


@contextmanager
def gateway(
    redis: RedisSettings, pair: Pair, trusting: ssl.SSLContext, processes: int = 1
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_GATEWAY__PORT": str(port),
        "NEXTCLICK_GATEWAY__PROCESSES": str(processes),
        "NEXTCLICK_GATEWAY__TLS_CERTIFICATE": str(pair.certificate),
        "NEXTCLICK_GATEWAY__TLS_KEY": str(pair.key),
    }
    command = [sys.executable, "-m", "gateway"]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while asked(port, trusting, "/readyz") != 200:
            assert time.monotonic() < until
            assert running.poll() is None
            time.sleep(0.05)
        yield running, port
    finally:
        running.kill()
        running.communicate()


def asked(port: int, trusting: ssl.SSLContext, path: str) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
def test_processes_share_a_port_with_tls_and_end_in_order(
    redis_settings: RedisSettings, certificates: Certificates, trusting: ssl.SSLContext
) -> None:
    with gateway(redis_settings, certificates.server, trusting, 2) as (running, port), ExitStack() as held:
        for number in range(200):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            if number % 10 == 0:
                assert asked(port, trusting, "/healthz") == 200
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=120)
        assert running.returncode == 0
        assert "Traceback" not in said


@pytest.mark.slow
def test_a_gateway_joins_its_own_deployment_and_no_other_on_a_port_with_tls(
    redis_settings: RedisSettings, certificates: Certificates, trusting: ssl.SSLContext
) -> None:
    with gateway(redis_settings, certificates.server, trusting) as (_, port):
        environment = {
            **os.environ,
            "NEXTCLICK_REDIS__URL": redis_settings.url,
            "NEXTCLICK_REDIS__PREFIX": "another",
            "NEXTCLICK_GATEWAY__PORT": str(port),
            "NEXTCLICK_GATEWAY__TLS_CERTIFICATE": str(certificates.server.both),
        }
        command = [sys.executable, "-m", "gateway"]
        for scheme, told in (
            ("https", environment),
            ("http", {**environment, "NEXTCLICK_GATEWAY__TLS_CERTIFICATE": ""}),
        ):
            other = subprocess.run(command, env=told, capture_output=True, text=True, timeout=120, check=False)
            assert other.returncode == 78, scheme
            assert f"127.0.0.1:{port}: expected a free port, or one of this deployment" in other.stderr
            assert "Traceback" not in other.stderr


def test_files_that_are_no_pair_are_one_line_and_an_exit_status_of_their_own(certificates: Certificates) -> None:
    environment = {
        **os.environ,
        "NEXTCLICK_GATEWAY__TLS_CERTIFICATE": str(certificates.server.certificate),
        "NEXTCLICK_GATEWAY__TLS_KEY": str(certificates.client.key),
    }
    command = [sys.executable, "-m", "gateway"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 78
    assert "NEXTCLICK_GATEWAY__TLS_KEY: Value error, expected the private key of the certificate in" in refused.stderr
    assert refused.stderr.count("\n") == 1
