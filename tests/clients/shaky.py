"""A server that fails as it is told to, and then takes what comes: what a client's retries are tested against."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TAKEN = b'{"accepted": 0, "rejected": [], "token": null}'
Answer = tuple[int, Mapping[str, str]] | tuple[int, Mapping[str, str], bytes]
"""Status, headers, and a body where it is not the one that goes with the status."""


@dataclass
class Shaky:
    """What it answers, in order: 0 closes the connection unanswered. After that, 202."""

    answers: list[Answer]
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def shaky(answers: Sequence[Answer] = ()) -> Iterator[Shaky]:
    told = Shaky(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            told.paths.append(self.path)
            told.bodies.append(json.loads(raw))
            status, headers, *own = told.answers.pop(0) if told.answers else (202, {})
            if not status:
                self.close_connection = True
                self.connection.close()
                return
            said = (
                TAKEN.replace(b"0", str(len(told.bodies[-1])).encode(), 1)
                if status == 202
                else json.dumps({"status": status, "detail": "as told"}).encode()
            )
            body = own[0] if own else said
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "Content-Length" in headers

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
