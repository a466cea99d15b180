"""The browser under test: which program it is, how it is started, and how little it may reach. Knows no dashboard."""

import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fleet.places import LOOPBACK
from playwright.async_api import Browser, async_playwright

FLAGS = (
    "--headless",
    "--no-sandbox",  # CI is root, whom the sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def program() -> str | None:
    """The path of the Chromium that scripts/chromium would use; None where there is none."""
    return shutil.which(os.environ.get("CHROMIUM") or "chromium")


@asynccontextmanager
async def chromium(executable: str, names: Iterable[str]) -> AsyncIterator[Browser]:
    """A Chromium with a new profile, for which `names` are this machine and every other name is nowhere."""
    rules = [*(f"MAP {name} {LOOPBACK}" for name in names), "MAP * ~NOTFOUND", f"EXCLUDE {LOOPBACK}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, args=[*FLAGS, f"--host-resolver-rules={', '.join(rules)}"]
        )
        try:
            yield browser
        finally:
            await browser.close()
