"""Takes the pictures of this folder from a running demo: python docs/screens/take.py

Needs the test environment (`./hazardloop test --collect-only` makes it) and Chromium.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PLAY_S = 100
"""How long the demo's incidents run before the picture, ten times as fast as usual."""
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"]  # fmt: skip


def main() -> None:
    """Starts a demo, lets it play, and takes the alarm desk in both languages."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-P", "-m", "hazardloop", "demo", "--home", str(home)]
        demo = subprocess.Popen(
            [*command, "--speed", "10", "--port", "18097", "--mqtt-port", "11897"]
        )
        try:
            while not (home / "demo.json").exists():
                time.sleep(0.2)
            time.sleep(PLAY_S)
            take(json.loads((home / "demo.json").read_text()))
        finally:
            demo.terminate()
            demo.wait()


def take(demo: dict[str, Any]) -> None:
    """Logs in as the operator and writes one picture for each language."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        for language, locale in (("zh", "zh-CN"), ("en", "en-US")):
            context = browser.new_context(
                viewport={"width": 1600, "height": 900}, locale=locale, color_scheme="light"
            )
            page = context.new_page()
            log_in(page, demo)
            page.get_by_role("button", name="EN" if language == "en" else "中文").click()
            page.get_by_role("row").nth(1).click()
            page.wait_for_timeout(1_500)
            page.screenshot(path=HERE / f"alarms-{language}.png")
        browser.close()


def log_in(page: Page, demo: dict[str, Any]) -> None:
    """Opens the page as the demo's operator and waits for the first row."""
    login = demo["users"]["operator"]
    page.goto(demo["url"])
    page.locator("input").first.fill(login["username"])
    page.locator("input[type=password]").fill(login["password"])
    page.keyboard.press("Enter")
    page.get_by_role("row").nth(1).wait_for()


if __name__ == "__main__":
    main()
