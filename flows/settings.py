"""The settings: one frozen object, read from `CANDLECAST_*` variables; every field has a unit and a default."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.environment import number, read_settings, setting, whole
from flows.learn_from import LEARN_FROM
from models.candles import SeriesName, UnknownSeries
from models.catalog import checked_model
from models.schedule import Schedule
from models.waiting import MOST_WAIT_HOURS
from storage.source.urls import checked_web_url

# The word for an empty list: an empty value is the default.
NONE = "none"
# A century, and a month: more is a slip, and dates far beyond cannot be computed.
MOST_DAYS = 36_500
MOST_SECONDS = 31 * 86_400


def _source(value: str) -> str:
    if "://" in value and not value.casefold().startswith(("http://", "https://")):
        raise ValueError("expected an http(s) URL or a folder")
    return checked_web_url(value) if "://" in value else value


def _ca_bundle(value: str | Path) -> Path:
    import ssl

    path = Path(value)
    expected = "expected a file of CA certificates in PEM form"
    try:
        if not path.is_file():
            raise ValueError(f"{expected}; there is no such file")
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{expected}; the file holds something else") from None
    except OSError as error:
        raise ValueError(f"{expected}; the file cannot be read: {error.strerror}") from None
    return path


def _user_agent(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("expected one line of ASCII characters, such as a browser's name")
    return value.strip()


def _model(value: str) -> str:
    return checked_model(value, quoted=False)


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if isinstance(value, str) and value.strip() == NONE:
        return ()
    for position, name in enumerate(parts, start=1):
        try:
            SeriesName.parse(name)
        except UnknownSeries:
            # Its number is shown and not its text, which may be a secret meant for another variable.
            raise ValueError(
                f"expected series like Bitstamp_BTCUSD_d (exchange, pair, then d, 1h or minute); "
                f"number {position} of {len(parts)} is not of that form"
            ) from None
    return tuple(parts)


def _at_least_one(value: str | Sequence[str]) -> tuple[str, ...]:
    names = _names(value)
    if not names:
        raise ValueError("expected at least one series, such as Bitstamp_BTCUSD_d")
    return names


@dataclass(frozen=True, init=False)
class Settings:
    """How this installation runs: read from `CANDLECAST_*` variables, then `.env`, then the defaults.

    An empty value is the default. A keyword argument takes the place of a variable. Raises SettingsUnreadable.
    """

    database_url: str = setting(
        "sqlite:///candlecast.db",
        "Where candles, models and forecasts are kept: an SQLAlchemy URL (SQLite or PostgreSQL).",
    )
    source: str = setting(
        "https://www.cryptodatadownload.com/cdd/",
        "Where CDD files come from: an http(s) base URL or a local folder.",
        _source,
    )
    series: tuple[str, ...] = setting(
        ("Bitstamp_BTCUSD_d",), "The series of the daily flow, comma separated.", _at_least_one
    )
    model: str = setting("blend", "The model that is trained and may become champion.", _model)
    horizon: int = setting(7, "Steps of each forecast; the networks are trained for 7.", whole(1, 7))
    learn_from: tuple[str, ...] = setting(
        LEARN_FROM,
        "Series that are fetched before each training, learnt from and not forecast; none: no such series.",
        _names,
    )
    learn_except: tuple[str, ...] = setting(
        (), "Stored series that lstm and blend do not learn from, comma separated.", _names
    )
    seed: int = setting(0, "Seed of every training.", whole(0, 2**32 - 1))
    scratch_days: int = setting(
        91, "Days of data after which a model is trained from scratch again.", whole(1, MOST_DAYS)
    )
    fine_tune_days: int = setting(7, "Days of data between fine-tunings; 0 never fine-tunes.", whole(0, MOST_DAYS))
    skill_days: int = setting(
        1095,
        "Days of walk-forward forecasts that a model is judged on at first; later days add to them.",
        whole(30, MOST_DAYS),
    )
    keep_weights: int = setting(
        20,
        "How many of the newest versions of a live model keep their weights; all champions keep theirs.",
        whole(1, 1_000_000),
    )
    train_deployment: str = setting(
        "", "Deployment that trains, such as retrain/gpu; empty trains in the daily flow's process."
    )
    train_timeout_s: float = setting(
        3600.0,
        "Seconds the daily flow waits for that deployment before it goes on without.",
        number(0, MOST_SECONDS, positive=True),
    )
    task_runner: str = setting(
        "", "Where a backfill's series run: empty (here, one by one), processes[:N] or dask://HOST:PORT."
    )
    poll_interval_s: float = setting(300.0, "Seconds between two requests for a candle that is due.", number(1, 86_400))
    wait_hours: float = setting(
        12.0,
        "Hours after a candle's close at which a day that waits gives up and calls the candle late.",
        number(0, MOST_WAIT_HOURS),
    )
    fetch_interval_s: float = setting(
        0.5, "Seconds between the starts of two requests of one run.", number(0, MOST_SECONDS)
    )
    fetch_timeout_s: float = setting(
        60.0, "Seconds one download may take in all.", number(0, MOST_SECONDS, positive=True)
    )
    max_download_bytes: int = setting(
        1_000_000_000, "Bytes of one file, uncompressed, beyond which it is refused.", whole(1, 10**15)
    )
    ca_bundle: Path | None = setting(
        None, "PEM file of CA certificates to trust instead of the usual ones.", _ca_bundle
    )
    user_agent: str | None = setting(
        None, "Name by which the source knows this client; candlecast and its version by default.", _user_agent
    )
    cdd_api: str = setting(
        "https://api.cryptodatadownload.com/v1/", "Where CDD lists its series: an http(s) base URL.", checked_web_url
    )
    cdd_token: str = setting("", "Token for CDD's listing of available series, if any.", secret=True)
    api_token: str = setting("", "Token readers of the HTTP API must send; empty serves loopback only.", secret=True)
    reports: Path = setting(Path("reports"), "Folder that plots are written to.", Path)

    def __init__(self, **given: object) -> None:
        for name, value in read_settings(Settings, given).items():
            object.__setattr__(self, name, value)

    @property
    def schedule(self) -> Schedule:
        """How often the model is trained from scratch and fine-tuned."""
        return Schedule(self.model, self.scratch_days, self.fine_tune_days)
