"""Pictures of the page in every state: python tests/support/screenshots.py (make screenshots)

Runs the daily flow on the bundled sample in a temporary folder, serves the page and writes screenshots/*.png;
docs/page.png, the README's, is a copy of screenshots/readme.png.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from browser import Opened, chromium  # noqa: E402
from installation import Installation  # noqa: E402
from markets import forecast_now, ingest  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402
from synthetic import random_walk  # noqa: E402
from web_server import Web  # noqa: E402

from models.times import RunClock  # noqa: E402
from storage.database.engine import open_database  # noqa: E402
from tasks.steps.gate import ensure_champion  # noqa: E402

FOLDER = ROOT / "screenshots"
WIDE, PHONE, SMALL = {"width": 1280, "height": 900}, {"width": 390, "height": 844}, {"width": 860, "height": 1150}


def open_past_origin(page: Page) -> None:
    page.locator("input[value=backfill]").check()
    page.locator("#origin").evaluate("(node) => { node.value -= 20; node.dispatchEvent(new Event('input')); }")
    page.wait_for_selector("#fan[data-origin='2019-09-27T00:00:00Z']")


def do_nothing(page: Page) -> None:
    pass


def enter_a_wrong_token(page: Page) -> None:
    page.locator("#token").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-refused:not(:empty)")


TODAY, NEW, YOUNG = "Kraken_BTCUSD_d", "Bitstamp_ETHUSD_d", "Gemini_LTCUSD_d"


def add_other_markets(installation: Installation) -> None:
    """Store a market whose newest candle closed last midnight, a young one, and one without a forecast."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    engine = open_database(f"sqlite:///{installation.database}")
    for series, days in ((TODAY, 400), (YOUNG, 70), (NEW, 30)):
        candles = random_walk(days, seed=days, start=midnight - timedelta(days=days))
        ingest(engine, installation.folder / "files", series, candles, now=now)
        if series != NEW:
            naive = ensure_champion(engine, series=series, baseline="naive", now=midnight)
            forecast_now(engine, series=series, versions=[naive], clock=RunClock())
    engine.dispose()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        installation = Installation(Path(name), Path(name) / "prefect")
        installation.run("daily", CANDLECAST_MODEL=os.environ.get("CANDLECAST_MODEL", "blend"))
        add_other_markets(installation)
        empty = Installation(Path(name) / "empty", Path(name) / "prefect")
        empty.folder.mkdir()
        with chromium() as browser, Web(installation) as web, Web(empty) as bare:

            def shoot(
                name: str,
                *,
                url: str = f"{web.url}/#Coinbase_BTCUSD_d",
                then: Callable[[Page], None] = do_nothing,
                whole: bool = True,
                **window: object,
            ) -> None:
                with Opened(browser, **({"viewport": WIDE} | window)) as opened:
                    page = opened.open(url)
                    then(page)
                    page.wait_for_timeout(300)
                    page.screenshot(path=FOLDER / f"{name}.png", full_page=whole)
                print(FOLDER / f"{name}.png")

            shoot("glance", url=web.url, whole=False)
            shoot("glance-phone", url=web.url, viewport=PHONE)
            shoot("glance-dark", url=web.url, whole=False, color_scheme="dark")
            shoot("today", url=f"{web.url}/#{TODAY}")
            shoot("young", url=f"{web.url}/#{YOUNG}")
            shoot("no-forecast", url=f"{web.url}/#{NEW}", whole=False)
            with Web(installation, CANDLECAST_API_TOKEN="a-token") as guarded:
                shoot("token", url=guarded.url, whole=False)
                shoot("token-refused", url=guarded.url, then=enter_a_wrong_token, whole=False)
            with Web(installation) as ended:

                def end_the_server(page: Page) -> None:
                    ended.__exit__(None, None, None)
                    page.locator("#model").select_option("naive")

                shoot("gone", url=f"{ended.url}/#Coinbase_BTCUSD_d", then=end_the_server, whole=False)
            shoot("page")
            shoot("page-dark", color_scheme="dark")
            shoot("page-phone", viewport=PHONE)
            shoot("past", then=open_past_origin)
            shoot("stale", whole=False)
            shoot("empty", url=bare.url, whole=False)
            shoot("readme", viewport=SMALL, then=open_past_origin, whole=False)
    with Image.open(FOLDER / "readme.png") as picture:
        picture.convert("RGB").quantize(64).save(FOLDER / "readme.png", optimize=True)


if __name__ == "__main__":
    main()
