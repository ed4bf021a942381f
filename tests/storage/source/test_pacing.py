import threading
import time
from itertools import pairwise

import pytest

from storage.source.pacing import AT_ONCE, polite


class LateSleeper:
    """A clock on which every second sleep ends late, as on a busy machine."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.now += seconds + 7.0 * (len(self.asked) % 2)


def test_requests_to_one_host_start_apart_though_some_start_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LateSleeper()
    monkeypatch.setattr("storage.source.pacing.time", clock)
    starts = []
    for _ in range(6):
        with polite("spaced.example", 10.0):
            starts.append(clock.now)
            clock.now += 1.0
    assert [b - a for a, b in pairwise(starts)] == [10.0, 17.0, 10.0, 17.0, 10.0]


def test_other_hosts_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LateSleeper()
    monkeypatch.setattr("storage.source.pacing.time", clock)
    for host in ("patient.example", "other.example"):
        with polite(host, 60.0):
            pass
    assert clock.asked == [0.0, 0.0]


def test_only_so_many_at_a_time() -> None:
    inside = most = 0
    lock = threading.Lock()
    # Nobody leaves before there have been so many.
    together = threading.Barrier(AT_ONCE, timeout=60)

    def ask() -> None:
        nonlocal inside, most
        with polite("crowded.example", 0.0):
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait()
            time.sleep(0.02)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == AT_ONCE
