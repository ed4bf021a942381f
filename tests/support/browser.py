"""A real browser, and a page in it that records errors and warnings."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from missing import skip_or_fail
from playwright.sync_api import Browser, Page, expect, sync_playwright

# Debian's chromium; it fetches nothing in the background, and runs without the sandbox, which fails for root.
ARGUMENTS = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]

# A busy machine is no fault of the page.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        skip_or_fail("no chromium is installed")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS, *root])
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A page in a separate browser window, at a fixed time; `troubles` are its errors and console warnings."""

    def __init__(self, browser: Browser, *, at: str | None = None, **window):
        self._context = browser.new_context(locale="en-GB", reduced_motion="reduce", **window)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.troubles: list[str] = []
        self.hosts: set[str] = set()
        if at is not None:
            self.page.clock.set_fixed_time(at)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda sent: self.hosts.add(sent.url.split("/")[2] if "://" in sent.url else ""))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.troubles.append(f"{kind}: {text}")

    def open(self, url: str) -> Page:
        """Load a page and wait until it shows all series, a forecast or the text in their place."""
        self.page.goto(url)
        self.page.wait_for_selector(
            "#fan[data-origin], #glance[data-series], #empty:not([hidden]), #token-form:not([hidden])"
        )
        return self.page

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
