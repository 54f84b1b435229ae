"""A real browser for tests that look at pages: Debian's Chromium, driven by Playwright. Without one they skip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
PATIENT_MS = 60_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: the page is not looked at")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=PATIENT_MS)
        expect.set_options(timeout=PATIENT_MS)
        yield chromium
        chromium.close()


def opened(browser: Browser, url: str, *, size: tuple[int, int] = (1280, 900)) -> tuple[Page, list[str]]:
    """Open a page; returns it, and the list of what it complains of, which grows."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENT_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(_told(line)) if line.type == "error" else None)
    page.goto(url)
    return page, problems


def _told(line: ConsoleMessage) -> str:
    """Return a complaint, and the path of what it is about: Chromium names a refused address beside the text alone."""
    return f"{line.text} {urlsplit(line.location['url']).path}"
