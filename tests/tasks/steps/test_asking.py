"""The sentence that says what a run waits for; tests/flows/test_waiting.py tests the waiting."""

from datetime import UTC, datetime, timedelta

import pytest

from models.arrivals import UsualTime
from tasks.steps.asking import Wait

CLOSE = datetime(2026, 4, 23, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("latest", "words"),
    [
        (8 * HOUR, "usually published 06:42 to 08:00 UTC"),
        (
            22 * HOUR,
            "usually published 06:42 to 22:00 UTC; the candle often comes later: "
            "raise CANDLECAST_WAIT_HOURS (12 now, 23 at most)",
        ),
    ],
)
def test_a_wait_says_that_the_candle_often_comes_after_its_end(latest: timedelta, words: str) -> None:
    deadline = CLOSE + 12 * HOUR
    wait = Wait("Bitstamp_XLMUSD_d", due=CLOSE, since=CLOSE + 5 * MINUTE, deadline=deadline)
    wait.usual = UsualTime(6 * HOUR + 42 * MINUTE, 7 * HOUR, latest, 30)
    assert wait.words == (
        "Bitstamp_XLMUSD_d: waiting since 00:05 UTC for the candle of Wed 2026-04-22, until 12:00 UTC at the latest; "
        + words
    )
    late = wait.with_advice("the candle has not been published in time")
    assert late == "the candle has not been published in time" + words.removeprefix(words.split(";")[0])
