"""A server with a day's data behind it, and Debian's chromium in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from src.db.connection import Database
from src.settings import Secret
from tests.admin import story
from tests.database import Server
from tests.factories import NOW, World
from tests.serving import ENGINE, TOKEN, Client, api_settings, serving

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def day(server: Server, template: str) -> Iterator[str]:
    """The name of a database that holds the day before `NOW`. Leave it alone."""
    with server.new_database(template) as name:
        with Database(Secret(server.url_of(name))).session() as session:
            story.tell(World(session), NOW)
        yield name


@pytest.fixture
def database_url(server: Server, day: str) -> Iterator[str]:
    """A copy of that day of this test's own."""
    with server.new_database(day) as name:
        yield server.url_of(name)


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    """A server as of `NOW`."""
    with serving(api_settings(database_url)) as client:
        yield client


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of its own; the test fails if anything in it complained."""
    complaints: list[str] = []
    with browser.new_context(locale="en-GB", timezone_id="UTC", viewport={"width": 1180, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        yield page
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def sign_in(page: Page, client: Client) -> None:
    page.goto(f"{client.url}{ENGINE}/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("region", name="The newest runs").wait_for()
