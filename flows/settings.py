"""The settings: one frozen object, read from `CANDLECAST_*` variables; every field has a unit and a default."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flows.learn_from import LEARN_FROM
from models.candles import SeriesName, UnknownSeries
from models.catalog import checked_model
from models.schedule import Schedule
from storage.source.urls import checked_web_url

# The word for an empty list: an empty value is the default.
NONE = "none"
# A century, and a month: more is a slip, and dates far beyond cannot be computed.
MOST_DAYS = 36_500
MOST_SECONDS = 31 * 86_400


class Settings(BaseSettings):
    """How this installation runs: read from `CANDLECAST_*` variables, then `.env`, then the defaults.

    An empty value is the default.
    """

    model_config = SettingsConfigDict(
        env_prefix="CANDLECAST_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        # A secret may have been written into the wrong variable.
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        "sqlite:///candlecast.db",
        description="Where candles, models and forecasts are kept: an SQLAlchemy URL (SQLite or PostgreSQL).",
    )
    source: str = Field(
        "https://www.cryptodatadownload.com/cdd/",
        description="Where CDD files come from: an http(s) base URL or a local folder.",
    )
    series: Annotated[tuple[str, ...], NoDecode] = Field(
        ("Bitstamp_BTCUSD_d",), description="The series of the daily flow, comma separated."
    )
    model: str = Field("blend", description="The model that is trained and may become champion.")
    horizon: int = Field(7, ge=1, le=7, description="Steps of each forecast; the networks are trained for 7.")
    learn_from: Annotated[tuple[str, ...], NoDecode] = Field(
        LEARN_FROM,
        description="Series that are fetched before each training, learnt from and not forecast; none: no such series.",
    )
    learn_except: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Stored series that lstm and blend do not learn from, comma separated."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of every training.")
    scratch_days: int = Field(
        91, ge=1, le=MOST_DAYS, description="Days of data after which a champion is trained from scratch."
    )
    fine_tune_days: int = Field(
        7, ge=0, le=MOST_DAYS, description="Days of data between fine-tunings; 0 never fine-tunes."
    )
    skill_days: int = Field(
        1095,
        ge=30,
        le=MOST_DAYS,
        description="Days of walk-forward forecasts that a model is judged on at first; later days add to them.",
    )
    keep_weights: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Newest versions of a live model whose weights are kept, beside all champions'.",
    )
    train_deployment: str = Field(
        "",
        description="Deployment that trains, such as retrain/gpu; empty trains in the daily flow's process.",
    )
    train_timeout_s: float = Field(
        3600,
        gt=0,
        le=MOST_SECONDS,
        description="Seconds the daily flow waits for that deployment before it goes on without.",
    )
    task_runner: str = Field(
        "",
        description="Where a backfill's series run: empty (here, one by one), processes[:N] or dask://HOST:PORT.",
    )
    poll_interval_s: float = Field(
        300, ge=1, le=86_400, description="Seconds between two questions about a candle that is due."
    )
    wait_hours: float = Field(
        12,
        ge=0,
        le=23,
        description="Hours after a candle's close until a day that waits gives its forecast up as late.",
    )
    fetch_interval_s: float = Field(
        0.5,
        ge=0,
        le=MOST_SECONDS,
        description="Seconds between the starts of two requests of one run.",
    )
    fetch_timeout_s: float = Field(60, gt=0, le=MOST_SECONDS, description="Seconds one download may take in all.")
    max_download_bytes: int = Field(
        1_000_000_000, gt=0, description="Bytes of one file, uncompressed, beyond which it is refused."
    )
    ca_bundle: Path | None = Field(None, description="PEM file of CA certificates to trust instead of the usual ones.")
    user_agent: str | None = Field(
        None, description="Name by which the source knows this client; candlecast and its version by default."
    )
    cdd_api: str = Field(
        "https://api.cryptodatadownload.com/v1/", description="Where CDD lists its series: an http(s) base URL."
    )
    cdd_token: SecretStr = Field(SecretStr(""), description="Token for CDD's listing of available series, if any.")
    api_token: SecretStr = Field(
        SecretStr(""), description="Token readers of the HTTP API must send; empty serves loopback only."
    )
    reports: Path = Field(Path("reports"), description="Folder that plots are written to.")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_the_default(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the environment or a caller gave
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if not (isinstance(value, str) and not value.strip())}

    @field_validator("*", mode="before")
    @classmethod
    def _no_zero_byte(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the environment or a caller gave
        if isinstance(value, str) and "\0" in value:
            raise ValueError("it holds a zero byte")
        return value

    @field_validator("source")
    @classmethod
    def _a_source(cls, value: str) -> str:
        if "://" in value and not value.casefold().startswith(("http://", "https://")):
            raise ValueError("expected an http(s) URL or a folder")
        return checked_web_url(value) if "://" in value else value

    @field_validator("ca_bundle")
    @classmethod
    def _a_bundle(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        import ssl

        expected = "expected a file of CA certificates in PEM form"
        if not value.is_file():
            raise ValueError(f"{expected}; there is no such file")
        try:
            ssl.create_default_context(cafile=value)
        except ssl.SSLError:
            raise ValueError(f"{expected}; the file holds something else") from None
        except OSError as error:
            raise ValueError(f"{expected}; the file cannot be read: {error.strerror}") from None
        return value

    @field_validator("user_agent")
    @classmethod
    def _a_header(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("expected one line of ASCII characters, such as a browser's name")
        return value and value.strip()

    @field_validator("cdd_api")
    @classmethod
    def _a_url(cls, value: str) -> str:
        return checked_web_url(value)

    @field_validator("model")
    @classmethod
    def _a_model(cls, value: str) -> str:
        return checked_model(value, quoted=False)

    @field_validator("series", "learn_from", "learn_except", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the environment or a caller gave
        if not isinstance(value, str):
            return value
        return () if value.strip() == NONE else tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("series")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected at least one series, such as Bitstamp_BTCUSD_d")
        return value

    @field_validator("series", "learn_from", "learn_except")
    @classmethod
    def _known_form(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(value, start=1):
            try:
                SeriesName.parse(name)
            except UnknownSeries:
                # Its number is shown and not its text, which may be a secret meant for another variable.
                raise ValueError(
                    f"expected series like Bitstamp_BTCUSD_d (exchange, pair, then d, 1h or minute); "
                    f"number {number} of {len(value)} is not of that form"
                ) from None
        return value

    @property
    def schedule(self) -> Schedule:
        """How often the model is trained from scratch and fine-tuned."""
        return Schedule(self.model, self.scratch_days, self.fine_tune_days)
