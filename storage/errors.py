"""The errors of everything outside the process, split by what the caller does next.

StorageError
├── CddUnavailable      the source did not answer: ask again later
│   └── CddDenied       it refuses this client, or requires a login: ask again later, and tell a person
├── CddNotFound         the source has no such series: do not ask again, check the name
├── CddRefused          the answer is not a whole CSV file (HTML, too large, from another host): keep the stored candles
├── CddFormatChanged    a CSV that cannot be read: stop and tell a person
├── DatabaseUnusable    missing, read-only, locked, corrupted, or of another version: follow the remedy
├── StatementRefused    the database refused a statement of ours: a fault of candlecast, report it
├── BackupRefused       no backup, or one that may not go there: name another file
├── CopyRefused         nothing to copy into, or rows that do not fit there: follow the remedy
└── NotFound            no such series, forecast or model version: check the name

Outside `storage` two more are derived from it: `Held` (tasks/steps/holds.py), a file that a person has to look at, and
`ServerNotStarted` (candlecast/orchestrator/server.py).
"""


class StorageError(Exception):
    """Base of every error that `storage` raises on purpose."""


class CddUnavailable(StorageError):
    """The source did not answer, or answered that it cannot now. Ask again later.

    `retry_after_s` is how long the source asked us to wait, if it did.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CddDenied(CddUnavailable):
    """The source refuses this client, or requires a login. Ask again later; the message says what to change."""


class CddNotFound(StorageError):
    """The source has no file for this series."""


class CddRefused(StorageError):
    """The answer is not a whole CSV file: HTML, truncated, too large, or from another host."""


class CddFormatChanged(StorageError):
    """The file is text, but its columns cannot be made out, or it holds another pair or interval."""


class DatabaseUnusable(StorageError):
    """The database cannot be used as it is; the message says why and what to do."""


class StatementRefused(StorageError):
    """A statement has a mistake or breaks a constraint; the message holds neither SQL nor values."""


class BackupRefused(StorageError):
    """A backup cannot be made or restored like this; the message says why and what to do."""


class CopyRefused(StorageError):
    """A database cannot be copied like this; the message says why and what to do."""


class NotFound(StorageError):
    """No such series, forecast or model version is stored."""


def about(series: str, error: StorageError) -> str:
    """Return the message of an error that concerns a series, with the name of the series once in front."""
    message = str(error)
    return message if message.startswith(f"{series}: ") else f"{series}: {message}"
