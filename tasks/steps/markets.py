"""Fetching markets that are only learnt from: they widen what the pooled models see, and are not forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from storage.errors import CddNotFound, CddUnavailable, StorageError, about
from tasks.steps.ingest import Source, ingest_series


@dataclass(frozen=True)
class FetchedMarkets:
    """What became of the markets that were asked for."""

    stored: tuple[str, ...]
    """Those that the source has, with their candles up to date."""
    lacking: tuple[str, ...]
    """Those that the source does not have."""
    failures: tuple[str, ...]
    """A sentence for each of the others."""


def fetch_markets(engine: Engine, *, names: Sequence[str], client: Source, now: datetime) -> FetchedMarkets:
    """Bring the candles of each market up to date; what cannot be fetched is said and costs nothing else.

    A source that does not answer once is not asked for the rest.
    """
    stored, lacking, failures = [], [], []
    for name in names:
        try:
            ingest_series(engine, series=name, client=client, now=now)
        except CddNotFound:
            lacking.append(name)
        except CddUnavailable as error:
            failures.append(about(name, error))
            break
        except StorageError as error:
            failures.append(about(name, error))
        else:
            stored.append(name)
    return FetchedMarkets(tuple(stored), tuple(lacking), tuple(failures))
