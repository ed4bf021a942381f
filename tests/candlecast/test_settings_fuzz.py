"""Random settings are accepted, or refused with exit code 2 and a message that shows no secret."""

import contextlib
import io
import os
from collections import Counter
from copy import copy
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from candlecast.commands.console import settings
from flows.environment import SettingsUnreadable
from flows.settings import Settings
from storage.database.engine import make_engine
from storage.errors import DatabaseUnusable

EXAMPLES = 1500
SECRET = "hunter2"
fuzzed = hypothesis_settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

# An environment variable has no zero byte and only characters of the file system's encoding.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
NUMBERS = st.sampled_from(
    ["0", "-1", "1", "7", "8", "1e3", "1_000", " 5 ", "٣", "0x10", "nan", "inf", "-inf", "1e400", "9" * 30, "9" * 5000,
     "1.5", "", "true", "null", "[]", "{}", "0.0000001", "-0"]
)  # fmt: skip
URLS = st.sampled_from(
    [f"https://me:{SECRET}@host/{SECRET}?t={SECRET}", f"ftp://me:{SECRET}@host/", f"https://me:{SECRET}@[::1/",
     f"http://me:{SECRET}@h:99999/", f"http://me:{SECRET}@h:x/", f"http://{SECRET}@", f"HTTP://:{SECRET}@h",
     f"file:///{SECRET}", f"//me:{SECRET}@h", f"me:{SECRET}@h", "http://", "https://h\x1b[2J/", "http://h h/", ".", "/",
     f"postgresql://me:{SECRET}@h/d", f"postgresql://me:{SECRET}@h:{SECRET}/d", f"postgresql://me:a@{SECRET}@h/d",
     f"postgresql://h/d?password={SECRET}", f"mysql://me:{SECRET}@h/d", f"sqlite:///{SECRET}?timeout=x", "sqlite://"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["Bitstamp_BTCUSD_d", "Bitstamp_BTCUSD_d," * 50, ",", "../x", '["Bitstamp_BTCUSD_d"]', "blend", "naive", "oracle",
     "processes", "processes:0", "processes:²", "dask://", "retrain/gpu", "/", "\ud7ff", "\U0010ffff"]
)  # fmt: skip
VALUES = st.one_of(TEXT, NUMBERS, URLS, NAMES)
VARIABLES = [f"CANDLECAST_{name.upper()}" for name in (field.name for field in fields(Settings))]


def read(values: dict[str, str]) -> Settings | None:
    """Read the settings as every command does; None where they are refused."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("CANDLECAST_")}
    stderr = io.StringIO()
    with patch.dict(os.environ, inherited | values, clear=True), contextlib.redirect_stderr(stderr):
        code: object = None
        settings_read = None
        try:
            settings_read = settings()
        except SystemExit as ended:
            code = ended.code
    if settings_read is not None:
        return settings_read
    text = stderr.getvalue()
    assert code == 2
    assert text.startswith("candlecast: the settings cannot be read: ")
    assert SECRET not in text
    assert "\x1b" not in text
    assert len(text) < 3000
    return None


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check_usable(settings_read: Settings) -> None:
    """Check that accepted settings work: their text hides the secrets, and a client and an engine can be made."""
    from flows.sources import cdd_client

    without_tokens = copy(settings_read)
    for name in ("cdd_token", "api_token"):
        object.__setattr__(without_tokens, name, "")
    assert repr(without_tokens) == repr(settings_read)
    assert (
        SECRET not in cdd_client(settings_read, tries=1).source
        or "://" not in settings_read.source
        or SECRET in (settings_read.source.split("@")[-1].split("?")[0])
    )
    assert all(name for name in (*settings_read.learn_from, *settings_read.learn_except))
    assert settings_read.schedule.model == settings_read.model
    refusal = ""
    try:
        make_engine(settings_read.database_url).dispose()
    except DatabaseUnusable as refused:
        refusal = str(refused)
    assert SECRET not in refusal


@fuzzed
@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES, min_size=1, max_size=6))
def test_any_environment_is_accepted_or_refused_in_one_sentence(values: dict[str, str]) -> None:
    settings_read = read(values)
    if settings_read is not None:
        check_usable(settings_read)


def test_any_single_variable_is_accepted_or_refused_in_one_sentence() -> None:
    outcomes: Counter[str] = Counter()

    @fuzzed
    @given(st.sampled_from(VARIABLES), VALUES)
    def give(name: str, value: str) -> None:
        settings_read = read({name: value})
        outcomes["refused" if settings_read is None else "taken"] += 1
        if settings_read is not None:
            check_usable(settings_read)

    give()
    assert min(outcomes["taken"], outcomes["refused"]) > EXAMPLES // 20, outcomes


@fuzzed
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.tuples(st.sampled_from(VARIABLES), VALUES), max_size=5).map(
            lambda pairs: "\n".join(f"{name}={value}" for name, value in pairs).encode()
        ),
    )
)
def test_any_dotenv_file_is_accepted_or_refused_in_one_sentence(text: bytes) -> None:
    Path(".env").write_bytes(text)
    settings_read = read({})
    if settings_read is not None:
        check_usable(settings_read)


def test_a_dotenv_that_is_a_folder_or_may_not_be_read_is_no_traceback() -> None:
    Path(".env").mkdir()
    assert read({}) is not None


@pytest.mark.parametrize("name", VARIABLES)
def test_a_refused_value_is_not_repeated(name: str) -> None:
    """A password in the wrong variable is not shown, by the command line or by a flow's own exception."""
    value = f"ftp://me:{SECRET}@host/"
    settings_read = read({name: value})
    if settings_read is not None:
        return
    with patch.dict(os.environ, {name: value}), pytest.raises(SettingsUnreadable) as caught:
        Settings()
    assert SECRET not in str(caught.value)
