from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.settings import Settings


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CANDLECAST_{name.upper()}", raising=False)


def test_defaults_work_on_a_laptop() -> None:
    settings = Settings()
    assert settings.database_url == "sqlite:///candlecast.db"
    assert settings.series == ("Bitstamp_BTCUSD_d",)
    assert settings.horizon == 7


def test_series_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLECAST_SERIES", "Bitstamp_BTCUSD_d, Binance_ETHUSDT_d,")
    assert Settings().series == ("Bitstamp_BTCUSD_d", "Binance_ETHUSDT_d")


@pytest.mark.parametrize("value", ["", "../../etc/passwd", "Bitstamp_BTCUSD_w", "Bitstamp BTCUSD d"])
def test_a_garbled_series_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CANDLECAST_SERIES", value)
    with pytest.raises(ValidationError, match="series"):
        Settings()


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CANDLECAST_HORIZON=3\n")
    assert Settings().horizon == 3


def test_every_setting_is_documented_with_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_tokens_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLECAST_API_TOKEN", "hunter2hunter2")
    assert "hunter2" not in repr(Settings()) + str(Settings().model_dump())
