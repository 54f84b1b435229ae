"""The console in a real browser: what a report says is in sight, decisions are asked again, figures have a before.

A gateway on a Redis that is filled as the judge and the attribution flow fill it.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page, expect

from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis
from tests.browser import needs_chromium, opened
from tests.console_gateway import MARGIN_FIRST, ask, console, fill_figures, gateway, report, write_report
from tests.gateway.api_keys import make_key

pytestmark = [needs_chromium, pytest.mark.slow]

DESKTOP, PHONE = (1280, 900), (390, 844)
WIDE = "document.documentElement.scrollWidth <= window.innerWidth"
MARKUP = "<img src=x onerror=alert(1)>"


def fresh(server: EmbeddedRedis) -> RedisSettings:
    return RedisSettings(url=server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)


@pytest.fixture(scope="module")
def redis(redis_server: EmbeddedRedis) -> RedisSettings:
    settings = fresh(redis_server)
    fill_figures(settings)
    return settings


@pytest.fixture(scope="module")
def url(redis: RedisSettings) -> Iterator[str]:
    with gateway(redis) as address:
        yield address


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def either(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    yield from console(browser, url, request.param, "409", "422", "503")


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    yield from console(browser, url, PHONE, "409", "422", "503")


def put(url: str, **fields: Any) -> str:
    """Start an experiment on a scenario of its own; returns its name."""
    name = f"x{uuid.uuid4().hex[:8]}"
    ask(url, "PUT", f"/api/scenarios/{name}", {"base": "homepage"})
    ask(url, "PUT", f"/api/experiments/{name}", {**MARGIN_FIRST, "scenario": name, **fields})
    return name


def state_of(url: str, name: str) -> tuple[str, str | None, str | None]:
    found = ask(url, "GET", f"/api/experiments/{name}")
    return found["state"], found["why"], found["promoted"]


def settled(page: Page, address: str) -> None:
    page.goto(address)
    page.locator('#main[aria-busy="false"]').wait_for()


def test_a_report_is_shown_with_its_decision_its_intervals_and_who_was_left_out(
    either: Page, url: str, redis: RedisSettings
) -> None:
    name = put(url)
    write_report(redis, url, name, report(held="it runs less than 7 days"))
    settled(either, f"{url}/console/experiments")
    expect(either.locator(f'[data-experiment="{name}"] .decides')).to_have_text(
        "Ship margin: clicks/pages rises by 14.1% [+8.6%, +20.0%]."
    )
    assert either.evaluate(WIDE)
    either.locator(f'[data-experiment="{name}"]').click()
    expect(either.locator("#decision")).to_have_text("Ship margin: clicks/pages rises by 14.1% [+8.6%, +20.0%].")
    assert float(either.locator("#decision").evaluate("one => parseFloat(getComputedStyle(one).fontSize)")) >= 20
    expect(either.locator(".verdict")).to_contain_text("The judge leaves it to you: it runs less than 7 days")
    expect(either.locator(".verdict")).to_contain_text("24,000 of 24,000 planned sessions")
    rows = either.locator("section", has_text="What changed").locator(".forest li:not(.axis)")
    assert [re.sub(r"\s+", " ", one) for one in rows.all_inner_texts()] == [
        "clicks/pages decides +14.1% +8.4% to +19.8%",
        "revenue +16.0% −19.0% to +51.0%",
        "orders guardrail −1.2% −10.2% to +7.8%",
    ]
    expect(rows.nth(0)).to_have_class("better")
    expect(rows.nth(2)).to_have_class("")
    boxes = [rows.nth(0).locator(part).bounding_box() for part in (".reach", ".dot", ".zero")]
    reach, dot, zero = (box["x"] + box["width"] / 2 for box in boxes if box)
    assert abs(reach - dot) < 2  # the interval is symmetric here, and right of the line of no change
    assert zero < boxes[0]["x"]  # type: ignore[index]
    expect(either.locator(".uplot canvas")).to_have_count(1)
    expect(either.locator(".uplot .u-legend")).to_contain_text("+12.8%")
    segments = either.locator("section", has_text="For whom").locator(".forest li:not(.axis)")
    assert [one.split("\n")[0] for one in segments.all_inner_texts()] == ["phone", "desktop", "not known"]
    expect(segments.nth(2)).to_contain_text("no interval yet")
    expect(either.locator("#report")).to_contain_text("The variants hold the shares that were set (p = 0.79).")
    expect(either.locator("#report")).to_contain_text("Left out: 14 were seen in several variants.")
    expect(either.locator('[aria-label="Figures by variant"] tbody tr').nth(1)).to_contain_text("€26,840")
    expect(either.locator("section", has_text="By variant")).to_contain_text(
        "Clicks are those on the pages counted here."
    )
    assert either.evaluate(WIDE)


def test_a_newer_report_takes_the_place_of_the_one_shown(page: Page, url: str, redis: RedisSettings) -> None:
    name = put(url)
    write_report(redis, url, name, report())
    settled(page, f"{url}/console/experiments?name={name}")
    broken = {"p": 0.0001, "counts": {"control": 9, "margin": 90}, "shares": {"control": 0.5, "margin": 0.5}}
    ratio = report(verdict="ratio", decision="Stop, and find where units are lost.", sample_ratio=broken)
    write_report(redis, url, name, {**ratio, "at_ms": ratio["at_ms"] + 1_000})
    expect(page.locator("#decision")).to_have_text("Stop, and find where units are lost.")
    expect(page.locator(".verdict")).to_have_class("card verdict ratio")
    expect(page.locator("#report .wrong")).to_contain_text("No: the variants do not hold the shares")


def test_an_experiment_is_stopped_with_a_reason_after_a_question(page: Page, url: str) -> None:
    name = put(url)
    settled(page, f"{url}/console/experiments?name={name}")
    page.locator("#stop").click()
    page.locator("dialog[open] button", has_text="Cancel").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert state_of(url, name)[0] == "running"
    page.locator("#stop").click()
    page.locator("#why").fill(f"no effect {MARKUP}")
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("#told")).to_have_text(f"{name} is stopped.")
    assert state_of(url, name) == ("stopped", f"no effect {MARKUP}", None)
    expect(page.locator("#head")).to_contain_text(f"no effect {MARKUP}")
    expect(page.locator("#stop")).to_have_count(0)


def test_a_variant_is_promoted_and_the_scenario_taken_back(page: Page, url: str) -> None:
    name = put(url)
    settled(page, f"{url}/console/experiments?name={name}")
    page.locator("#promote").click()
    page.locator("#promoted").select_option("margin")
    page.locator("#why").fill("sells more")
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("#told")).to_contain_text(f"margin is {name} now")
    assert state_of(url, name) == ("stopped", "sells more", "margin")
    value = {"match": 1, "margin": 0.1}
    assert ask(url, "GET", f"/api/scenarios/{name}")["scenario"] == {"base": "homepage", "value": value}
    page.locator("#demote").click()
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("#told")).to_have_text(f"{name} is as version 1 was.")
    assert ask(url, "GET", f"/api/scenarios/{name}")["scenario"] == {"base": "homepage"}


def test_a_promotion_is_told_once_and_no_longer_to_be_done(page: Page, url: str, redis: RedisSettings) -> None:
    name = put(url)
    write_report(redis, url, name, report(held=None))
    decision = report()["decision"]
    ask(url, "POST", f"/api/experiments/{name}/promote", {"variant": "margin", "why": decision})  # as the judge does
    told = "margin became the scenario: clicks/pages rises by 14.1% [+8.6%, +20.0%]."
    settled(page, f"{url}/console/experiments")
    card = page.locator(f'[data-experiment="{name}"]')
    expect(card.locator(".decides")).to_have_text(told)
    assert card.inner_text().count("clicks/pages rises") == 1
    card.click()
    expect(page.locator("#decision")).to_have_text(told)
    assert page.locator("main").inner_text().count("clicks/pages rises") == 1
    other = put(url)
    write_report(redis, url, other, report())
    ask(url, "POST", f"/api/experiments/{other}/promote", {"variant": "control", "why": "a hunch"})
    settled(page, f"{url}/console/experiments")
    card = page.locator(f'[data-experiment="{other}"]')
    expect(card.locator(".decides")).to_have_text(f"control became the scenario. The last report said: {decision}")
    expect(card).to_contain_text("a hunch")


def test_taking_back_says_what_was_published_since(page: Page, url: str) -> None:
    name = put(url)
    ask(url, "POST", f"/api/experiments/{name}/promote", {"variant": "margin"})
    time.sleep(0.01)  # the promotion's version and a later one are told apart by their milliseconds
    ask(url, "PUT", f"/api/scenarios/{name}", {"base": "homepage", "filter": "price < 30"})
    settled(page, f"{url}/console/experiments?name={name}")
    page.locator("#demote").click()
    expect(page.locator("dialog[open]")).to_contain_text("What was published since goes with it: version 3 is")


def test_before_the_first_unit_nothing_is_said_of_the_shares(page: Page, url: str, redis: RedisSettings) -> None:
    name = put(url)
    none = {"p": 1.0, "counts": {"control": 0, "margin": 0}, "shares": {"control": 0.5, "margin": 0.5}}
    write_report(redis, url, name, report(units={"control": 0, "margin": 0}, sample_ratio=none))
    settled(page, f"{url}/console/experiments?name={name}")
    expect(page.locator("#report")).to_contain_text("No unit was seen yet.")
    expect(page.locator("#report")).not_to_contain_text("hold the shares")


def test_an_interval_that_goes_on_beyond_the_axis_is_marked_and_drawn_over_time(
    page: Page, url: str, redis: RedisSettings
) -> None:
    name = put(url)
    far = report()
    far["comparisons"][0] |= {"lift": 1.42, "lift_ends": [0.35, 3.17]}
    far["history"] = [one for one in far["history"] if one["at_ms"] < far["history"][-1]["at_ms"]]
    last = far["history"][-1] | {"at_ms": far["history"][-1]["at_ms"] + 1_000, "lift": 1.42, "lift_ends": [0.35, 3.17]}
    far["history"].append(last)
    write_report(redis, url, name, far)
    settled(page, f"{url}/console/experiments?name={name}")
    rows = page.locator("section", has_text="What changed").locator(".forest li:not(.axis)")
    expect(rows.nth(0).locator(".beyond")).to_have_text("›")
    expect(rows.nth(1).locator(".beyond")).to_have_count(0)
    expect(page.locator(".uplot .u-legend")).to_contain_text("+317.0%")


def test_a_decision_about_a_version_that_is_not_the_newest_is_refused_in_the_dialog(page: Page, url: str) -> None:
    name = put(url)
    settled(page, f"{url}/console/experiments?name={name}")
    page.locator("#stop").click()
    newest = ask(url, "GET", f"/api/experiments/{name}")["experiment"]
    ask(url, "PUT", f"/api/experiments/{name}", {**newest, "description": "changed meanwhile"})
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("dialog[open] .wrong")).to_contain_text("version")
    assert state_of(url, name)[0] == "running"


def test_testers_are_added_and_an_older_version_is_gone_back_to(page: Page, url: str) -> None:
    name = put(url)
    settled(page, f"{url}/console/experiments?name={name}")
    page.locator("#tester").fill(MARKUP)
    page.locator("#tester-variant").select_option("control")
    page.locator("form.inline [type=submit]").click()
    expect(page.locator("#rest")).to_contain_text(f"{MARKUP} gets control")
    path = f"/api/experiments/{name}"
    assert ask(url, "GET", path)["experiment"]["overrides"] == {"me": "margin", MARKUP: "control"}
    page.locator("#rest summary", has_text="Versions before").click()
    page.locator('[data-version="1"]').click()
    expect(page.locator("#told")).to_have_text("Version 3 is as version 1 was.")
    assert ask(url, "GET", path)["experiment"]["overrides"] == {"me": "margin"}
    assert page.evaluate(WIDE)


def test_a_form_starts_an_experiment_and_shows_errors_at_their_fields(page: Page, url: str) -> None:
    scenario, name = f"s{uuid.uuid4().hex[:8]}", f"x{uuid.uuid4().hex[:8]}"
    ask(url, "PUT", f"/api/scenarios/{scenario}", {"base": "homepage"})
    settled(page, f"{url}/console/experiments")
    page.locator("#new").click()
    page.locator("#new-name").fill(name)
    page.locator("#new-scenario").select_option(scenario)
    page.locator("#new-share").fill("60")
    page.locator("#new-patch").fill('{"filter": "colour == 3"}')
    submit = page.locator("form.card [type=submit]")
    submit.click()
    expect(page.locator("#new-told")).to_have_text("expected shares of at most 100% together, got 110%")
    page.locator("#new-share").fill("120")
    submit.click()
    expect(page.locator("#new-share-wrong")).to_have_text("expected 0.1% to 100%, got 120%")
    expect(page.locator("#new-told")).to_have_text("")
    page.locator("#new-share").fill("50")
    submit.click()
    expect(page.locator("#new-patch-wrong")).to_contain_text("/filter")
    expect(page.locator("#new-patch-wrong")).to_contain_text("no field is called colour")
    expect(page.locator("#new-patch")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#new-patch")).to_be_focused()
    assert page.evaluate(WIDE)
    page.locator("#new-patch").fill('{"filter": "stock > 0"}')
    submit.click()
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator("#report")).to_contain_text("No report yet")
    assert ask(url, "GET", f"/api/experiments/{name}")["experiment"]["variants"][1] == {
        "name": "variant",
        "share": 0.5,
        "patch": {"filter": "stock > 0"},
    }


def test_figures_are_shown_beside_those_before_by_what_is_asked(either: Page, url: str) -> None:
    settled(either, f"{url}/console/figures")
    expect(either.locator("[data-tile]")).to_have_count(7)
    expect(either.locator('[data-tile="pages"]')).to_contain_text("▲ +10.")
    expect(either.locator('[data-tile="ctr"]')).to_contain_text("7.20%")
    expect(either.locator('[data-tile="earned"]')).to_contain_text("52.8%")
    expect(either.locator('[data-tile="revenue"]')).to_contain_text("€")
    expect(either.locator(".uplot canvas")).to_have_count(1)
    table = either.locator(".scroll[aria-label='Figures by scenario'] tbody th")
    assert table.all_inner_texts() == ["homepage", "product", "not recommended"]
    bars = either.locator(".bars li")
    assert [one.split("\n")[0].strip() for one in bars.all_inner_texts()] == [f"{n}" for n in range(1, 11)]
    widths = [box["width"] for box in (bar.bounding_box() for bar in either.locator(".bars .bar").all()) if box]
    assert widths == sorted(widths, reverse=True)
    assert either.evaluate(WIDE)
    either.locator("#by").select_option("device")
    expect(either.locator(".scroll[aria-label='Figures by device'] tbody th")).to_have_text(
        ["phone", "desktop", "not recommended"]
    )
    either.locator("#only").select_option("product")
    expect(either.locator('[data-tile="ctr"]')).to_contain_text("8.30%")
    assert "by=device" in either.url
    either.locator("#range-own").click()
    expect(either.locator("#from")).to_be_visible()
    assert either.evaluate(WIDE)


def test_dates_that_are_not_shown_as_asked_for_are_told(page: Page, url: str) -> None:
    settled(page, f"{url}/console/figures?range=own&from=2026-03-02&to=2026-03-01")
    expect(page.locator("#figures")).to_contain_text("These dates are in the wrong order")
    expect(page.locator("#figures")).to_contain_text("They begin with 2026-03-02 and end with 2026-03-01.")
    page.locator("#from").fill("2026-02-27")
    expect(page.locator("#figures")).to_contain_text("Nothing in these dates")
    expect(page.locator("#shortened")).to_have_count(0)
    page.locator("#from").fill("2025-02-27")
    expect(page.locator("#shortened")).to_have_text(
        "At most 92 days are shown: these are the last of yours, from 2025-11-30 00:00 UTC on."
    )
    expect(page.locator("#from")).to_have_value("2025-02-27")
    assert page.evaluate(WIDE)


def test_figures_are_downloaded_as_csv(page: Page, url: str) -> None:
    settled(page, f"{url}/console/figures?by=device&then=scenario")
    with page.expect_download() as downloading:
        page.locator("#csv").click()
    path = Path(downloading.value.path())
    lines = path.read_text().splitlines()
    assert lines[0].startswith("recommended,device,scenario,pages,shown,clicks,ctr,")
    assert sorted(line.split(",")[1:3] for line in lines[1:]) == [
        ["", ""],
        ["desktop", "homepage"],
        ["desktop", "product"],
        ["phone", "homepage"],
        ["phone", "product"],
    ]
    assert re.fullmatch(r"figures-device-scenario-\d{4}-\d\d-\d\d\.csv", downloading.value.suggested_filename)


def test_without_experiments_and_attribution_the_pages_say_how_to_begin(
    browser: Browser, redis_server: EmbeddedRedis
) -> None:
    with gateway(fresh(redis_server)) as url:
        page, problems = opened(browser, f"{url}/console/experiments", size=PHONE)
        expect(page.locator("#list")).to_contain_text("Attribution is off")
        expect(page.locator("#list")).to_contain_text("NEXTCLICK_ATTRIBUTION__RUN=true")
        example = page.locator("pre", has_text="curl -X PUT").inner_text()
        assert f"{url}/api/experiments/margin-first" in example
        assert page.evaluate(WIDE)
        page.goto(f"{url}/console/figures")
        expect(page.locator("#figures")).to_contain_text("Attribution is off")
        page.close()
        assert problems == []


def test_a_running_experiment_without_a_report_for_long_says_that_the_judge_is_off(browser: Browser, url: str) -> None:
    name = put(url)
    page, _ = opened(browser, f"{url}/console", size=DESKTOP)
    page.clock.install()
    page.goto(f"{url}/console/experiments?name={name}")
    expect(page.locator("#report")).to_contain_text("No report yet")
    page.clock.fast_forward(180_000)
    expect(page.locator("#report")).to_contain_text("The judge is off")
    page.close()


def test_a_key_is_asked_for_once_and_kept_in_the_tab_alone(browser: Browser, redis_server: EmbeddedRedis) -> None:
    redis = fresh(redis_server)
    catalogue, events = make_key(redis, "catalogue").text, make_key(redis, "events").text
    with gateway(redis, keys="required") as url:
        with pytest.raises(HTTPError):
            ask(url, "GET", "/api/experiments")
        page, _ = opened(browser, f"{url}/console/experiments", size=PHONE)
        for key in (events, catalogue):
            expect(page.locator("#key-why")).to_contain_text("of scope catalogue" if key == catalogue else "got none")
            page.locator("#key-text").fill(key)
            page.keyboard.press("Enter")
        expect(page.locator("#list")).to_contain_text("No experiment yet")
        page.locator("#menu").click()
        page.locator("nav a", has_text="Figures").click()
        expect(page.locator("#figures")).to_contain_text("Attribution is off")
        assert catalogue not in page.content()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.locator("#forget-key").click()
        expect(page.locator("#key-dialog")).to_be_visible()
        page.close()
        other, _ = opened(browser, f"{url}/console/experiments#key={catalogue}", size=PHONE)
        expect(other.locator("#list")).to_contain_text("No experiment yet")
        assert catalogue not in other.url
        other.close()


def test_the_keyboard_alone_skips_opens_and_closes(browser: Browser, url: str) -> None:
    name = put(url)
    page, _ = opened(browser, f"{url}/console/experiments?name={name}", size=DESKTOP)
    page.locator("#stop").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(1)
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "stop"
    page.close()
