"""The settings: which values are accepted or refused, and what an empty value means."""

from dataclasses import fields
from pathlib import Path

import pytest
from certificates import self_signed

from candlecast.commands.console import settings as settings_of_a_command
from flows.environment import SettingsUnreadable
from flows.settings import Settings

SETTINGS = {field.name: field for field in fields(Settings)}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
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
@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch, name: str, empty: str) -> None:
    monkeypatch.setenv(f"CANDLECAST_{name.upper()}", empty)
    assert {name: getattr(Settings(), name) for name in SETTINGS} == {
        one.name: one.default for one in SETTINGS.values()
    }


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
    assert "CANDLECAST_CA_BUNDLE: expected a file of CA certificates in PEM form" in capsys.readouterr().err


def test_a_ca_bundle_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = self_signed(tmp_path, days=2)
    monkeypatch.setenv("CANDLECAST_CA_BUNDLE", str(certificate))
    assert Settings().ca_bundle == certificate


@pytest.mark.parametrize("value", ["a\nHost: elsewhere", "caf\u00e9", "a\x07b"])
def test_a_user_agent_that_is_no_header_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CANDLECAST_USER_AGENT", value)
    with pytest.raises(SettingsUnreadable, match="expected one line of ASCII"):
        Settings()


@pytest.mark.parametrize("value", [",", "../../etc/passwd", "Bitstamp_BTCUSD_w", "Bitstamp BTCUSD d"])
def test_a_garbled_series_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CANDLECAST_SERIES", value)
    with pytest.raises(SettingsUnreadable, match="CANDLECAST_SERIES: expected"):
        Settings()


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CANDLECAST_HORIZON=3\n")
    assert Settings().horizon == 3


def test_every_setting_is_documented_with_a_description() -> None:
    assert [name for name, field in SETTINGS.items() if not field.metadata["description"]] == []


def test_tokens_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLECAST_API_TOKEN", "hunter2hunter2")
    assert "hunter2" not in repr(Settings()) + str(Settings())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("horizon", "8", "expected a whole number from 1 to 7"),
        ("horizon", "1.5", "expected a whole number from 1 to 7"),
        ("seed", "9" * 5000, "expected a whole number from 0 to 4294967295"),
        ("wait_hours", "nan", "expected a number from 0 to 23"),
        ("fetch_timeout_s", "0", "expected a number from 0 to 2678400, but not 0"),
        ("fetch_interval_s", "-1", "expected a number from 0"),
        ("model", "oracle", "unknown model; the models are naive"),
        ("source", "ftp://host/", r"expected an http\(s\) URL or a folder"),
    ],
)
def test_a_refusal_says_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"CANDLECAST_{name.upper()}", value)
    with pytest.raises(SettingsUnreadable, match=f"^CANDLECAST_{name.upper()}: {expected}"):
        Settings()


def test_all_refusals_are_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLECAST_HORIZON", "8")
    monkeypatch.setenv("CANDLECAST_SEED", "-1")
    with pytest.raises(SettingsUnreadable, match="CANDLECAST_HORIZON: .*; CANDLECAST_SEED: "):
        Settings()


def test_a_variable_goes_before_the_dotenv_file_and_an_argument_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CANDLECAST_HORIZON=3\nCANDLECAST_SEED=3\ncandlecast_wait_hours=3\n")
    monkeypatch.setenv("CANDLECAST_HORIZON", "4")
    settings = Settings(seed=5)
    assert (settings.horizon, settings.seed, settings.wait_hours) == (4, 5, 3.0)
    with pytest.raises(TypeError, match="no such setting: sede"):
        Settings(sede=5)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().horizon = 3  # type: ignore[misc]
