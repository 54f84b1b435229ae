"""A shop's web server and a gateway's catalogue, as real HTTP servers of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import orjson

Page = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Shop:
    """Answers by path; `asked` are the requests, with their headers."""

    port: int = 0
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def body(content: bytes, status: int = 200, **headers: str) -> Page:
    """A page with a content."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def moved(where: str, status: int = 302) -> Page:
    return body(b"", status, Location=where)


@contextmanager
def shop() -> Iterator[Shop]:
    found = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            page = found.pages.get(self.path) or body(b"not here", 404)
            try:
                page(self)
            except OSError:  # whoever asked is gone
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as port:
        found.port = port
        yield found


@dataclass
class Catalogue:
    """What a gateway's catalogue came to hold, and the changes in their order. `before`: called with each change before
    it is taken; `refuse`: reasons by item id.
    """

    port: int = 0
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None
    after: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rejected = []
        for index, document in enumerate(documents):
            item_id = document.pop("item_id")
            if item_id in self.refuse:
                rejected.append({"index": index, "reason": self.refuse[item_id]})
                continue
            self.changes.append(("put", item_id))
            self.items[item_id] = {**({"stock": self.items.get(item_id, {}).get("stock")}), **document}
        return rejected

    def stock(self, updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rejected = []
        for index, one in enumerate(updates):
            if one["item_id"] not in self.items:
                rejected.append({"index": index, "reason": "unknown_item: put the item first"})
                continue
            self.changes.append(("stock", one["item_id"]))
            self.items[one["item_id"]]["stock"] = one["stock"]
        return rejected


@contextmanager
def catalogue() -> Iterator[Catalogue]:
    found = Catalogue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            found.before(self.path)
            if found.statuses:
                return self.say({"detail": "not now"}, found.statuses.pop(0))
            if self.path == "/api/items":
                return self.say({"rejected": found.put([orjson.loads(line) for line in raw.splitlines()])})
            return self.say({"rejected": found.stock(orjson.loads(raw))})

        def do_DELETE(self) -> None:
            found.before(self.path)
            item_id = unquote(self.path.rpartition("/")[2])
            found.changes.append(("delete", item_id))
            found.items.pop(item_id, None)
            self.say({"rejected": []})

        def say(self, answer: dict[str, Any], status: int = 202) -> None:
            found.after()
            content = orjson.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as port:
        found.port = port
        yield found


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
