"""The morning note goes to the webhook when asked for: through a real Prefect server, to a real receiver."""

import time
from pathlib import Path

import pytest
from hooks import WebhookReceiver
from prefect_parts import PrefectServer

SERIES = "Bitstamp_BTCUSD_d"


@pytest.mark.slow
def test_the_webhook_gets_the_note_only_when_asked_for(tmp_path: Path, receiver: WebhookReceiver) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from candlecast.orchestrator.setup import prepare
    from tasks.show.events import LATE, NOTE, emit_event

    def until_it_is_heard(event: str, message: str) -> None:
        """Emit an event until the webhook has heard of it: a server needs a while to see that an automation changed."""
        deadline = time.monotonic() + 120
        while message not in receiver.texts(wait_s=0):
            assert time.monotonic() < deadline, receiver.texts(wait_s=0)
            emit_event(event, series=SERIES, message=message)
            time.sleep(2)

    with PrefectServer(tmp_path / "server") as server, temporary_settings({PREFECT_API_URL: server.url}):
        prepare(notify=receiver.url, pools=False)
        emit_event(NOTE, series=SERIES, message="nobody asked for this note")
        until_it_is_heard(LATE, "a candle is late")
        emit_event(NOTE, series=SERIES, message="nor for this one")
        until_it_is_heard(LATE, "a candle is still late")
        prepare(notify=receiver.url, notes=True, pools=False)
        until_it_is_heard(NOTE, f"{SERIES}, after the close\n  A sentence.")
    assert not {"nobody asked for this note", "nor for this one"} & set(receiver.texts(wait_s=0))
