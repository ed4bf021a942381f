"""The page as people meet it: a real server, a real browser, a year's end of forecasts to look back at."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Opened, chromium
from installation import Installation
from path_proxy import PathProxy
from playwright.sync_api import Browser, Page, Route, expect
from stores import Store
from web_server import Web

import candlecast
from models.candles import Interval
from models.catalog import scope
from models.forecasts import CENTRAL_BANDS, Forecast, Kind
from models.times import RunClock
from models.wording import when_stored
from storage.database.engine import open_database, writing
from storage.forecasts import insert_forecasts
from storage.registry import register
from tasks.steps.gate import ensure_champion

SERIES, OTHER = "Coinbase_BTCUSD_d", "Bitstamp_ETHUSD_d"
# A moment after the sample's newest candle closed.
THEN = "2019-10-17T09:00:00Z"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


def test_the_pages_bands_are_those_of_the_models():
    words = (Path(candlecast.__file__).parent / "page" / "words.js").read_text()
    bands = json.loads(words.split("export const CENTRAL_BANDS = ")[1].split(";")[0])
    assert bands == [band._asdict() for band in CENTRAL_BANDS]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def looked_back(tmp_path_factory, daily_done) -> Installation:
    """Two series: one with a live day and the year that its gate looked back at, one with candles only."""
    from markets import write_csv
    from synthetic import random_walk

    folder = shutil.copytree(daily_done.folder, tmp_path_factory.mktemp("looked-back") / "work")
    installation = Installation(folder, daily_done.prefect_home)
    write_csv(installation.folder / "files", OTHER, random_walk(30, seed=3))
    done = installation.run("ingest", OTHER, CANDLECAST_SOURCE=str(installation.folder / "files"))
    assert done.returncode == 0, done.stderr
    return installation


@pytest.fixture(scope="module")
def web(looked_back) -> Iterator[Web]:
    with Web(looked_back) as running:
        yield running


@pytest.fixture
def opened(browser) -> Iterator[Opened]:
    with Opened(browser, at=THEN, viewport=WIDE) as window:
        yield window


def serious(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with where it is."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {[node['target'] for node in violation['nodes']][:4]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


def test_the_page_shows_the_forecast_of_the_api(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    rows_of_api = web.get(f"/api/v1/forecasts/latest?series={SERIES}").json()["rows"]
    assert page.locator("#series").input_value() == SERIES
    assert page.title() == f"{SERIES} · candlecast"
    assert page.locator("#fan").get_attribute("data-origin") == rows_of_api[0]["origin"]
    rows = page.locator("#bands tbody tr")
    expect(rows).to_have_count(7)
    assert rows.nth(0).locator("td").nth(1).inner_text() == f"{rows_of_api[0]['q50']:,.0f}"
    outlook = page.locator("#outlook").inner_text()
    assert outlook.startswith("After the close of 2019-10-16, range-ewma expects the close of Thu 2019-10-17 between ")
    # The sample ends in 2019, and this forecast was stored today.
    stored = page.locator("#stored").inner_text()
    assert stored.endswith("after the close of Wed 2019-10-23: all steps are after the fact.")
    assert rows.nth(0).locator("td").nth(0).inner_text() == "Thu 2019-10-17"
    # Drawn, not only asked for: the bands and the candles are there as shapes with a size.
    drawn = page.locator("#fan .scatterlayer .fills path, #fan .boxlayer path")
    assert drawn.count() > 60
    box = page.locator("#fan svg.main-svg").first.bounding_box()
    assert box is not None
    assert box["width"] > 600
    assert box["height"] > 300
    assert opened.troubles == []
    # Nothing is asked of anybody but this server.
    assert opened.hosts == {web.url.removeprefix("http://")}


def test_every_series_is_there_at_a_glance_one_click_from_its_page(opened, web):
    page = opened.open(web.url)
    rows = {row["series"]: row for row in web.get("/api/v1/glance").json()["rows"]}
    lines = page.locator("#glance-table tbody tr")
    expect(lines).to_have_count(2)
    assert [lines.nth(at).locator("th").inner_text() for at in range(2)] == [OTHER, SERIES]
    cells = lines.nth(1).locator("td").all_inner_texts()
    row = rows[SERIES]
    assert cells[0] == f"{row['close']:,.0f} USD"
    assert cells[1] == f"{row['q10']:,.0f} – {row['q90']:,.0f} USD"
    assert cells[3] == f"{row['width_ratio']:.2f} ×"
    assert cells[4:6] == ["range-ewma", f"{100 * row['skill']:+.1f} % (backfill, 352)"]
    assert cells[6] == "Wed 2019-10-16, 9 hours ago"
    assert cells[7] == "⚠ stale"
    assert lines.nth(1).locator("svg polygon").count() == 2
    assert "2 of which need a person" in page.locator("#glance-count").inner_text()
    assert page.locator("#glance .scroll").evaluate("box => box.scrollWidth - box.clientWidth") == 0
    # Sorting: the series without a forecast comes last, up and down.
    for direction in ("ascending", "descending"):
        page.locator("#glance-table button[data-column=skill]").click()
        expect(page.locator("#glance-table th").nth(6)).to_have_attribute("aria-sort", direction)
        assert lines.nth(1).locator("th").inner_text() == OTHER
    assert serious(page) == []
    page.locator("#glance-table a", has_text=SERIES).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_visible()
    assert page.url == f"{web.url}/#{SERIES}"
    page.go_back()
    expect(page.locator("#glance")).to_be_visible()
    assert page.locator("#content").is_hidden()
    page.reload()
    expect(lines).to_have_count(2)
    assert opened.troubles == []


def test_to_go_back_while_a_series_still_loads_is_no_error(opened, web):
    page = opened.open(web.url)
    held = []
    page.route("**/api/v1/chance?*", lambda route: held.append(route))
    with page.expect_request("**/api/v1/chance?*"):
        page.locator("#glance-table a", has_text=SERIES).click()
    page.go_back()
    expect(page.locator("#glance")).to_be_visible()
    with page.expect_response("**/api/v1/chance?*") as answer:
        for route in held:
            route.continue_()
    answer.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.locator("#content").is_hidden()
    assert opened.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_glance_fits_a_phone_and_axe_finds_nothing_serious(browser, web, scheme):
    with Opened(browser, at=THEN, viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True) as window:
        page = window.open(web.url)
        expect(page.locator("#glance-table tbody tr")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert serious(page) == []
        assert window.troubles == []


def test_the_header_of_the_band_keeps_its_share_on_one_line_in_the_narrowest_column(opened, web):
    page = opened.open(web.url)
    expect(page.locator("#glance-table tbody tr")).to_have_count(2)
    lines = """() => {
      const button = document.querySelector("#glance-table button[data-column=band]");
      button.style.width = "1px";
      const text = button.firstChild, range = document.createRange();
      range.setStart(text, text.data.indexOf("80"));
      range.setEnd(text, text.length);
      return range.getClientRects().length;
    }"""
    assert page.evaluate(lines) == 1


def test_below_a_path_of_a_proxy_the_page_works_and_reports_its_login(browser, web):
    with PathProxy(web.url) as proxy, Opened(browser, at=THEN, viewport=WIDE) as window:
        page = window.open(proxy.url)
        page.locator("#glance-table a", has_text=SERIES).click()
        expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-10-17T00:00:00Z")
        assert page.url == f"{proxy.url}#{SERIES}"
        assert window.troubles == []
        proxy.locked = True
        page.locator("input[value=backfill]").check()
        expect(page.locator("#notice")).to_contain_text("such as the login of a proxy")
        page.reload()
        expect(page.locator("#notice")).to_contain_text("sign in there, and reload")


def test_below_a_path_of_a_proxy_the_page_of_the_api_asks_below_it_too(browser, web):
    with PathProxy(web.url) as proxy, Opened(browser, viewport=WIDE) as window:
        page = window.page
        page.goto(f"{proxy.url}docs", wait_until="networkidle")
        block = page.locator(".opblock", has=page.locator("[data-path='/api/v1/glance']"))
        block.locator(".opblock-summary-control").click()
        block.locator(".try-out__btn").click()
        block.locator("button.execute").click()
        expect(block.locator(".request-url")).to_contain_text(f"{proxy.url}api/v1/glance?format=json")
        expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        expect(block.locator(".live-responses-table")).to_contain_text(SERIES)
        assert window.troubles == []


def test_live_and_backfill_are_shown_separately_with_their_scores(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    assert page.locator("input[value=live]").is_checked()
    assert page.locator("#n-live").inner_text() == "(1 forecast)"
    assert page.locator("#n-backfill").inner_text() == "(354 forecasts)"
    assert "No live forecast is scored yet" in page.locator("#trust-live").inner_text()
    page.locator("input[value=backfill]").check()
    expect(page.locator("#origin")).to_have_attribute("max", "353")
    skill_rows = [
        row
        for row in web.get(f"/api/v1/skill?series={SERIES}").json()["rows"]
        if row["model"] == "range-ewma" and row["kind"] == "backfill"
    ]
    assert (skill_rows[0]["step"], skill_rows[0]["n"]) == (1, 352)
    assert f"In {skill_rows[0]['n']} backfilled forecasts" in page.locator("#trust-backfill").inner_text()
    page.locator("summary", has_text="Skill and coverage").click()
    first = page.locator("#skill-table tbody tr").nth(0)
    assert first.locator("td").nth(1).inner_text() == f"{100 * skill_rows[0]['skill']:+.2f} %"
    assert page.locator("#skill .scatterlayer .point").count() == 7
    assert page.locator("#pit .barlayer .point").count() == 10
    assert opened.troubles == []


def test_the_slider_shows_past_origins_with_their_actual_closes(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator("input[value=backfill]").check()
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-10-17T00:00:00Z")
    slider = page.locator("#origin")
    slider.focus()
    for _ in range(16):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-10-01T00:00:00Z")
    assert page.locator("#origin-shown").inner_text() == "after the close of 2019-09-30"
    assert slider.get_attribute("aria-valuetext") == "after the close of 2019-09-30, 338 of 354"
    candles = web.get(f"/api/v1/candles?series={SERIES}&start=2019-10-01&end=2019-10-07").json()["rows"]
    actual_cells = page.locator("#bands tbody tr td:last-child").all_inner_texts()
    assert [text.split(" ")[0] for text in actual_cells] == [f"{row['close']:,.0f}" for row in candles]
    assert page.locator("#fan .legend").get_by_text("actual close").count() == 1
    page.locator("#earlier").click()
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-09-30T00:00:00Z")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2018-10-17T00:00:00Z")
    assert page.locator("#earlier").is_disabled()
    assert opened.troubles == []


def test_a_day_that_the_source_never_had_is_missing_and_a_later_one_not_yet_there(browser, tmp_path, prefect_home):
    installation = Installation(tmp_path, prefect_home)
    store = Store(open_database(f"sqlite:///{installation.database}"))
    version = store.add_version("naive")
    store.promote(version)
    store.add_forecasts(version, [store.origin], centre=995.0)
    for day in (-1, 0, 2):
        store.add_candle(store.origin + timedelta(days=day), 1000.0)
    store.engine.dispose()
    with Web(installation) as gap, Opened(browser, at="2020-01-13T09:00:00Z", viewport=WIDE) as window:
        page = window.open(f"{gap.url}/#{store.series}")
        actual = page.locator("#bands tbody tr td:last-child").all_inner_texts()
        assert actual == ["1,000 (inside 50 %)", "missing", "1,000 (inside 50 %)", *["not yet"] * 4]
        # Step 1 starts below a thousand, and its prices have the decimals of its median.
        assert page.locator("#bands tbody tr td").nth(2).inner_text() == "998 – 1,003"


def test_dragging_the_slider_quickly_ends_at_the_last_place(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator("input[value=backfill]").check()
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-10-17T00:00:00Z")
    moved = "(node, at) => { node.value = at; node.dispatchEvent(new Event('input')); }"
    for place in (300, 3, 200, 11, 348):
        page.locator("#origin").evaluate(moved, place)
    expect(page.locator("#fan")).to_have_attribute("data-origin", "2019-10-12T00:00:00Z")
    assert page.locator("#bands-caption").inner_text() == "range-ewma, backfill, after the close of 2019-10-11, in USD"


def test_the_page_reports_stale_data_as_the_api_does(browser, web):
    (series_row,) = [row for row in web.get("/api/v1/series").json()["rows"] if row["name"] == SERIES]
    assert series_row["stale"] is True
    with Opened(browser, at="2019-10-22T09:00:00Z", viewport=WIDE) as later:
        page = later.open(f"{web.url}/#{SERIES}")
        notice = page.locator("#notice").inner_text()
        assert "the newest stored close is that of Wed 2019-10-16, 5 days ago" in notice
        assert "candlecast doctor" in notice
        assert serious(page) == []


FRESH = "Kraken_BTCUSD_d"


@pytest.fixture(scope="module")
def fresh_web(tmp_path_factory, prefect_home) -> Iterator[Web]:
    """A market whose newest candle closed last midnight, with live forecasts of naive, which serves, and of lstm."""
    from markets import forecast_now, ingest
    from synthetic import random_walk

    installation = Installation(tmp_path_factory.mktemp("fresh"), prefect_home)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    engine = open_database(f"sqlite:///{installation.database}")
    candles = random_walk(400, seed=3, start=midnight - timedelta(days=400))
    ingest(engine, installation.folder / "files", FRESH, candles, now=datetime.now(UTC))
    naive = ensure_champion(engine, series=FRESH, baseline="naive", now=midnight)
    forecast_now(engine, series=FRESH, versions=[naive], clock=RunClock())
    values = np.full((7, 23), 1000.0) + np.arange(23)
    with writing(engine) as conn:
        lstm = register(
            conn, scope=scope("lstm", FRESH), model="lstm", config={}, seed=0, cutoff=midnight,
            data_fingerprint="f" * 64, device="cpu", seconds=1.0, purpose="live", code_version="test",
            created_at=midnight, weights=None,
        )  # fmt: skip
        insert_forecasts(
            conn, series=FRESH, model="lstm", model_version=lstm, kind=Kind.LIVE,
            forecasts=[Forecast(midnight, values, "a" * 64)], created_at=datetime.now(UTC),
        )  # fmt: skip
    engine.dispose()
    with Web(installation) as running:
        yield running


def test_the_page_shows_how_long_before_the_close_a_forecast_was_stored(browser, fresh_web):
    with Opened(browser, viewport=WIDE) as window:
        page = window.open(f"{fresh_web.url}/#{FRESH}")
        rows = fresh_web.get(f"/api/v1/forecasts/latest?series={FRESH}").json()["rows"]
        assert all(row["before_close"] for row in rows)
        first = datetime.fromisoformat(rows[0]["target_time"])
        created = datetime.fromisoformat(rows[0]["created_at"])
        stored = when_stored(created, first, Interval.DAY, 7)
        assert f"before the close of {first:%a %Y-%m-%d}." in stored
        assert page.locator("#stored").inner_text() == stored
        assert page.locator("#notice").is_hidden()
        assert fresh_web.get("/api/v1/series").json()["rows"][0]["stale"] is False
        assert page.locator("#published").inner_text().startswith("Usual time of publication not known yet; ")
        assert serious(page) == []
        assert window.troubles == []


PUBLISHED = "Gemini_BTCUSD_d"


@pytest.fixture(scope="module")
def published_web(tmp_path_factory, prefect_home) -> Iterator[Web]:
    """A market whose days came between 02:10 and 02:40; the newest at 02:21 on 2026-04-23, and it is forecast."""
    installation = Installation(tmp_path_factory.mktemp("published"), prefect_home)
    engine = open_database(f"sqlite:///{installation.database}")
    store = Store(engine)
    store.add_series(PUBLISHED)
    midnight = datetime(2026, 4, 23, tzinfo=UTC)
    for days, minute in enumerate([21, 10, 40, 10, 40, 30, 10, 40, 10, 40]):
        close = midnight - timedelta(days=days)
        out = close + timedelta(hours=2, minutes=minute)
        store.add_candle(
            close - timedelta(days=1),
            100.0 + days,
            series=PUBLISHED,
            file_time=out,
            fetched_at=out + timedelta(minutes=3),
        )
    version = store.add_version("naive", series=PUBLISHED)
    store.promote(version, series=PUBLISHED)
    store.add_forecasts(version, [midnight], series=PUBLISHED, created_at=midnight + timedelta(hours=2, minutes=25))
    engine.dispose()
    with Web(installation) as running:
        yield running


def test_the_page_shows_when_the_source_usually_publishes_and_when_it_did_today(browser, published_web):
    usual = "Usually published 02:10 to 02:40 UTC; "
    with Opened(browser, at="2026-04-23T09:00:00Z", viewport=WIDE) as window:
        page = window.open(f"{published_web.url}/#{PUBLISHED}")
        assert page.locator("#published").inner_text() == f"{usual}today 02:21 UTC."
        assert page.locator("#stored").inner_text() == (
            "Stored 2026-04-23 02:25 UTC, 21 h 35 min before the close of Thu 2026-04-23."
        )
    # The day after, before its file is out.
    with Opened(browser, at="2026-04-24T01:00:00Z", viewport=WIDE) as window:
        page = window.open(f"{published_web.url}/#{PUBLISHED}")
        newest = "the newest candle was published 2026-04-23 02:21 UTC."
        assert page.locator("#published").inner_text() == f"{usual}{newest}"


def test_the_api_names_the_champion_and_the_model_that_was_asked_for(web, fresh_web, published_web):
    names = {}
    for server in (web, fresh_web, published_web):
        for row in server.get("/api/v1/series").json()["rows"]:
            names[row["name"]] = row["champion"], row["asked_for"]
    assert names[FRESH] == ("naive", "lstm")
    # Nothing but a reference has forecast, or nothing at all.
    assert names[SERIES] == ("range-ewma", None)
    assert names[PUBLISHED] == ("naive", None)
    assert names[OTHER] == (None, None)
    asked = fresh_web.get(f"/api/v1/forecasts?series={FRESH}&model=lstm&kind=live").json()["rows"]
    latest = fresh_web.get(f"/api/v1/forecasts/latest?series={FRESH}").json()["rows"]
    assert {row["model"] for row in latest} == {"naive"}
    assert [row["origin"] for row in asked] == [row["origin"] for row in latest]


def test_the_chance_changes_as_one_types(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    rows = web.get(f"/api/v1/forecasts/latest?series={SERIES}").json()["rows"]
    answer, level = page.locator("#chance-answer"), page.locator("#level-answer")
    # Without a question it is about the median, rounded.
    expect(answer).to_contain_text("% that the close of Thu 2019-10-17 is below")
    page.locator("#chance-price").fill(str(rows[0]["q25"]))
    expect(answer).to_have_text(f"25.0 % that the close of Thu 2019-10-17 is below {rows[0]['q25']:,.0f} USD.")
    page.locator("#chance-side").select_option("above")
    expect(answer).to_contain_text("75.0 % that")
    page.locator("#chance-price").fill("1000000")
    expect(answer).to_contain_text("Under 1 % that")
    page.locator("#chance-price").fill("")
    expect(answer).to_have_text("Type a price above zero.")
    page.locator("#chance-step").select_option("7")
    expect(level).to_have_text(
        f"{rows[6]['q05']:,.0f} USD: the close of Wed 2019-10-23 is below it with a chance of 5.0 %."
    )
    page.locator("#chance-percent").fill("97.5")
    expect(level).to_contain_text(f"{rows[6]['q975']:,.0f} USD: ")
    page.locator("#chance-percent").fill("100")
    expect(level).to_have_text("Type a chance from 1 to 99 %.")
    assert opened.troubles == []
    assert serious(page) == []


def test_the_reliability_table_is_that_of_the_api_and_of_the_chosen_step(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator("#reliability-details summary").click()
    rows = web.get(f"/api/v1/reliability?series={SERIES}&model=range-ewma&kind=backfill").json()["rows"]
    lines = page.locator("#reliability tbody tr")
    for step in (1, 4):
        page.locator("#pit-step").select_option(str(step))
        expect(page.locator("#reliability-caption")).to_have_text(
            f"range-ewma, backfill, step {step} (days), as of the close of Wed 2019-10-16"
        )
        of_step = [row for row in rows if row["step"] == step]
        expect(lines).to_have_count(len(of_step))
        expect(lines.first.locator("th")).to_have_text("under 1 %")
        assert lines.nth(2).locator("td").nth(1).inner_text() == f"{100 * of_step[2]['realised']:.1f} %"
    assert serious(page) == []
    assert opened.troubles == []


def test_the_reliability_table_never_shows_the_rows_of_another_step(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator("#reliability-details summary").click()
    caption, lines = page.locator("#reliability-caption"), page.locator("#reliability tbody tr")
    expect(lines.first.locator("th")).to_have_text("under 1 %")
    all_rows = web.get(f"/api/v1/reliability?series={SERIES}&model=range-ewma&kind=backfill").json()["rows"]
    last = [f"{100 * row['realised']:.1f} %" for row in all_rows if row["step"] == 7]
    waiting: list[Route] = []
    page.route("**/api/v1/reliability*", lambda route: waiting.append(route))
    for step in ("4", "7"):
        page.locator("#pit-step").select_option(step)
        expect(caption).to_contain_text(f"step {step} (days)")
        expect(lines).to_have_text(["loading"])
    # The older question is answered last.
    for route in reversed(waiting):
        with page.expect_response("**/api/v1/reliability*"):
            route.continue_()
        expect(lines).to_have_count(len(last))
        assert [line.locator("td").nth(1).inner_text() for line in lines.all()] == last
    assert len(waiting) == 2
    assert opened.troubles == []


DATE = re.compile(r"(\w{3} )?\d{4}-\d{2}-\d{2}( \d{2}:\d{2})?|\d{2}:\d{2} UTC|\d{2}:\d{2}(?= to)")
UNIT = (
    r"(?:%|×|USD|days?|hours?|minutes?|h|min|s|tenths?|UTC|(?:(?:backfilled|live|late) )?forecasts?|closes|"
    r"(?:closed )?candles?|open findings?|series)"
)
NUMBER = r"[+-]?\d[\d,.]*"
# "between 7,718 and 8,293 USD", "0.2 % to 1.3 %", "step 1", "version 2", "of 354".
WITH_UNIT = re.compile(rf"(?:{NUMBER} (?:and|to|–) )?{NUMBER} ?{UNIT}(?!\w)|(?:[Ss]teps?|version) \d+")
AS_OF = re.compile(r"(?:after|as of|to) the close of (?:\w{3} )?\d{4}-\d{2}-\d{2}|Data up to")
TABLES = """() => [...document.querySelectorAll("main table")].filter((table) => table.checkVisibility())
  .map((table) => ({
    id: table.id, caption: table.caption?.innerText ?? "",
    heads: [...table.tHead.rows[0].cells].map((one) => one.innerText),
    rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map((one) => one.innerText)),
  }))"""
PROSE = """() => [
    ...document.querySelectorAll("#content :is(p, output, caption), #content label:has(input[type=radio])"),
  ].filter((one) => one.checkVisibility())
  .map((one) => ({ text: one.innerText, around: one.closest("[role=group], section").innerText }))"""


def bare_numbers(page: Page) -> list[str]:
    """The numbers on the page without a unit, and those that do not say as of when they are, each with its place."""
    bare = []
    for table in page.evaluate(TABLES):
        if not AS_OF.search(table["caption"]):
            bare.append(f"{table['id']}: as of when? {table['caption']!r}")
        for row in table["rows"]:
            for head, cell in zip(table["heads"], row, strict=False):
                rest = WITH_UNIT.sub("", DATE.sub("", cell))
                if re.match(NUMBER, rest.strip(" <–")) and not re.search(r"\(.+\)", head):
                    bare.append(f"{table['id']}, {head!r}: {cell!r}")
    for block in page.evaluate(PROSE):
        rest = WITH_UNIT.sub("", DATE.sub("", block["text"]))
        if re.search(r"\d", rest):
            bare.append(f"{block['text']!r}: {rest!r}")
        if re.search(r"\d", block["text"]) and not AS_OF.search(block["around"]):
            bare.append(f"as of when? {block['text']!r}")
    return bare


@pytest.mark.parametrize("kind", ["live", "backfill"])
def test_every_number_has_its_unit_and_says_as_of_when_it_is(opened, web, kind):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator(f"input[value={kind}]").check()
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    expect(page.locator("#reliability tbody tr").nth(3)).to_be_visible()
    assert bare_numbers(page) == []
    axes = page.locator("#content :is(.xtitle, .ytitle, .y2title)").all_text_contents()
    assert sorted(axes) == [
        "closes inside the band, %", "closes, %", "place in the forecast distribution, %", "price, USD",
        "skill against naive, %", "step, days", "step, days",
    ]  # fmt: skip
    assert " USD, its 80 % band" in page.locator("#fan").get_attribute("aria-label")


def test_every_number_at_a_glance_has_its_unit_and_says_as_of_when_it_is(opened, web):
    assert bare_numbers(opened.open(web.url)) == []


def test_the_walk_over_the_numbers_notices_a_bare_one(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.evaluate("document.querySelector('#bands th [data-unit=price]').remove()")
    page.evaluate("document.querySelector('#outlook').textContent = 'After the close of 2019-10-16: 7,993.'")
    page.evaluate("document.querySelector('#bands-caption').textContent = 'range-ewma'")
    assert [line.split(",")[0].split(":")[0] for line in bare_numbers(page)] == [
        "bands", *["bands"] * 7, "'After the close of 2019-10-16"
    ]  # fmt: skip


def test_the_model_that_was_asked_for_is_shown_beside_the_champion(browser, opened, web, fresh_web):
    with Opened(browser, viewport=WIDE) as window:
        page = window.open(f"{fresh_web.url}/#{FRESH}")
        expect(page.locator("#asked-for")).to_contain_text(
            "lstm, which was asked for and does not serve, expects the close of"
        )
        expect(page.locator("#asked-for")).to_contain_text("median 1,011 USD; naive, which serves, between")
    # Where the champion is the model that was asked for, or none was, there is nothing to compare.
    assert opened.open(f"{web.url}/#{SERIES}").locator("#asked-for").is_hidden()


def test_a_series_without_a_forecast_shows_the_command_to_type(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.locator("#series").select_option(OTHER)
    expect(page.locator("#empty")).to_be_visible()
    assert page.locator("#empty-why").inner_text() == f"{OTHER} has 30 candles and no forecast yet."
    # The day of another series would not forecast it.
    assert page.locator("#empty-command").inner_text() == f"CANDLECAST_SERIES={OTHER} candlecast daily"
    assert page.locator("#empty-findings li").all_inner_texts() == [
        f"{row['message']}: {row['remedy']}" for row in web.get(f"/api/v1/findings?series={OTHER}").json()["rows"]
    ]
    assert page.locator("#empty-findings li").count() > 0
    assert page.locator("#content").is_hidden()
    assert serious(page) == []
    page.locator("#series").select_option(SERIES)
    expect(page.locator("#content")).to_be_visible()
    assert opened.troubles == []


def test_before_the_first_run_the_page_shows_the_command_to_type(opened, empty):
    with Web(empty) as early:
        page = opened.open(early.url)
        assert page.locator("#empty-command").inner_text() == "candlecast daily"
        assert serious(page) == []
    # The browser itself notes the 503 of the API; nothing else may be amiss.
    assert all("503" in trouble for trouble in opened.troubles)


def test_the_page_reports_that_the_server_is_gone(opened, looked_back):
    with Web(looked_back) as short:
        page = opened.open(f"{short.url}/#{SERIES}")
    page.locator("#model").select_option("naive")
    expect(page.locator("#notice")).to_contain_text("is candlecast web still running?")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious(browser, web, scheme, size):
    with Opened(browser, at=THEN, viewport=size, color_scheme=scheme) as window:
        page = window.open(f"{web.url}/#{SERIES}")
        page.locator("input[value=backfill]").check()
        page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
        assert serious(page) == []
        assert window.troubles == []


def test_axe_reports_a_missing_label(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    page.evaluate("document.querySelector('label:has(#series)').replaceWith(document.getElementById('series'))")
    assert any(violation.startswith("select-name") for violation in serious(page))


def test_dark_mode_is_dark_and_follows_the_system_while_it_is_open(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    paper = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    ink = "document.querySelector('#fan .xtick text').style.fill.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(page.evaluate(paper)) > 200
    assert max(page.evaluate(ink)) < 100
    page.emulate_media(color_scheme="dark")
    for _ in range(100):
        if min(page.evaluate(ink)) > 200:
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the charts stayed dark on dark")
    assert max(page.evaluate(paper)) < 60


def test_a_phone_shows_everything_without_scrolling_sideways(browser, web):
    with Opened(browser, at=THEN, viewport=PHONE, has_touch=True, is_mobile=True) as window:
        page = window.open(f"{web.url}/#{SERIES}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for caption in page.locator("caption:visible").all():
            box = caption.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE["width"], caption.inner_text()
        page.locator("input[value=backfill]").check()
        for chart in ("fan", "skill", "coverage", "pit"):
            box = page.locator(f"#{chart} svg.main-svg").first.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE["width"]
        for target in ("#series", "#earlier", "#later", "#model"):
            box = page.locator(target).bounding_box()
            assert box is not None
            assert box["height"] >= 24
            assert box["width"] >= 24


def test_the_keyboard_reaches_every_control_in_the_order_of_the_page(opened, web):
    page = opened.open(f"{web.url}/#{SERIES}")
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")
        )
        if len(reached) == 1:
            assert page.locator(".skip").is_visible()
            box = page.locator(".skip").bounding_box()
            assert box is not None
            assert box["x"] >= 0
    named = [one for one in reached if one in ("series", "model", "earlier", "origin", "later", "pit-step")]
    assert reached[0] == "skip"
    # One live origin: nothing is earlier or later, so the slider rests.
    assert named[:2] == ["series", "model"]
    page.locator("input[value=live]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("input[value=backfill]").is_checked()
    expect(page.locator("#origin")).to_be_enabled()
    page.keyboard.press("Tab")
    order = []
    for _ in range(3):
        order.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert order[:2] == ["earlier", "origin"]


def test_a_token_is_asked_for_kept_in_the_tab_and_refused_when_wrong(opened, looked_back):
    with Web(looked_back, CANDLECAST_API_TOKEN="hunter2") as guarded:
        page = opened.open(f"{guarded.url}/#{SERIES}")
        assert serious(page) == []
        assert page.locator("#token-refused").inner_text() == ""
        page.locator("#token").fill("hunter3")
        page.keyboard.press("Enter")
        expect(page.locator("#token-refused")).to_have_text("The server did not accept this token.")
        expect(page.locator("#token-form")).to_be_visible()
        page.locator("#token").fill("hunter2")
        page.keyboard.press("Enter")
        page.wait_for_selector("#fan[data-origin]")
        assert page.locator("#token-form").is_hidden()
        page.reload()
        page.wait_for_selector("#fan[data-origin]")
        assert "hunter2" not in page.url
        assert page.evaluate("JSON.stringify(localStorage)") == "{}"
    assert all("401" in trouble for trouble in opened.troubles)


def test_the_page_of_the_api_is_complete_without_the_internet(opened, web):
    page = opened.page
    page.goto(f"{web.url}/docs")
    page.wait_for_selector(".opblock")
    described = json.loads(web.get("/openapi.json").text)["paths"]
    assert page.locator(".opblock").count() == len(described)
    assert opened.troubles == []
    # Nothing is asked of anybody but this server.
    assert opened.hosts == {web.url.removeprefix("http://")}
