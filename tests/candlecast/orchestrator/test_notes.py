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

    def heard(text: str) -> bool:
        deadline = time.monotonic() + 30
        while text not in receiver.texts(wait_s=0) and time.monotonic() < deadline:
            time.sleep(0.2)
        return text in receiver.texts(wait_s=0)

    with PrefectServer(tmp_path / "server") as server, temporary_settings({PREFECT_API_URL: server.url}):
        prepare(notify=receiver.url, pools=False)
        time.sleep(2)
        emit_event(NOTE, series=SERIES, message="nobody asked for this note")
        emit_event(LATE, series=SERIES, message="a candle is late")
        assert heard("a candle is late")
        prepare(notify=receiver.url, notes=True, pools=False)
        time.sleep(2)
        emit_event(NOTE, series=SERIES, message=f"{SERIES}, after the close\n  A sentence.")
        assert heard(f"{SERIES}, after the close\n  A sentence.")
    assert "nobody asked for this note" not in receiver.texts(wait_s=0)
