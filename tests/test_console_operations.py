"""Live, System, Models and Quality in a real browser: what they show, what they do, and what they teach."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from contracts.feed_status import FeedFault, FeedPull, FeedsStatus, FeedStatus
from contracts.keys import WEBHOOKS, Keys
from contracts.settings import RedisSettings, WebhookOptions
from eventlog.contract import DeadLetter
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.shadow import ShadowChoice
from state.client import connect
from state.due_calls import DueCalls, Failure
from state.embedded import EmbeddedRedis
from state.feed_status import FeedStatusStore
from state.presence import this_process
from state.shadow_sums import ShadowSums
from tests.browser import needs_chromium, opened
from tests.console_gateway import ask, console, gateway
from tests.gateway.test_dead_letters import keep
from tests.gateway.test_quality import count_faults
from tests.processes import wait_for

pytestmark = [needs_chromium, pytest.mark.slow]

DESKTOP, PHONE = (1280, 900), (390, 844)
WIDE = "document.documentElement.scrollWidth <= window.innerWidth"
MARKUP = "<img src=x onerror=alert(1)>"
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def redis(redis_server: EmbeddedRedis) -> RedisSettings:
    return RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    other = Path(shutil.copytree(ARTIFACTS, folder / "other"))
    shutil.rmtree(other / "reranker")
    registry = Registry(folder / "models")
    for n, artifacts in enumerate((ARTIFACTS, other)):
        registry.add(artifacts, now_ms=NOW_MS - 5000 + 1000 * n, note=MARKUP, figures={"mrr": 0.1 * (n + 1)})
    registry.publish(registry.names()[0], now_ms=NOW_MS)
    return registry


@pytest.fixture(scope="module")
def url(redis: RedisSettings, registry: Registry) -> Iterator[str]:
    with gateway(redis, artifacts=str(registry.folder / "serving")) as address:
        yield address


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def either(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    yield from console(browser, url, request.param, "409")


def settled(page: Page, address: str) -> None:
    page.goto(address)
    page.locator('#main[aria-busy="false"]').wait_for()


def test_live_counts_on_while_it_is_looked_at_and_rests_while_it_is_not(either: Page, url: str) -> None:
    settled(either, f"{url}/console/live")
    expect(either.locator("#who")).to_contain_text("The one gateway process of this deployment, every 2 s")
    expect(either.locator("#stages")).to_contain_text("Where the time goes")
    ask(url, "POST", "/api/recommendations/homepage", {"session_id": "s-1"})
    expect(either.locator('[data-tile="recommendations"] .moved')).not_to_have_text("0 in the last minute")
    expect(either.locator("#stages tbody th", has_text="total")).to_have_count(1)
    expect(either.locator("#degraded")).to_contain_text("Nothing: every answer of the last minute is whole.")
    expect(either.locator(".uplot canvas")).to_have_count(3)
    assert either.evaluate(WIDE)
    either.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away ?? false })")
    either.evaluate(
        "window.asked = 0; const was = fetch; window.fetch = (...all) => { asked++; return was(...all) }; 0"
    )
    wait_for(lambda: either.evaluate("asked >= 2"))
    either.evaluate("window.away = true; window.ticks = 0; setInterval(() => ticks++, 1000)")
    wait_for(lambda: either.evaluate("ticks >= 1"))
    before = either.evaluate("asked")
    wait_for(lambda: either.evaluate("ticks >= 5"))
    assert either.evaluate("asked") == before
    either.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: either.evaluate(f"asked > {before}"))


def test_system_says_what_is_wrong_first(either: Page, url: str, redis: RedisSettings) -> None:
    keep(redis, DeadLetter("gateway", 0, "future_timestamp", "", NOW_MS, b"x"))
    client, key = connect(redis), f"{redis.prefix}:processes"
    client.hdel(key, "old")
    settled(either, f"{url}/console/system")
    expect(either.locator("#verdict")).to_contain_text("All is well.")
    expect(either.locator("tbody th", has_text="gateway")).to_have_count(1)
    expect(either.locator("thead", has_text="Process id")).to_have_count(1)
    assert either.evaluate(WIDE)
    now_ms = time.time_ns() // 1_000_000
    old = this_process("sessions", now_ms - 900_000).model_copy(update={"at_ms": now_ms - 180_000, "pid": 7})
    client.hset(key, "old", old.encoded())
    client.close()
    expect(either.locator("#verdict")).to_contain_text("sessions (process 7 on")
    expect(either.locator("#verdict")).to_contain_text("has said nothing for")
    expect(either.locator("tbody .state.bad")).to_contain_text("silent for")
    expect(either.locator("main")).to_contain_text("nextclick dead-letters replay --reason future_timestamp")
    assert either.evaluate(WIDE)


def test_models_are_compared_published_pinned_and_taken_back_with_a_reason(
    either: Page, url: str, registry: Registry
) -> None:
    first, second = registry.names()
    settled(either, f"{url}/console/models")
    expect(either.locator("#head .decision")).to_have_text(first)
    expect(either.locator(f'[data-version="{second}"]')).to_contain_text(MARKUP)
    expect(either.locator("#compared tbody tr", has_text="figure: mrr")).to_contain_text("+100.0%")
    assert either.evaluate(WIDE)
    either.locator(f'[data-publish="{second}"]').click()
    either.locator("dialog[open] [type=submit]").click()  # without a reason nothing is sent
    expect(either.locator("dialog[open]")).to_have_count(1)
    either.locator("#why").fill("better")
    either.locator("dialog[open] [type=submit]").click()
    expect(either.locator("#told")).to_have_text(f"{second} serves now.")
    expect(either.locator("#head .decision")).to_have_text(second)
    assert (registry.serving(), registry.history()[-1].why) == (second, "better")
    either.locator("#pin").click()
    either.locator("#why").fill("sales week")
    either.locator("dialog[open] [type=submit]").click()
    expect(either.locator(f'[data-publish="{first}"]')).to_be_disabled()
    assert registry.pinned() == second
    either.locator("#unpin").click()
    either.locator("#why").fill("over")
    either.locator("dialog[open] [type=submit]").click()
    expect(either.locator("#pin")).to_be_visible()
    either.locator("#rollback").click()
    either.locator("#why").fill("fewer clicks")
    either.locator("dialog[open] [type=submit]").click()
    expect(either.locator("#told")).to_have_text(f"{first} serves again.")
    expect(either.locator('[aria-label="Who made which version serve"] tbody tr').first).to_contain_text("fewer clicks")
    assert registry.serving() == first


def test_models_show_what_the_candidate_in_the_shadow_answers(
    either: Page, url: str, registry: Registry, redis: RedisSettings
) -> None:
    name, sums = registry.names()[0], ShadowSums(redis)
    sums.add(name, {"answers": 40, "overlap": 30, "correlated": 40, "correlation": 20, "common": 40, "difference": 5})
    sums.close()
    settled(either, f"{url}/console/models")
    expect(either.locator("#shadow")).to_have_count(0)
    registry.put_in_shadow(ShadowChoice(name=name, share=0.05, at_ms=NOW_MS, by="anna"))
    settled(either, f"{url}/console/models")
    expect(either.locator("#shadow")).to_contain_text("is asked for 5.00% of the answers too")
    expect(either.locator('[data-tile="overlap_at_10"] dd').first).to_have_text("75.0%")
    expect(either.locator('[data-tile="rank_correlation"] dd').first).to_have_text("0.5")
    expect(either.locator(f'[data-version="{name}"] .chips')).to_contain_text("shadow")
    assert either.evaluate(WIDE)
    registry.put_in_shadow(None)


def test_quality_says_what_is_wrong_first_and_what_to_do(either: Page, url: str, redis: RedisSettings) -> None:
    count_faults(redis)
    settled(either, f"{url}/console/quality")
    expect(either.locator("#verdict")).to_contain_text("2 checks are bad.")
    expect(either.locator("#checks > li").nth(0)).to_have_attribute("data-check", "silent view")
    broken = either.locator("#checks > li").nth(1)
    expect(broken).to_contain_text("Records that are no event: 5.00%, bad from 2.00% on.")
    expect(broken.locator("code")).to_have_text("nextclick dead-letters list")
    expect(either.locator('[data-tile="bots"] dd').first).to_have_text("1")
    expect(either.locator("#unknown li").first).to_be_hidden()
    either.locator("#unknown summary").click()
    expect(either.locator("#unknown")).to_contain_text("Nothing to do yet: too little was seen.")
    expect(either.locator("#drift")).to_contain_text("This process compares nothing")
    assert either.evaluate(WIDE)


def test_feeds_say_what_is_wrong_first_and_which_line_it_was(either: Page, url: str, redis: RedisSettings) -> None:
    client, store = connect(redis), FeedStatusStore(redis)
    client.delete(Keys(redis.prefix).feeds())
    settled(either, f"{url}/console/feeds")
    expect(either.locator("#feeds .notice h2")).to_have_text("There are no feeds")
    now_ms = time.time_ns() // 1_000_000
    well = FeedPull(began_ms=now_ms - 60_000, ended_ms=now_ms - 58_000, outcome="applied", found=10_000, put=12)
    partly = well.model_copy(update={"left_out": 2})
    held = well.model_copy(update={"outcome": "held", "why": f"lost 9,000 of 10,000 {MARKUP}", "found": 1000})
    fault = FeedFault(line=7, item_id=MARKUP, left_out=True, reason="expected a title, got none")
    shop = FeedStatus(
        **{"name": "shop", "source": "https://***@shop.example/merchant.xml", "format": "merchant-xml"},
        **{"every_s": 3600, "next_ms": now_ms + 3_000_000, "running": False, "well_ms": now_ms - 58_000},
        **{"pulls": (well,), "faults": (fault,)},
    )
    store.write(FeedsStatus(at_ms=now_ms, feeds=(shop,)))
    expect(either.locator("#verdict")).to_contain_text("All feeds are well.")
    store.write(FeedsStatus(at_ms=now_ms, feeds=(shop.model_copy(update={"pulls": (partly, well)}),)))
    expect(either.locator("#verdict")).to_contain_text("2 items of the last pulls left out: see what was wrong.")
    either.locator('[data-faults="shop"] summary').click()
    expect(either.locator('[data-faults="shop"]')).to_contain_text(f"line 7, item {MARKUP} left out: expected a title")
    assert either.evaluate(WIDE)
    either.evaluate("document.activeElement.blur()")
    store.write(FeedsStatus(at_ms=now_ms, feeds=(shop.model_copy(update={"pulls": (held, well)}),)))
    expect(either.locator("#verdict")).to_contain_text(f"shop is held back until somebody confirms it: {held.why}")
    expect(either.locator('[data-feed="shop"]')).to_contain_text("nextclick feed confirm shop")
    expect(either.locator('[data-faults="shop"]')).to_have_attribute("open", "")
    assert either.evaluate(WIDE)
    client.close()
    store.close()


def test_webhooks_say_how_to_switch_them_on_or_what_was_not_taken(
    browser: Browser, either: Page, url: str, redis: RedisSettings
) -> None:
    settled(either, f"{url}/console/webhooks")
    expect(either.locator("#webhooks .notice h2")).to_have_text("Webhooks are off")
    assert either.evaluate(WIDE)
    told = {"url": "https://shop.example/hooks", "allow": ["https://shop.example"], "secrets": ["x" * 16]}
    queue = DueCalls(redis, WEBHOOKS, most=10)
    now_ms = time.time_ns() // 1_000_000
    # no sender takes it: it is due in an hour
    queue.put([("a" * 32, b'{"users": []}')], now_ms)
    queue.done("b", "dead", Failure("b" * 32, now_ms, 12, "answered 500, at attempt 12, the last", "x", True))
    queue.again("a" * 32, now_ms + 3_600_000, Failure("a" * 32, now_ms, 3, "answered 503", MARKUP, False))
    with gateway(redis, webhooks=WebhookOptions(**told)) as address:
        size = either.viewport_size or {"width": 0, "height": 0}
        for page in console(browser, address, (size["width"], size["height"])):
            settled(page, f"{address}/console/webhooks")
            expect(page.locator('[data-tile="waiting"] dd').first).to_have_text("1")
            expect(page.locator("#verdict")).to_contain_text("A call was given up within a day: dead letters.")
            expect(page.locator("#verdict")).to_contain_text("1 call waits: the last one was tried 3 times")
            expect(page.locator("tbody tr").first).to_contain_text(MARKUP)
            expect(page.locator("tbody tr").nth(1)).to_contain_text("given up")
            expect(page.locator("main")).to_contain_text("https://shop.example/hooks")
            assert page.evaluate(WIDE)
    client = connect(redis)
    client.delete(*[name(WEBHOOKS) for name in (Keys(redis.prefix).due_calls, Keys(redis.prefix).calls)])
    client.delete(*[name(WEBHOOKS) for name in (Keys(redis.prefix).call_counts, Keys(redis.prefix).call_failures)])
    client.delete(Keys(redis.prefix).calls_since(WEBHOOKS))
    client.close()
    queue.close()


def test_quality_shows_which_features_moved_the_furthest_first(either: Page, url: str) -> None:
    def moved(route: Route) -> None:
        answer = route.fetch()
        drift = [{"name": name, "psi": psi, "ks": psi / 2} for name, psi in (("price", 0.02), (MARKUP, 0.4))]
        route.fulfill(response=answer, json={**answer.json(), "drift": drift, "drift_pages": 240})

    either.route("**/api/quality", moved)
    settled(either, f"{url}/console/quality")
    rows = either.locator("#drift tbody tr")
    expect(rows.nth(0)).to_contain_text(MARKUP)
    expect(rows.nth(0).locator(".state.bad")).to_have_text("moved")
    expect(rows.nth(1).locator(".state")).to_have_text("as in training")
    expect(either.locator("#drift")).to_contain_text("240 pages of the process that answered")
    assert either.evaluate(WIDE)


def test_a_decision_about_what_does_not_serve_any_more_is_refused_in_the_dialog(
    browser: Browser, url: str, registry: Registry
) -> None:
    first, second = registry.names()
    page, _ = opened(browser, f"{url}/console/models", size=PHONE)
    page.locator(f'[data-publish="{second}"]').click()
    registry.publish(second, now_ms=NOW_MS)
    page.locator("#why").fill("better")
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("dialog[open] .wrong")).to_contain_text(f"expected {first} to serve, got {second}")
    page.close()
    registry.publish(first, now_ms=NOW_MS)


def test_where_there_is_nothing_pages_say_how_to_switch_it_on(browser: Browser, redis_server: EmbeddedRedis) -> None:
    redis = RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)
    with gateway(redis) as url:
        page, _ = opened(browser, f"{url}/console/models", size=PHONE)
        expect(page.locator("main")).to_contain_text("This gateway serves from no registry")
        expect(page.locator("pre")).to_contain_text("nextclick models add models/trained --folder registry --publish")
        assert page.evaluate(WIDE)
        page.goto(f"{url}/console/quality")
        expect(page.locator("#verdict")).to_contain_text("Too little was seen to say anything.")
        expect(page.locator(".notice pre")).to_have_text("nextclick up --quality")
        assert page.evaluate(WIDE)
        page.goto(f"{url}/console/live")
        expect(page.locator("#stages")).to_contain_text("No recommendation was asked for in the last minute.")
        page.close()


def test_the_first_page_shows_how_it_does_and_leads_to_every_page(either: Page, url: str) -> None:
    settled(either, f"{url}/console")
    expect(either.locator('[data-tile="ready"]')).to_contain_text("Ready")
    expect(either.locator('[data-tile="processes"] dd').first).to_have_text("1")
    shown = set(either.locator("main .cards a").evaluate_all("all => all.map((one) => new URL(one.href).pathname)"))
    assert set(either.locator("nav a").evaluate_all("all => all.map((one) => new URL(one.href).pathname)")) <= shown
    assert either.evaluate(WIDE)


def test_on_a_phone_the_pages_are_behind_a_button_that_the_keyboard_opens_and_closes(
    browser: Browser, url: str
) -> None:
    page, problems = opened(browser, f"{url}/console/system", size=PHONE)
    link = page.locator("nav a", has_text="Live")
    expect(link).to_be_hidden()
    page.locator("#menu").focus()
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    expect(page.locator("nav a", has_text="System")).to_have_attribute("aria-current", "page")
    assert page.evaluate(WIDE)
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "menu"
    page.keyboard.press("Enter")
    link.click()
    page.wait_for_url(f"{url}/console/live")
    page.close()
    assert problems == []
