"""Commands close their connections to the database, also where they fail."""

import time
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from candlecast.commands.app import application

SERIES = "Coinbase_BTCUSD_d"


def test_a_command_leaves_no_connection_open(
    postgresql_url: str, sample_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("CANDLECAST_SERIES", SERIES)
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as conn:
        for exit_code, command in (
            (0, ["ingest", SERIES, "--file", str(sample_csv)]),
            (1, ["ingest", SERIES, "--file", "nowhere.csv"]),
            (0, ["backfill", SERIES, "--start", "2024-01-01", "--end", "2024-01-02", "--dry-run"]),
            (1, ["rollback", SERIES]),
            (1, ["note", "Bitstamp_ETHUSD_d"]),
            (0, ["candles", SERIES]),
        ):
            result = CliRunner().invoke(application(), command)
            assert result.exit_code == exit_code, result.output
            assert _others(conn) == 0, command


def _others(conn: "psycopg.Connection[tuple[int]]") -> int:
    """Return how many other connections the database has; the server needs a moment to forget one that was closed."""
    deadline = time.monotonic() + 5
    while True:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        ).fetchone()
        assert row is not None
        if row[0] == 0 or time.monotonic() > deadline:
            return row[0]
        time.sleep(0.05)
