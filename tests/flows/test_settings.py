"""The settings: which values are accepted or refused, and what an empty value means."""

from pathlib import Path

import pytest
from certificates import self_signed
from pydantic import ValidationError

from candlecast.commands.console import settings as settings_of_a_command
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


@pytest.mark.parametrize("empty", ["", " ", "\t \n"])
@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch, name: str, empty: str) -> None:
    monkeypatch.setenv(f"CANDLECAST_{name.upper()}", empty)
    assert Settings() == Settings.model_construct()


def test_an_empty_variable_takes_back_a_line_of_the_dotenv_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CANDLECAST_HORIZON=3\nCANDLECAST_SEED=\n")
    assert Settings().horizon == 3
    monkeypatch.setenv("CANDLECAST_HORIZON", "")
    assert Settings().horizon == 7


@pytest.mark.parametrize("kind", ["missing", "a folder", "no bundle", "an empty file", "binary"])
def test_a_file_that_is_no_ca_bundle_is_refused_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    bundle = tmp_path / "ca.pem"
    if kind == "a folder":
        bundle.mkdir()
    elif kind != "missing":
        bundle.write_bytes({"no bundle": b"hello\n", "an empty file": b"", "binary": b"\x30\x82\x00\xff" * 9}[kind])
    monkeypatch.setenv("CANDLECAST_CA_BUNDLE", str(bundle))
    with pytest.raises(SystemExit) as ended:
        settings_of_a_command()
    assert ended.value.code == 2
    assert (
        "CANDLECAST_CA_BUNDLE: Value error, expected a file of CA certificates in PEM form" in capsys.readouterr().err
    )


def test_a_ca_bundle_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = self_signed(tmp_path, days=2)
    monkeypatch.setenv("CANDLECAST_CA_BUNDLE", str(certificate))
    assert Settings().ca_bundle == certificate


@pytest.mark.parametrize("value", ["a\nHost: elsewhere", "caf\u00e9", "a\x07b"])
def test_a_user_agent_that_is_no_header_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CANDLECAST_USER_AGENT", value)
    with pytest.raises(ValidationError, match="expected one line of ASCII"):
        Settings()


@pytest.mark.parametrize("value", [",", "../../etc/passwd", "Bitstamp_BTCUSD_w", "Bitstamp BTCUSD d"])
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
