"""The dashboard in a real browser, on real numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect
from psycopg2 import sql

from tests.admin.conftest import sign_in
from tests.database import Server
from tests.factories import NOW, World
from tests.serving import ENGINE, TOKEN, Client, api_settings, serving

HALTED_RUN = "00000000-0000-0000-0000-000000000060"
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def tile(page: Page, name: str) -> str:
    return page.locator(".tile", has_text=name).locator("dd").inner_text()


def test_it_shows_the_numbers_of_the_database(page: Page, client: Client, world: World) -> None:
    sign_in(page, client)
    sent = "SELECT count(*) FROM user_alert_deliveries WHERE status = %(status)s AND delivery_kind = 'instant'"
    assert tile(page, "Alerts sent") == str(world.value(sent, status="sent"))
    assert tile(page, "Alerts failed") == str(world.value(sent, status="failed"))
    assert tile(page, "Oldest due alert") == "3 min"
    assert tile(page, "Oldest due digest") == "none waiting"
    sent_by_runs = world.value(
        "SELECT sum((counts #>> '{by_channel,email,sent}')::int) FROM alerts_engine_run_items"
        " WHERE phase = 'c' AND started_at >= %(since)s",
        since=NOW - timedelta(hours=23),
    )
    chart = page.get_by_role("img", name="email, last 24 hours").get_attribute("aria-label")
    assert chart is not None
    assert chart.startswith(f"email, last 24 hours: {sent_by_runs} sent, 3 failed; most at")
    queued = "SELECT count(*) FROM user_alert_deliveries WHERE status = 'queued' AND channel = 'email'"
    row = page.get_by_role("region", name="Messages by status").get_by_role("row", name="email alerts")
    assert row.get_by_role("cell").first.inner_text() == str(world.value(queued))
    expect(page.locator("#rollout")).to_contain_text("everybody")
    expect(page.locator("#rollout")).to_contain_text("1,000 messages a run")
    expect(page.locator("#status")).to_contain_text("All is well")
    expect(page.locator("#failures")).to_contain_text("2 × telegram, blocked by user (telegram 403)")
    expect(page.locator("#failures")).to_contain_text("correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN")


def test_all_runs_are_a_click_away(page: Page, client: Client) -> None:
    sign_in(page, client)
    runs = page.get_by_role("region", name="The newest runs").get_by_role("row")
    expect(runs).to_have_count(13)
    page.get_by_role("button", name="Show all 50").click()
    expect(runs).to_have_count(51)


def test_nothing_is_shown_without_the_token(page: Page, client: Client) -> None:
    page.goto(f"{client.url}{ENGINE}/#run={HALTED_RUN}")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the server's token.")
    expect(page.locator("#board")).to_be_hidden()
    expect(page.locator("#run")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_token_stays_in_the_tab_and_out_of_addresses_and_logs(
    page: Page, client: Client, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    with caplog.at_level("DEBUG"):
        sign_in(page, client)
        page.reload()
        page.get_by_role("region", name="The newest runs").wait_for()
    assert all(url.startswith(client.url) for url in asked)
    assert not [url for url in asked if TOKEN in url]
    assert TOKEN not in caplog.text
    assert "GET /internal/alerts/engine/health 200" in caplog.text
    with browser.new_context() as another:
        other = another.new_page()
        other.goto(f"{client.url}{ENGINE}/")
        expect(other.get_by_label("Token")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_it_works_by_keyboard(page: Page, client: Client) -> None:
    page.goto(f"{client.url}{ENGINE}/")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_role("region", name="The newest runs").wait_for()
    first = page.get_by_role("region", name="The newest runs").get_by_role("link").first
    for _ in range(30):
        page.keyboard.press("Tab")
        if first.evaluate("link => link === document.activeElement"):
            break
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(first).to_be_focused()
    page.get_by_role("button", name="Refresh").evaluate("button => button.click()")
    expect(first).to_be_focused()


def test_a_run_in_detail(page: Page, client: Client) -> None:
    sign_in(page, client)
    page.goto(f"{client.url}{ENGINE}/#run={HALTED_RUN}")
    dialog = page.get_by_role("dialog")
    for text in (HALTED_RUN, "failed", "a halted channel", "sms was halted", "everybody, at most 1,000 messages"):
        expect(dialog).to_contain_text(text)
    phases = dialog.locator(".phase h3").all_inner_texts()
    assert phases == ["A · find events", "B · decide who hears", "D · build digests", "C · send"]
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(f"{client.url}{ENGINE}/")  # the address changes after the dialog has gone


@pytest.mark.parametrize("run_id", ["unknown", "%00", "..%2Fmetrics"])
def test_a_run_that_is_not_on_record_is_said_to_be_none(page: Page, client: Client, run_id: str) -> None:
    sign_in(page, client)
    page.goto(f"{client.url}{ENGINE}/#run={run_id}")
    expect(page.get_by_role("dialog")).to_contain_text("No such run is on record")
    expect(page.locator("#status")).to_contain_text("All is well")


def test_whatever_stands_in_the_database_is_text(page: Page, client: Client, world: World) -> None:
    def dismiss(dialog: Dialog) -> None:
        dialog.dismiss()
        raise AssertionError("a script ran")

    page.on("dialog", dismiss)
    run = {"run_id": "evil", "phase": "all", "started_at": NOW, "status": "failed"}
    counts: dict[str, Any] = {"sent": 1, EVIL: {EVIL: EVIL}}
    world.insert(
        "alerts_engine_runs", **run, triggered_by=EVIL, actor=EVIL, git_sha=EVIL, error_summary=EVIL, counts=counts
    )
    world.insert("alerts_engine_run_items", **{**run, "phase": "c"}, counts=counts)
    event = world.alert_event(fanned_out=True)
    world.delivery(1, event, status="failed", failure_reason=EVIL, last_error=EVIL)
    sign_in(page, client)
    expect(page.locator("#failures")).to_contain_text("<img src=x onerror")
    page.goto(f"{client.url}{ENGINE}/#run=evil")
    expect(page.get_by_role("dialog")).to_contain_text("<script>document.title")
    assert page.locator("img, script:not([src])").count() == 0
    assert page.title() == "Alerts engine · EnergyRiskIQ"


def test_no_script_but_its_own_runs(browser: Browser, client: Client) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{client.url}{ENGINE}/")
        page.get_by_label("Token").wait_for()
        assert page.evaluate(
            """() => {
                const script = document.createElement("script");
                try { script.textContent = "document.title = 'owned'"; document.body.append(script); } catch { }
                try { document.body.insertAdjacentHTML("beforeend", "<p>owned</p>"); } catch { }
                return [document.title, document.body.textContent.includes("owned")];
            }"""
        ) == ["Alerts engine · EnergyRiskIQ", False]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_it_whole(page: Page, client: Client, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, client)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (lightness < 60) is (scheme == "dark")
    page.goto(f"{client.url}{ENGINE}/#run={HALTED_RUN}")
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_a_database_that_is_gone_is_said_and_the_old_numbers_stay(
    page: Page, client: Client, server: Server, database_url: str
) -> None:
    sign_in(page, client)
    name = sql.Identifier(database_url.partition("?")[0].rpartition("/")[2])
    server.administer(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#status")).to_contain_text("No answer")
    expect(page.locator("#status")).to_contain_text("database.unreachable")
    expect(page.get_by_role("region", name="The newest runs")).to_be_visible()
    server.administer(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#status")).to_contain_text("All is well")


def test_a_server_without_a_token_says_what_to_set(page: Page, database_url: str) -> None:
    with serving(api_settings(database_url, secrets={})) as client:
        page.goto(f"{client.url}{ENGINE}/")
        page.get_by_label("Token").fill("anything")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#status")).to_contain_text("set INTERNAL_RUNNER_TOKEN")


def test_an_empty_database_is_no_trouble(page: Page, server: Server, template: str) -> None:
    with server.new_database(template) as name, serving(api_settings(server.url_of(name))) as client:
        page.goto(f"{client.url}{ENGINE}/")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#status")).to_contain_text("No run so far")
        expect(page.locator("#runs")).to_have_text("No run so far.")
        expect(page.locator("#charts")).to_have_text("Nothing was sent and nothing failed.")
