"""A file as a spreadsheet saves it again: other dates, shortened unix times, ten digits of each number."""

from datetime import UTC, datetime


def saved_by_a_spreadsheet(body: bytes) -> bytes:
    """Return a file of unix seconds without dates as a spreadsheet in the United States saves it."""
    header, *rows = body.decode().splitlines()
    lines = [header]
    for row in rows:
        unix, _, *numbers = row.split(",")
        opened = datetime.fromtimestamp(int(unix), UTC)
        date = f"{opened.month}/{opened.day}/{opened.year}"
        lines.append(",".join([f"{int(unix) * 1000:.5E}", date, *(f"{float(number):.10g}" for number in numbers)]))
    return ("\N{ZERO WIDTH NO-BREAK SPACE}" + "\r\n".join(lines) + "\r\n").encode()
