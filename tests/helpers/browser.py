"""A page opened in a headless Chromium that has no network: what it looks like, and what it complains about.

The browser is `APO_BROWSER`, or the first of NAMES on the path. Where there is none the test is skipped;
with `APO_REQUIRE_BROWSER=1` it fails.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@dataclass
class Seen:
    """What happened on a page.

    Attributes:
        errors: Errors and warnings of the console, exceptions that nobody caught, requests that failed.
        requests: The address of everything that was asked for, the page itself first.
    """

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def leaving(self) -> list[str]:
        """The requests that are not for a file of this machine or for something inside the page."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:", "about:"))]


def find_browser() -> str:
    """The program of the browser; skips the test, or fails it, where there is none."""
    named = os.environ.get("APO_BROWSER")
    browser = named or next(filter(None, map(shutil.which, NAMES)), None)
    if browser and (shutil.which(browser) or Path(browser).is_file()):
        return browser
    reason = f"no browser: APO_BROWSER is {named!r}, and none of {', '.join(NAMES)} is on the path"
    if os.environ.get("APO_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def opened(file: Path, *, width: int = 1280, height: int = 900) -> Iterator[tuple[Page, Seen]]:
    """Opens an HTML file; the browser, with a new profile of its own, is closed again at the end.

    Args:
        file: An HTML file of this machine.
        width: Of the window, pixels.
        height: Of the window, pixels.

    Yields:
        Playwright's page, loaded, and what it did so far.
    """
    program, seen = find_browser(), Seen()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("request", lambda request: seen.requests.append(request.url))
            page.on("requestfailed", lambda request: seen.errors.append(f"request failed: {request.url}"))
            page.on("pageerror", lambda error: seen.errors.append(f"exception: {error}"))
            page.on(
                "console",
                lambda said: seen.errors.append(said.text) if said.type in {"error", "warning"} else None,
            )
            page.goto(file.resolve().as_uri())
            page.wait_for_load_state("networkidle")  # half a second without a request
            yield page, seen
        finally:
            browser.close()


def look_at(file: Path, screenshot: Path, *, width: int = 1280) -> Seen:
    """Opens an HTML file and saves a picture of the whole page.

    Args:
        file: An HTML file of this machine.
        screenshot: PNG to write.
        width: Of the window, pixels.
    """
    with opened(file, width=width) as (page, seen):
        page.screenshot(path=screenshot, full_page=True)
    return seen
