"""The command `note`: its forms, and a real receiver that gets it."""

import pytest
from hooks import WebhookReceiver

SERIES = "Coinbase_BTCUSD_d"


def test_the_note_is_printed_as_text_markdown_and_html(daily_done, tmp_path):
    text = daily_done.run("note").stdout
    title, first, *_ = text.splitlines()
    assert title == f"{SERIES}, after the close of 2019-10-16"
    assert first.startswith(
        "  range-ewma expects the close of Thu 2019-10-17 between 7,717.85 and 8,293.33 USD with a "
    )
    assert "of the backfilled forecast before." in text
    # The sample ends in 2019.
    assert text.endswith(f"Needs a person: stale; see: candlecast findings {SERIES}.\n")
    markdown = daily_done.run("note", SERIES, "--format", "markdown").stdout
    assert f"![Forecast of {SERIES}](reports/{SERIES}/forecast-2019-10-17T0000Z.png)" in markdown
    path = tmp_path / "note.html"
    assert daily_done.run("note", "--format", "html", "-o", str(path)).returncode == 0
    assert "data:image/png;base64," in path.read_text()


def test_the_note_is_sent_to_a_webhook(daily_done):
    receiver = WebhookReceiver()
    try:
        done = daily_done.run("note", "--send", receiver.url)
        assert (done.returncode, done.stdout) == (0, "")
        assert receiver.texts(wait_s=10) == [daily_done.run("note").stdout.rstrip("\n")]
    finally:
        receiver.close()
    gone = daily_done.run("note", "--send", receiver.url)
    assert gone.returncode == 1
    assert "the note was not sent to 127.0.0.1: " in gone.stderr
    assert "/hook" not in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--send", "http://127.0.0.1:9/hook", "--format", "html"), 2, "--send sends the text"),
        (("--send", "nowhere"), 2, "expected an http(s) URL"),
        (("Kraken_BTCUSD_d",), 1, "no series Kraken_BTCUSD_d is stored"),
    ],
)
def test_what_cannot_be_sent_or_shown_is_refused_with_a_reason(daily_done, arguments, code, reason):
    done = daily_done.run("note", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert reason in " ".join(done.stderr.replace("│", " ").split())
