"""Not asking one host too much: requests are spaced out and few at a time, whatever threads a process runs."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2


class _Host:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(AT_ONCE)
        self.next_start = 0.0


_hosts: dict[str, _Host] = defaultdict(_Host)
_hosts_lock = threading.Lock()


@contextmanager
def polite(host: str, interval_s: float) -> Iterator[None]:
    """Hold one of the host's slots, entered at least `interval_s` seconds after the last one was."""
    with _hosts_lock:
        known = _hosts[host]
    with known.slots:
        with known.lock:
            time.sleep(max(known.next_start - time.monotonic(), 0.0))
            # Counted from when it really started: whoever woke late is not followed too soon.
            known.next_start = time.monotonic() + interval_s
        yield
