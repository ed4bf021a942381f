"""Publishing: what a run shows people, as files and as artifacts in Prefect's UI."""

from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from models.candles import Interval, SeriesName
from models.forecasts import CENTRAL_BANDS
from models.wording import after_close, close_day, price_words, when_stored
from storage.forecasts import BandRow
from tasks.show.charts import forecast_chart
from tasks.show.events import NOTE, emit_event
from tasks.show.note import is_news, markdown_note, text_note
from tasks.show.pictures import show_picture
from tasks.steps.elsewhere import Steps
from tasks.steps.findings import open_findings
from tasks.steps.note import Note, series_note


def artifact_key(what: str, series: str) -> str:
    """Return a Prefect artifact key, which allows only lower-case letters, digits and dashes."""
    return "-".join([what, *series.lower().replace(".", "-").split("_")])


def forecast_table(bands: Sequence[BandRow]) -> list[dict[str, str | int]]:
    """Return a forecast as rows for people: which close, its median and central bands."""
    interval = SeriesName.parse(bands[0].series).interval
    like = bands[0].q50
    which = "close of" if interval is Interval.DAY else "close at"
    return [
        {
            "step": row.step,
            which: close_day(row.target_time + interval.length, interval),
            "median": price_words(row.q50, like=like),
            **{
                f"{band} band": " – ".join(price_words(getattr(row, edge), like=like) for edge in (band.low, band.high))
                for band in CENTRAL_BANDS
            },
        }
        for row in bands
    ]


def _send_note(note: Note) -> None:
    """Emit the event of the note and show it in Prefect's UI, unless the day's note was sent before.

    A series is shown again on the same day when a run is repeated or a new champion forecasts. The artifact comes last:
    a run that is killed in between sends the note again rather than never.
    """
    key = artifact_key("note", note.series)
    newest = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        before = client.read_artifacts(artifact_filter=newest, sort=ArtifactSort.UPDATED_DESC, limit=1)
    if not is_news(note, str(before[0].data) if before else None):
        return
    emit_event(NOTE, series=note.series, message=text_note([note]))
    create_markdown_artifact(markdown_note([note], [None]), key=key, description=f"Morning note of {note.series}")


def publish(steps: Steps, *, series: str, reports: Path, with_note: bool) -> Path | None:
    """Draw the newest forecast; show it, its table and the findings in Prefect's UI; returns the picture.

    `with_note` also sends the note and shows it there.
    """
    drawn = steps(forecast_chart, series=series, reports=reports)
    findings = steps(open_findings, series=series)
    if drawn is not None:
        first, interval = drawn.bands[0], SeriesName.parse(series).interval
        stored = when_stored(first.created_at, first.origin, interval, len(drawn.bands))
        create_table_artifact(
            forecast_table(drawn.bands),
            key=artifact_key("forecast", series),
            description=(
                f"{first.model} forecast of {series} {after_close(first.origin, interval)}, in "
                f"{SeriesName.parse(series).quote}. {stored}"
            ),
        )
        show_picture(drawn.path, key=artifact_key("fan", series), description=f"Fan chart of {series}")
    if with_note:
        _send_note(steps(series_note, series=series))
    create_table_artifact(
        [
            {
                "severity": finding.severity,
                "what": finding.code,
                "count": finding.count,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        key=artifact_key("findings", series),
        description=f"What is odd about the data of {series}",
    )
    return None if drawn is None else drawn.path
