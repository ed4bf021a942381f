"""A daily check records what it sees, and writes nothing while that stays the same."""

from sqlalchemy import Engine, event
from stores import Store

from models.candles import Finding, Severity
from tasks.steps.findings import open_findings, record_changes

ODD = Finding("odd-band", Severity.WARNING, "the band is odd", "look at it")


def test_a_finding_that_is_open_already_is_not_written_again(engine: Engine) -> None:
    store = Store(engine)
    writes: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda *args: writes.append(args[2]) if "SELECT" not in args[2] else None
    )

    def record(*seen: Finding) -> int:
        writes.clear()
        record_changes(engine, series=store.series, codes={"odd-band"}, seen=seen, now=store.now)
        return sum(statement.startswith(("INSERT", "UPDATE")) for statement in writes)

    assert [record(), record(ODD), record(ODD), record(), record()] == [0, 1, 0, 1, 0]
    assert open_findings(engine, series=store.series) == []


def test_the_findings_of_other_checks_stay_open(engine: Engine) -> None:
    store = Store(engine)
    record_changes(engine, series=store.series, codes={"odd-band"}, seen=[ODD], now=store.now)
    record_changes(engine, series=store.series, codes={"drift"}, seen=[], now=store.now)
    assert [row.message for row in open_findings(engine, series=store.series, codes={"odd-band"})] == [ODD.message]
    assert open_findings(engine, series=store.series, codes={"drift"}) == []
