"""The commands: their output, their exit codes and the input they refuse."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "cdd"
SERIES = "Coinbase_BTCUSD_d"


def test_daily_prints_forecast_skill_plot_and_what_to_type_next(daily_done):
    text = (daily_done.folder / "stdout.txt").read_text()
    assert f"{SERIES}: close forecast by range-ewma after the close of 2019-10-16" in text
    assert len([line for line in text.splitlines() if line[:2].strip().isdigit() and "2019-10-" in line]) == 7
    assert "Skill of range-ewma against naive" in text
    plot = next(line for line in text.splitlines() if line.startswith("Plot: ")).removeprefix("Plot: ")
    assert (daily_done.folder / plot).read_bytes().startswith(b"\x89PNG")
    assert "What to type next" in text
    assert "candlecast serve" in text


def test_forecasts_prints_that_forecasts_of_old_candles_are_after_the_fact(daily_done):
    notes = daily_done.run("forecasts").stderr
    assert notes.startswith(f"{SERIES}, range-ewma after the close of 2019-10-16: Stored ")
    assert notes.endswith(" after the close of Wed 2019-10-23: all steps are after the fact.\n")
    assert daily_done.run("forecasts", "--json").stderr == ""


def test_forecasts_prints_the_champions_latest_forecast(daily_done):
    rows = json.loads(daily_done.run("forecasts", "--json").stdout)
    assert [row["step"] for row in rows] == list(range(1, 8))
    assert {row["model"] for row in rows} == {"range-ewma"}
    assert {row["origin"] for row in rows} == {"2019-10-17T00:00:00Z"}
    assert all(row["q025"] < row["q25"] < row["q50"] < row["q75"] < row["q975"] for row in rows)
    with sqlite3.connect(daily_done.database) as conn:
        by_sql = conn.execute("SELECT q50 FROM latest_forecasts ORDER BY step").fetchall()
    assert [row["q50"] for row in rows] == [value for (value,) in by_sql]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--model", "naive", "--kind", "live"), 7),
        (("--model", "naive", "--kind", "backfill", "--origin", "2019-10-01"), 7),
        (("--start", "2019-10-01", "--end", "2019-10-03", "--model", "range-ewma"), 21),
        (("--origin", "2001-01-01"), 0),
    ],
)
def test_forecasts_can_be_narrowed(daily_done, arguments, expected):
    assert len(json.loads(daily_done.run("forecasts", SERIES, "--json", *arguments).stdout)) == expected


def test_candles_can_be_limited_to_days_and_to_a_past_revision(daily_done):
    done = daily_done.run("candles", SERIES, "--start", "2019-10-15", "--end", "2019-10-16", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["open_time"] for row in rows] == ["2019-10-15T00:00:00Z", "2019-10-16T00:00:00Z"]
    assert rows[1]["close"] == "7993.54"
    assert json.loads(daily_done.run("candles", SERIES, "--as-of", "2001-01-01", "--json").stdout) == []


def test_skill_is_relative_to_naive_and_its_p_value_agrees_with_its_interval(daily_done):
    from scipy.stats import t as student_t

    rows = json.loads(daily_done.run("skill", SERIES, "--json").stdout)
    ours = [row for row in rows if row["model"] == "range-ewma" and row["kind"] == "backfill"]
    assert [row["step"] for row in ours] == list(range(1, 8))
    for row in ours:
        assert row["skill"] == pytest.approx(1 - row["crps"] / row["naive_crps"])
        assert row["skill_high"] - row["skill"] == pytest.approx(row["skill"] - row["skill_low"])
        # The interval reaches as many standard errors to each side as Student's t needs for 95 %.
        error = (row["skill_high"] - row["skill"]) / student_t.ppf(0.975, row["n"] - 1)
        assert row["p_value"] == pytest.approx(2 * student_t.sf(abs(row["skill"]) / error, row["n"] - 1), rel=1e-4)
    assert {row["p_value"] for row in rows if row["model"] == "naive"} == {None}


def test_models_shows_which_version_is_champion(daily_done):
    rows = json.loads(daily_done.run("models", SERIES, "--json").stdout)
    assert [row["model"] for row in rows if row["champion"]] == ["range-ewma"]


def test_rows_can_be_written_to_files(daily_done, tmp_path):
    import pandas as pd

    path = tmp_path / "out.parquet"
    done = daily_done.run("forecasts", "--format", "parquet", "-o", str(path))
    assert done.returncode == 0
    assert done.stdout == ""
    frame = pd.read_parquet(path)
    assert len(frame) == 7
    assert str(frame["origin"].dt.tz) == "UTC"
    text = tmp_path / "out.csv"
    assert daily_done.run("forecasts", "--format", "csv", "-o", str(text)).returncode == 0
    assert len(text.read_text().splitlines()) == 8


def test_forecasts_can_be_written_in_the_layout_of_a_forecast_hub(daily_done):
    done = daily_done.run("forecasts", "--format", "hub")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 7 * 23
    assert list(rows[0]) == [
        "origin_date", "location", "target", "horizon", "target_end_date", "output_type", "output_type_id", "value",
    ]  # fmt: skip
    medians = {row["horizon"]: float(row["value"]) for row in rows if row["output_type_id"] == "0.5"}
    stored = json.loads(daily_done.run("forecasts", "--json").stdout)
    assert medians == {str(row["step"]): row["q50"] for row in stored}
    assert (rows[0]["origin_date"], rows[-1]["target_end_date"]) == ("2019-10-16", "2019-10-23")
    assert {row["output_type"] for row in rows} == {"quantile"}
    refused = daily_done.run("skill", "--format", "hub")
    assert refused.returncode == 2


def test_chance_answers_in_a_sentence_or_as_a_row(daily_done):
    stored = json.loads(daily_done.run("forecasts", "--json").stdout)[2]
    asked = ("chance", SERIES, "--step", "3")
    (row,) = json.loads(daily_done.run(*asked, "--below", str(stored["q25"]), "--json").stdout)
    assert (row["chance"], row["bound"]) == (pytest.approx(0.25), "exact")
    assert {name: row[name] for name in stored if name in row} == {name: stored[name] for name in row if name in stored}
    (row,) = json.loads(daily_done.run(*asked, "--chance", "0.05", "--json").stdout)
    assert (row["side"], row["price"]) == ("below", stored["q05"])
    words = daily_done.run(*asked, "--above", "123456").stdout
    assert words == (
        f"{SERIES}: the close of Sat 2019-10-19 is above 123,456 USD with a chance of under 1 % "
        "(range-ewma, live, after the close of 2019-10-16).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("skill", "--reliability"), 2, "name one"),
        (("paths", SERIES, "--samples", "5"), 2, "expected 100 to 10000 samples, got 5"),
        (("paths", SERIES, "Kraken_BTCUSD_d"), 1, "no series Kraken_BTCUSD_d is stored"),
        (("chance", SERIES), 2, "give one of --above PRICE, --below PRICE and --chance CHANCE"),
        (("chance", SERIES, "--above", "1", "--below", "2"), 2, "give one of --above PRICE"),
        (("chance", SERIES, "--above", "-1"), 2, "expected a positive price, got -1"),
        (("chance", SERIES, "--chance", "5"), 2, "expected a chance from 0.01 to 0.99"),
        (("chance", SERIES, "--above", "1", "--step", "8"), 2, "expected a step from 1 to 7, got 8"),
        (("chance", SERIES, "--above", "1", "--model", "lstm"), 1, "has no forecast of lstm"),
        (("forecasts", "--start", "yesterday"), 2, "expected a day like 2025-01-31"),
        (("forecasts", "--start", "2020-02-01", "--end", "2020-01-01"), 2, "is before"),
        (("forecasts", "Kraken_BTCUSD_d"), 1, "no series Kraken_BTCUSD_d is stored; stored are: Coinbase_BTCUSD_d"),
        (("forecasts", "../../etc/passwd"), 2, "expected a series like"),
        (("forecasts", "--format", "parquet"), 2, "name a file"),
        (("forecasts", "--format", "csv", "-o", "/nowhere/at/all.csv"), 1, "cannot write"),
        (("candles",), 2, "Missing argument"),
        (("backfill", SERIES, "--start", "2019-01-01", "--end", "2019-01-02", "--model", "oracle"), 2, "unknown model"),
        (("promote", "999"), 1, "999"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_wrong_use_and_failures_print_a_reason_and_end_with_their_exit_code(daily_done, arguments, code, message):
    done = daily_done.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stderr.replace("\n", " ")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_reading_before_the_first_run_names_the_command_to_run(empty):
    for command in (("forecasts",), ("skill",), ("models",), ("candles", SERIES)):
        done = empty.run(*command)
        assert done.returncode == 1
        assert "run: candlecast daily" in done.stderr
    assert not empty.database.exists()


@pytest.mark.parametrize(
    ("fixture", "message"),
    [
        ("html.csv", "HTML"),
        ("empty.csv", "empty"),
        ("wrong_columns.csv", "expected a header"),
        ("header_only.csv", "not a single row"),
        (None, "no file"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_is_stored(empty, fixture, message):
    source = empty.folder / "source"
    source.mkdir()
    if fixture is not None:
        shutil.copy(FIXTURES / fixture, source / f"{SERIES}.csv")
    done = empty.run("ingest", CANDLECAST_SOURCE=str(source))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    with sqlite3.connect(empty.database) as conn:
        assert [conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("candles", "downloads")] == [
            0,
            0,
        ]


def test_daily_explains_that_one_candle_is_too_few_for_a_forecast(empty):
    source = empty.folder / "source"
    source.mkdir()
    shutil.copy(FIXTURES / "one_candle.csv", source / f"{SERIES}.csv")
    done = empty.run("daily", CANDLECAST_SOURCE=str(source))
    assert done.returncode == 1
    assert "no forecast" in done.stderr
    assert "closed candle" in done.stderr
    assert "Traceback" not in done.stdout
    with sqlite3.connect(empty.database) as conn:
        assert conn.execute("SELECT count(*) FROM forecasts").fetchone() == (0,)


def test_a_database_that_cannot_be_written_is_an_error_with_a_remedy(empty):
    done = empty.run("ingest", CANDLECAST_DATABASE_URL="sqlite:////nowhere/candlecast.db")
    assert done.returncode == 1
    assert "/nowhere" in done.stderr
    assert "create it first" in done.stderr
    done = empty.run("ingest", CANDLECAST_DATABASE_URL="oracle://x/y")
    assert done.returncode == 1
    assert done.stderr == (
        "candlecast: expected sqlite:///file.db or postgresql+psycopg://..., got a URL of 'oracle'\n"
    )


def test_a_wrong_setting_is_named_with_its_variable(empty):
    done = empty.run("forecasts", CANDLECAST_HORIZON="many", CANDLECAST_SERIES="not a series")
    assert done.returncode == 2
    assert "CANDLECAST_HORIZON" in done.stderr
    assert "CANDLECAST_SERIES" in done.stderr


def test_ingest_counts_rows_and_findings_and_a_second_ingest_is_unchanged(empty):
    first = json.loads(empty.run("ingest", "--json").stdout)
    assert first[0]["rows_new"] == 1770
    assert first[0]["findings"] == 4
    again = json.loads(empty.run("ingest", "--json").stdout)
    assert again[0]["outcome"] == "unchanged"


def test_rollback_and_promote_change_the_champion_and_keep_the_history(daily_done, tmp_path):
    database = tmp_path / "copy.db"
    shutil.copy(daily_done.database, database)
    url = f"sqlite:///{database}"

    def champion() -> str:
        rows = json.loads(daily_done.run("models", "--json", CANDLECAST_DATABASE_URL=url).stdout)
        return next(row["model"] for row in rows if row["champion"])

    versions = json.loads(daily_done.run("models", "--json", CANDLECAST_DATABASE_URL=url).stdout)
    naive = next(row["id"] for row in versions if row["model"] == "naive" and row["purpose"] == "live")
    assert champion() == "range-ewma"
    assert daily_done.run("promote", str(naive), CANDLECAST_DATABASE_URL=url).returncode == 0
    assert champion() == "naive"
    assert daily_done.run("rollback", SERIES, CANDLECAST_DATABASE_URL=url).returncode == 0
    assert champion() == "range-ewma"


def test_a_stored_forecast_replays(daily_done):
    number = json.loads(daily_done.run("forecasts", "--json").stdout)[0]["forecast_id"]
    done = daily_done.run("replay", str(number))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"forecast {number} replays: bit for bit\n"
    assert daily_done.run("replay", "999999").returncode == 1


def test_a_pipe_that_is_closed_early_is_no_error(daily_done):
    command = [str(Path(sys.executable).parent / "candlecast"), "candles", SERIES]
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(command)} | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=daily_done.folder, env=daily_done.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert "open_time" in done.stdout
    # As with cat and ls, the process ends by the signal of a closed pipe, not by a failure.
    assert done.returncode == 128 + signal.SIGPIPE


def test_findings_have_severity_and_remedy(daily_done):
    rows = json.loads(daily_done.run("findings", "--json").stdout)
    findings = {row["code"]: row for row in rows}
    assert set(findings) == {"gap", "zero-volume", "wick", "stale"}
    assert findings["gap"]["count"] == 12
    assert all(row["severity"] in ("info", "warning", "error") and row["remedy"] for row in rows)


def test_the_series_of_a_source_can_be_listed(daily_done):
    from cdd_server import CddServer, Reply

    with CddServer() as server:
        server.faults = [Reply(200, b'[{"symbol": "BTC/USD", "timeframe": "d"}]')]
        done = daily_done.run(
            "series", "--available", "Bitstamp", "--json", CANDLECAST_CDD_API=f"http://127.0.0.1:{server.port}/v1/"
        )
    assert [row["name"] for row in json.loads(done.stdout)] == ["Bitstamp_BTCUSD_d"]


def heavy_modules(installation, *command, **more):
    """Run a command in a separate process and return the heavy packages that it had imported at its end."""
    program = (
        "import sys; sys.argv = ['candlecast', *sys.argv[1:]]\n"
        "from candlecast.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'prefect', 'tensorflow', 'keras', 'sklearn', 'pandas', 'scipy', 'matplotlib', 'alembic', 'fastapi'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=installation.folder, env=installation.environment(**more) | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()


@pytest.mark.parametrize(
    "command",
    [
        ("forecasts",),
        ("candles", SERIES),
        ("skill",),
        ("models",),
        ("series",),
        ("findings",),
        ("chance", SERIES, "--above", "8000"),
    ],
)
def test_reading_imports_nothing_heavy(daily_done, command):
    assert heavy_modules(daily_done, *command) == []


def test_ingest_replay_and_a_dry_run_import_neither_prefect_nor_networks(daily_done, tmp_path):
    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    number = json.loads(daily_done.run("forecasts", "--json").stdout)[0]["forecast_id"]
    span = ("--start", "2017-01-01", "--end", "2017-06-30")
    for command in (
        ("ingest",),
        ("replay", str(number)),
        ("backfill", SERIES, *span, "--model", "lstm", "--dry-run"),
    ):
        imported = heavy_modules(daily_done, *command, CANDLECAST_DATABASE_URL=url)
        assert not {"prefect", "tensorflow", "keras", "sklearn", "matplotlib", "fastapi"} & set(imported), command


def test_doctor_reports_problems_with_a_remedy(daily_done, empty):
    done = daily_done.run("doctor", "--json")
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert checks["source"]["ok"]
    assert checks["database"]["ok"]
    assert checks["device"]["ok"]
    # The sample ends in 2019.
    assert not checks[f"data of {SERIES}"]["ok"]
    assert checks[f"data of {SERIES}"]["remedy"]
    assert done.returncode == 1
    of_empty = empty.run("doctor", "--json", CANDLECAST_SOURCE=str(empty.folder / "nowhere"))
    checks = {row["check"]: row for row in json.loads(of_empty.stdout)}
    assert not checks["source"]["ok"]
    assert "candlecast daily" in checks["database"]["remedy"] + checks["database"]["found"]
    assert not empty.database.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_with_its_reason(empty):
    empty.folder.chmod(0o555)
    try:
        done = empty.run("ingest")
    finally:
        empty.folder.chmod(0o755)
    assert done.returncode == 1
    assert "writ" in done.stderr


@pytest.mark.slow
def test_the_study_runs_quickly_and_prints_its_table_as_json(empty):
    done = empty.run("study", "--quick", "--hidden-layers", "4", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)
    assert [row["model"] for row in rows if row["rows"] == "done right"][:2] == ["naive", "blend"]
    assert {row["days"] for row in rows} == {248}
    assert "reports/study" in done.stderr
    assert (empty.folder / "reports" / "study" / "study.md").exists()


def test_a_backfill_of_the_tutorial_warns_that_it_is_slow(daily_done, tmp_path):
    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    done = daily_done.run(
        "backfill", "Coinbase_BTCUSD_d", "--start", "1990-01-01", "--end", "1990-01-02", "--model", "tutorial",
        CANDLECAST_DATABASE_URL=f"sqlite:///{tmp_path / 'candlecast.db'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "candlecast: tutorial is slow: " in done.stderr


def test_a_dry_run_shows_what_is_missing_and_stores_nothing(daily_done, tmp_path):
    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    span = ("Coinbase_BTCUSD_d", "--start", "2017-01-01", "--end", "2017-06-30", "--model", "naive")
    for _ in range(2):
        done = daily_done.run("backfill", *span, "--dry-run", "--json", CANDLECAST_DATABASE_URL=url)
        assert done.returncode == 0, done.stderr[-3000:]
        rows = json.loads(done.stdout)
        assert [(row["quarter"], row["missing"]) for row in rows] == [("2017-Q1", 90), ("2017-Q2", 91)]
        assert done.stderr.startswith("181 forecasts in 2 partitions, about 0:00:")


def test_setup_without_a_server_and_a_webhook_that_is_no_url_are_wrong_use(empty):
    done = empty.run("setup")
    assert done.returncode == 2
    assert "no Prefect server is configured" in done.stderr
    done = empty.run("serve", "--notes")
    assert (done.returncode, "--notes needs --notify URL" in done.stderr) == (2, True)
    done = empty.run("serve", "--notify", "chat.example")
    assert done.returncode == 2
    assert "expected an http(s) URL" in done.stderr


def test_a_forecast_is_drawn_in_the_terminal_and_plain_in_a_pipe(daily_done):
    drawn = daily_done.run("forecasts", "--plot", COLUMNS="90").stdout
    assert f"{SERIES}: range-ewma, live, after the close of 2019-10-16" in drawn
    assert "all steps are after the fact." in " ".join(drawn.split())
    assert "\x1b" not in drawn
    assert all(mark in drawn for mark in "░▒▓●")
    assert "◆" not in drawn
    assert max(map(len, drawn.splitlines())) <= 90
    past = daily_done.run("forecasts", "--plot", "--model", "naive", "--origin", "2019-10-01", COLUMNS="90").stdout
    assert past.splitlines()[-1].endswith("◆ actual close")
    # The fan's widest band reaches up to its highest 97.5 % quantile, which is the top label of the axis.
    rows = json.loads(daily_done.run("forecasts", "--json").stdout)
    candles = json.loads(daily_done.run("candles", SERIES, "--start", "2019-08-20", "--json").stdout)
    top = max(row["q975"] for row in rows)
    assert max(top, *(row["close"] for row in candles[-45:])) == pytest.approx(
        float(drawn.splitlines()[2].split("┤")[0]), rel=0.05
    )


def test_plot_refuses_many_forecasts_and_json(daily_done):
    many = daily_done.run("forecasts", "--plot", "--model", "naive")
    assert many.returncode == 2
    assert "too many to draw" in many.stderr
    assert daily_done.run("forecasts", "--plot", "--json").returncode == 2
