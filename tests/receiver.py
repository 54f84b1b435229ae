"""A shop's server as a process of its own: it writes down every call, and answers as a file says.

    python -m tests.receiver PORT FOLDER

`FOLDER/answers` holds lines of `STATUS [SECONDS]`, each used once, and the last for ever; `FOLDER/calls` gets a JSON
line a call. 0 closes the connection unanswered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from tests.processes import ROOT, wait_for


class Receiver:
    """The process, seen from a test."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.url = f"http://127.0.0.1:{port}/hooks"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "calls").touch()
        self.answer("200")

    def answer(self, *lines: str) -> None:
        (self.folder / "answers").write_text("\n".join(lines))

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.receiver", str(self.port), str(self.folder)]
        (self.folder / "up").unlink(missing_ok=True)
        self._process = subprocess.Popen(command, cwd=ROOT)
        wait_for((self.folder / "up").exists)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Return what came, oldest first: `headers`, `body` (text), `status` (what was answered), `at`."""
        lines = (self.folder / "calls").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def receiving(port: int, folder: Path) -> Iterator[Receiver]:
    folder.mkdir(exist_ok=True)
    receiver = Receiver(port, folder)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.kill()


def serve(port: int, folder: Path) -> None:
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with lock:
                lines = (folder / "answers").read_text().splitlines()
                status, _, seconds = lines[0].partition(" ")
                if len(lines) > 1:
                    (folder / "answers").write_text("\n".join(lines[1:]))
                told = {"headers": dict(self.headers), "body": body, "status": int(status), "at": time.time()}
                with (folder / "calls").open("a") as calls:
                    calls.write(json.dumps(told) + "\n")
            time.sleep(float(seconds or 0))
            if status != "0":
                self.send_response(int(status))
                if status == "302":
                    self.send_header("Location", f"http://127.0.0.1:{port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    (folder / "up").touch()
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
