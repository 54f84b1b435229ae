"""What pulling a feed takes: memory and time of one of any size, and what requests feel beside one that runs.

    python -m nextclick.bench.feed [--bytes 1000000000]
    python -m nextclick.bench.feed --beside [--rate 100] [--turns 8] [--seconds 8] [--items 18000] [--changes 20000]

The first makes a Merchant feed of that size, serves it over HTTP, and pulls it twice by `nextclick feed pull` into a
catalogue that takes everything at once: all of it is new, then nothing is. Memory is the operating system's account of
that process. The second runs a whole stack and asks it at a constant rate, in turns with and without a feed whose items
all change: it is stopped (SIGSTOP) in the turns without. Writes build/bench/feed.json and feed-beside.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from nextclick.bench.feed_beside import beside
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.stack.feeds.definition import FeedFolder

MEMORY_TARGET_MB: Final = 300.0
_WORDS: Final = "a light shoe for long runs on wet ground with a sole that lasts " * 5


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--bytes", type=int, default=1_000_000_000)
    words.add_argument("--beside", action="store_true", help="measure requests beside a running feed")
    words.add_argument("--rate", type=float, default=100.0)
    words.add_argument("--turns", type=int, default=8)
    words.add_argument("--seconds", type=float, default=8.0)
    words.add_argument("--items", type=int, default=18_000)
    words.add_argument("--changes", type=int, default=20_000)
    typed = words.parse_args()
    if typed.beside:
        expect_bench("feed-beside")
        rows = beside(typed.items, typed.changes, typed.rate, typed.turns, typed.seconds)
        finish("feed-beside", rows, f"make bench-feed ARGS='--beside --rate {typed.rate:g} --turns {typed.turns}'")
        return
    expect_bench("feed")
    finish("feed", pulled(typed.bytes), f"make bench-feed ARGS='--bytes {typed.bytes}'")


def pulled(size: int) -> list[BenchRow]:
    """Pull a feed of about `size` bytes twice; returns what each took."""
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        path = Path(folder) / "feed.xml"
        with console.status(f"writing {size:,} bytes"):
            count = write_feed(path, size)
        rows = [BenchRow("size", path.stat().st_size / 1e6, "MB"), BenchRow("items", count, "items")]
        with serving(path) as url:
            _run("add", "bench", f"{url}/feed.xml", "--format", "merchant-xml", feeds=folder)
            for name in ("all of it new", "nothing of it new"):
                with console.status(name):
                    rows += _measured(name, url, folder, path.stat().st_size)
        stored = sum(one.stat().st_size for one in Path(folder, "bench").iterdir())
        return [*rows, BenchRow("what is kept of it on disk", stored / 1e6, "MB")]


def write_feed(path: Path, size: int) -> int:
    """Write a Merchant feed of about `size` bytes; returns how many items it has."""
    count = 0
    with path.open("w") as file:
        file.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">\n'
        )
        file.write("<channel><title>A shop</title>\n")
        while file.tell() < size:
            file.write("".join(map(_item, range(count, count + 500))))
            count += 500
        file.write("</channel></rss>\n")
    return count


def _item(n: int) -> str:
    fields = {
        "id": f"sku-{n}",
        "title": f"Shoe {n} of a shop",
        "description": f"{_WORDS}{n}",
        "link": f"https://shop.example/product/{n}",
        "image_link": f"https://shop.example/image/{n}.jpg",
        "availability": "in_stock",
        "price": f"{n % 900 + 1}.99 EUR",
        "product_type": f"Shoes &gt; Group {n % 50} &gt; Kind {n % 7}",
        "brand": f"Brand {n % 200}",
        "gtin": str(4_000_000_000_000 + n),
        "color": "red",
        "size": str(36 + n % 12),
        "item_group_id": f"g{n // 4}",
    }
    return "<item>\n" + "".join(f"<g:{name}>{text}</g:{name}>\n" for name, text in fields.items()) + "</item>\n"


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve a file, and a catalogue that takes everything, on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as file:
                self.connection.sendfile(file)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b'{"rejected":[]}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _measured(name: str, url: str, folder: str, size: int) -> list[BenchRow]:
    began_s = time.monotonic()
    used = _run("pull", "bench", "--url", url, feeds=folder)
    took_s = time.monotonic() - began_s
    last = FeedFolder(Path(folder)).state("bench").last
    assert last is not None
    return [
        BenchRow(f"{name}: memory, at most", used.ru_maxrss / 1024, "MB", MEMORY_TARGET_MB),
        BenchRow(f"{name}: time", took_s, "s"),
        BenchRow(f"{name}: processor time", used.ru_utime + used.ru_stime, "s"),
        BenchRow(f"{name}: rate", size / 1e6 / took_s, "MB/s"),
        BenchRow(f"{name}: puts", last.put, "items"),
    ]


def _run(*words: str, feeds: str) -> Any:
    """Run a command of feeds, as fast as it goes; returns what it used."""
    fast = {"MOST_PER_S": "100000", "BUSY_SHARE": "1", "BATCH": "1000"}
    env = {**os.environ, **{f"NEXTCLICK_FEEDS__{name}": value for name, value in fast.items()}}
    command = [sys.executable, "-m", "nextclick", "feed", *words, "--feeds", feeds]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return used


if __name__ == "__main__":
    main()
