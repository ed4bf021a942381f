"""The daily flow as some tests deploy it: with a retry, and with a time-out of seconds."""

from flows.daily import daily

RETRY_AFTER_S = 90

retried = daily.with_options(retries=1, retry_delay_seconds=RETRY_AFTER_S)
limited = daily.with_options(timeout_seconds=45)
