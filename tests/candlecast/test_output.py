"""Tables for people: one number format a column, so that the eye can compare."""

import pytest

from candlecast.output import Format, write_rows


def cells(capsys: pytest.CaptureFixture[str], *values: float | None) -> list[str]:
    write_rows(("value",), [{"value": value} for value in values], Format.TABLE, None)
    return [line.strip() for line in capsys.readouterr().out.splitlines()[2:]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((7719.1, 8246.91), ["7,719.10", "8,246.91"]),
        ((999.5, 10020.3), ["999.50", "10,020.30"]),
        ((0.95, 0.0009737), ["0.950000", "0.000974"]),
        ((0.5, 0.25), ["0.50000", "0.25000"]),
        ((61234.4, 0.0712), ["61,234.4000", "0.0712"]),
        ((0.3, 3e-30), ["0.300000", "0.000000"]),
        ((-0.5, None), ["-0.50000", "-"]),
        ((float("nan"), 0.0), ["nan", "0.00"]),
    ],
)
def test_the_numbers_of_a_column_have_the_same_decimals(capsys, values, expected) -> None:
    assert cells(capsys, *values) == expected
