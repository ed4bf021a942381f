import threading
import time
from itertools import pairwise

from storage.politeness import AT_ONCE, polite


def test_requests_to_one_host_start_apart_and_other_hosts_do_not_wait() -> None:
    starts = []
    for _ in range(3):
        with polite("spaced.example", 0.05):
            starts.append(time.monotonic())
    assert min(b - a for a, b in pairwise(starts)) >= 0.045
    with polite("patient.example", 60):
        pass
    with polite("other.example", 60):
        pass  # or the suite's time limit ends this


def test_only_so_many_at_a_time() -> None:
    inside = most = 0
    lock = threading.Lock()

    def ask() -> None:
        nonlocal inside, most
        with polite("crowded.example", 0.0):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == AT_ONCE
