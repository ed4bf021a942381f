"""What can go wrong outside the process, split by what the caller does next.

StorageError
├── CddUnavailable      the source did not answer: retry
├── CddNotFound         the source has no such series: do not retry, check the name
├── CddRefused          the answer is not a whole CSV file (HTML, truncated, too large): keep what we have
├── CddFormatChanged    a CSV we cannot read: stop, tell a person, keep the bytes
├── DatabaseUnusable    missing, read-only, locked, corrupted, or of another version: follow the remedy
├── BackupRefused       no backup, or one that may not go there: name another file
└── NotFound            no such series, forecast or model version: check the name
"""


class StorageError(Exception):
    """Base of every error that `storage` raises on purpose."""


class CddUnavailable(StorageError):
    """The source did not answer, or answered that it cannot just now. Retry later.

    `retry_after_s` is how long the source asked us to wait, if it did.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CddNotFound(StorageError):
    """The source has no file for this series."""


class CddRefused(StorageError):
    """What came is not a whole CSV file: HTML, truncated, too large, or from another host."""


class CddFormatChanged(StorageError):
    """The file is text but no column layout we know how to read by meaning."""


class DatabaseUnusable(StorageError):
    """The database cannot be used as it stands; the message says why and what to do."""


class BackupRefused(StorageError):
    """A backup cannot be made or restored like this; the message says why and what to do."""


class NotFound(StorageError):
    """No such series, forecast or model version is stored."""
