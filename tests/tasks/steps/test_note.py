"""The morning note: its sentences for stored rows that are plain to see."""

from datetime import timedelta

from sqlalchemy import Engine
from stores import Store

from models.candles import Finding, Severity
from models.forecasts import Kind
from storage.database.engine import reading, writing
from storage.findings import record_findings
from tasks.show.note import html_note, markdown_note, text_note
from tasks.steps.note import read_note, series_note

DAY = timedelta(days=1)


def filled(engine: Engine, *, kind: Kind = Kind.LIVE) -> Store:
    """Naive's forecasts of two days: the second is around 200, so half as wide; the close between came at 104."""
    store = Store(engine)
    version = store.add_version("naive")
    store.promote(version)
    store.add_forecasts(version, [store.origin], kind=kind)
    store.add_forecasts(version, [store.origin + DAY], centre=200.0)
    store.add_candle(store.origin, 104.0, fetched_at=store.origin + DAY)
    return store


def test_the_note_says_what_is_expected_what_changed_and_what_came(engine: Engine) -> None:
    store = filled(engine)
    note = series_note(engine, series=store.series)
    assert note.title == "Bitstamp_BTCUSD_d, after the close of 2020-01-10"
    chance = "with a chance of 80 %"
    assert note.sentences == [
        f"naive expects the close of Sat 2020-01-11 between 201.000 and 209.000 USD {chance}, median 205.000.",
        f"naive expects the close of Fri 2020-01-17 between 207.000 and 215.000 USD {chance}, median 211.000.",
        "The band one step ahead is 49 % narrower than in the forecast before.",
        "The close of Fri 2020-01-10 was 104.000 USD, inside the 50 % band of the forecast before.",
    ]


def test_the_forecast_before_is_called_backfilled_where_it_is(engine: Engine) -> None:
    store = filled(engine, kind=Kind.BACKFILL)
    assert series_note(engine, series=store.series).sentences[-1].endswith("band of the backfilled forecast before.")


def test_what_needs_a_person_is_the_last_sentence(engine: Engine) -> None:
    store = filled(engine)
    with reading(engine) as conn:
        stale = read_note(conn, series=store.series, now=store.origin + 9 * DAY)
    assert stale.sentences[-1] == f"Needs a person: stale; see: candlecast findings {store.series}."
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    with writing(engine) as conn:
        record_findings(conn, series=store.series, codes={"late"}, seen=[late], now=store.now)
    assert "Needs a person: late; " in series_note(engine, series=store.series).sentences[-1]


def test_a_series_without_a_forecast_has_a_note(engine: Engine) -> None:
    store = Store(engine)
    assert series_note(engine, series=store.series).sentences == ["No model has forecast it yet."]


def test_the_three_forms_hold_the_same_sentences_and_the_picture(engine: Engine, tmp_path) -> None:
    note = series_note(engine, series=filled(engine).series)
    picture = tmp_path / "fan.png"
    picture.write_bytes(b"\x89PNG")
    text, markdown, html = text_note([note]), markdown_note([note], [picture]), html_note([note], [picture])
    for sentence in note.sentences:
        assert sentence in text
        assert f"- {sentence}" in markdown
        assert f"<li>{sentence}</li>" in html
    assert f"![Forecast of {note.series}]({picture})" in markdown
    assert "data:image/png;base64,iVBORw==" in html
    assert html_note([note._replace(title="<b>")], [None]).count("&lt;b&gt;") == 1
