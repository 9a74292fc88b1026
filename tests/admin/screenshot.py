"""`python -m tests.admin.screenshot`: draw docs/dashboard.png anew, from the day that `story` tells."""

from __future__ import annotations

from playwright.sync_api import sync_playwright

from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.admin import story
from tests.admin.conftest import CHROMIUM, sign_in
from tests.database import start_server
from tests.factories import NOW, World
from tests.process import ROOT
from tests.serving import api_settings, serving


def main() -> None:
    server = start_server()
    with server.new_database() as name:
        database = Database(Secret(server.url_of(name)))
        migrate.apply(database)
        with database.session() as session:
            story.tell(World(session), NOW)
        with serving(api_settings(server.url_of(name))) as client, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(
                viewport={"width": 1120, "height": 905}, device_scale_factor=1.5, locale="en-GB", timezone_id="UTC"
            )
            sign_in(page, client)
            page.evaluate("document.activeElement.blur()")
            page.screenshot(path=ROOT / "docs" / "dashboard.png")
            browser.close()


if __name__ == "__main__":
    main()
