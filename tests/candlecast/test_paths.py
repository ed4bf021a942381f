"""No series name leads out of a folder, in any command, setting, question, flow or link."""

import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from web_server import Web

from flows.parameters import SeriesParameter
from models.candles import SeriesName, UnknownSeries
from storage.errors import CddNotFound, CddRefused, StorageError
from storage.source.client import CddClient
from tasks.show.charts import chart_path

NAMES = [
    "../../etc/passwd",
    "../outside/Bitstamp_BTCUSD_d",
    "/etc/passwd",
    "Bitstamp_BTCUSD_d/../../x",
    "..\\..\\x_BTCUSD_d",
    "C:\\x_BTCUSD_d",
    "file:///etc/passwd",
    "Bitstamp_BTC/USD_d",
    "Bitstamp_BTCUSD_d\n",
    "Bitstamp_BTCUSD_d ",
    "Bitstamp_BTCUSD_d.csv",
    "Bitstamp_BTCUSD_d?x=1",
    "Bitstamp_BTCUSD_d#x",
    "Bitstamp%2f_BTCUSD_d",
    "a..b_BTCUSD_d",
    "..._BTCUSD_d",
    ".hidden_BTCUSD_d",
    "-rf_BTCUSD_d",
    "Bitstamp_BTCUSD_d\u2028",
    "Bit\u0131stamp_BTCUSD_d",
    "Bitstamp_ＢＴＣＵＳＤ_d",
    "x" * 5000 + "_BTCUSD_d",
    "",
]

COMMANDS = [
    ("ingest",),
    ("daily",),
    ("train",),
    ("backfill", "--start", "2019-01-01", "--end", "2019-01-02"),
    ("forecasts",),
    ("candles",),
    ("skill",),
    ("models",),
    ("findings",),
    ("rollback",),
    ("series", "--available"),
    ("study", "--file"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("name", ["../../etc/passwd", "-rf_BTCUSD_d"])
def test_no_command_takes_a_name_that_leaves_its_folder(daily_done, command, name, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in daily_done.folder.rglob("*")}
    # After -- even a word that looks like an option is a name.
    words = (*command, name) if command[-1].startswith("--") else (*command, "--", name)
    done = daily_done.run(*words, CANDLECAST_REPORTS=str(tmp_path / "reports"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "expected" in done.stderr
    assert done.stdout == ""
    after = {path: path.stat().st_mtime_ns for path in daily_done.folder.rglob("*")}
    # Readers of a WAL database change the files beside it.
    assert {
        path for path in after if before.get(path) != after[path] and not path.name.startswith("candlecast.db")
    } <= {daily_done.folder}
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_place_that_takes_a_series_refuses_it(name):
    with pytest.raises(UnknownSeries):
        SeriesName.parse(name)
    with pytest.raises(ValidationError):
        TypeAdapter(SeriesParameter).validate_python(name)
    with pytest.raises(UnknownSeries):
        chart_path(Path("reports"), name, datetime(2020, 1, 1, tzinfo=UTC))


@given(st.one_of(st.text(max_size=60), st.from_regex(r"\A[A-Za-z0-9./\\%_-]{1,40}_[A-Za-z0-9]{4,30}_(d|1h|minute)\Z")))
def test_an_accepted_name_is_a_file_of_the_folder(text):
    try:
        name = SeriesName.parse(text)
    except UnknownSeries:
        return
    assert str(name) == text
    base = Path("/a/folder")
    file = base / f"{name}.csv"
    assert Path(os.path.normpath(file)).parent == base
    assert quote(text) == text
    assert text[0].isalnum()
    assert text.isascii()


def test_settings_refuse_such_names(daily_done):
    for name in ("../../etc/passwd", "Bitstamp_BTCUSD_d,../x"):
        done = daily_done.run("daily", CANDLECAST_SERIES=name)
        assert done.returncode == 2
        assert "CANDLECAST_SERIES" in done.stderr


def test_no_request_takes_such_a_name(daily_done):
    requests = 0
    with Web(daily_done) as web:
        paths = web.get("/openapi.json").json()["paths"]
        for path, operations in paths.items():
            if not any(parameter["name"] == "series" for parameter in operations["get"].get("parameters", [])):
                continue
            for name in NAMES:
                answer = web.get(f"{path}?series={quote(name, safe='')}")
                # There is no series of that name, or it is no name at all.
                assert answer.status_code == 400, (path, name, answer.text)
                requests += 1
        for name in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/web.py", "index.html%00", "../web.py"):
            assert web.get(f"/page/{name}").status_code in (400, 404)
    assert requests >= 9 * len(NAMES)


BITSTAMP = SeriesName.parse("Bitstamp_BTCUSD_d")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_a_link_in_the_source_folder_is_followed_as_its_owner_meant(source, tmp_path, sample_csv):
    """The folder is the operator's: only people who may write into it can choose the targets of its links."""
    shutil.copy(sample_csv, tmp_path / "elsewhere.csv")
    (source / f"{BITSTAMP}.csv").symlink_to(tmp_path / "elsewhere.csv")
    fetched = CddClient(str(source)).fetch(BITSTAMP)
    assert fetched.size == sample_csv.stat().st_size
    fetched.close()


@pytest.mark.parametrize(
    "link_target", ["pipe", "device", "endless device", "folder", "nowhere", "itself", "too large"]
)
@pytest.mark.timeout(20)
def test_a_link_to_anything_but_a_file_of_candles_is_refused_at_once(source, tmp_path, link_target):
    path = source / f"{BITSTAMP}.csv"
    targets = {"device": "/dev/null", "endless device": "/dev/zero", "folder": str(tmp_path), "nowhere": "/no/such"}
    if link_target == "pipe":
        os.mkfifo(path)
    elif link_target == "too large":
        path.write_bytes(b"x" * 2000)
    else:
        path.symlink_to(targets.get(link_target, path))
    with pytest.raises(StorageError) as caught:
        CddClient(str(source), max_bytes=1000).fetch(BITSTAMP)
    assert isinstance(caught.value, CddNotFound if link_target == "nowhere" else StorageError)


def test_a_file_that_has_no_size_beforehand_is_cut_off_too(source):
    """/proc gives a size of 0 bytes for files that hold many."""
    (source / f"{BITSTAMP}.csv").symlink_to("/proc/self/maps")
    if not Path("/proc/self/maps").exists():
        pytest.skip("there is no /proc here")
    with pytest.raises(CddRefused, match="larger than 100 bytes"):
        CddClient(str(source), max_bytes=100).fetch(BITSTAMP)


def test_a_link_to_another_file_leaves_none_of_it_in_the_database(empty):
    source = empty.folder / "source"
    source.mkdir()
    secret = empty.folder / "secret"
    secret.write_text("root:x:0:0:hunter2\n" * 3 + "second line hunter2\n")
    (source / "Coinbase_BTCUSD_d.csv").symlink_to(secret)
    done = empty.run("ingest", CANDLECAST_SOURCE=str(source))
    assert done.returncode == 1
    assert "expected a header" in done.stderr
    # The message shows the first line to the user of the command; nothing is stored.
    assert "second line" not in done.stderr
    with sqlite3.connect(empty.database) as conn:
        dump = "\n".join(conn.iterdump())
    conn.close()
    assert "hunter2" not in dump
