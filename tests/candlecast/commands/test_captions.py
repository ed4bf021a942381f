"""Tables for people say in which unit their numbers are, and as of when."""

import pytest

SERIES = "Coinbase_BTCUSD_d"
ORIGIN = "as of the origin, the last close that the forecast knew. A step is a day. Times are UTC.\n"
NEWEST = "as of the close of Wed 2019-10-16. A step is a day.\n"


@pytest.mark.parametrize(
    ("command", "caption"),
    [
        (("forecasts",), f"q025 to q975: quantiles of the close in USD, {ORIGIN}"),
        (("paths", SERIES, "--below", "7500"), f"level and q025 to q975 in USD, chance as a share of 1, {ORIGIN}"),
        (("paths", SERIES, "--each", "--samples", "100"), f"close in USD, {ORIGIN}"),
        (
            ("skill",),
            f"n in forecasts; mae in USD; crps of log returns; coverage and skill as shares of 1, {NEWEST}",
        ),
        (
            ("skill", SERIES, "--reliability", "--kind", "backfill"),
            f"n in events, origins in forecasts; chances as shares of 1, {NEWEST}",
        ),
        (
            ("candles", SERIES, "--start", "2019-10-10", "--as-of", "2030-01-01"),
            "Prices in USD per BTC, volume_base in BTC, volume_quote in USD, as known at 2030-01-01 23:59. "
            "Times are UTC.\n",
        ),
    ],
)
def test_a_table_names_the_units_of_its_numbers_and_as_of_when_they_are(daily_done, command, caption) -> None:
    *_, last = daily_done.run(*command).stdout.split("\n\n")
    assert last == caption


def test_only_tables_have_a_caption(daily_done, tmp_path) -> None:
    for form in ("json", "csv"):
        assert "A step is" not in daily_done.run("forecasts", "--format", form).stdout
    path = tmp_path / "chance.txt"
    assert daily_done.run("chance", SERIES, "--below", "7800", "-o", str(path)).returncode == 0
    assert path.read_text().endswith(f"price in USD, chance as a share of 1, {ORIGIN}")
    assert "A step is" not in daily_done.run("forecasts", "--start", "2001-01-01", "--end", "2001-01-02").stdout
