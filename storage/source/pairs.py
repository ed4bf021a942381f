"""Which table of a file is that of the pair, by the symbols and by the currencies that its volume columns name."""

from collections.abc import Iterable, Sequence

from models.candles import DOLLARS, QUOTE_CURRENCIES, SeriesName
from storage.errors import CddFormatChanged
from storage.source.columns import Layout
from storage.source.numerals import SIGNS
from storage.source.symbols import names_the_pair
from storage.source.table import cut_rows

# The currencies that a sign stands for; every other currency contradicts it.
_CURRENCIES_OF = {
    "$": DOLLARS | {"GUSD", "UST", "AUD", "CAD", "NZD", "SGD", "HKD", "MXN", "TWD", "ARS", "CLP", "COP"},
    "€": {"EUR", "EURS", "EURT", "EURC"},
    "£": {"GBP"},
    "¥": {"JPY", "CNY"},
    "₩": {"KRW"},
    "₹": {"INR"},
    "₽": {"RUB"},
    "₺": {"TRY"},
    "₴": {"UAH"},
    "₿": {"BTC", "XBT"},
    "฿": {"THB"},
    "₫": {"VND"},
    "₪": {"ILS"},
}


def require_signs_of_the_pair(prices: Iterable[Sequence[str]], series: SeriesName) -> None:
    """Raise CddFormatChanged for prices with the sign of a currency that is not the pair's quote currency."""
    for texts in prices:
        for sign in sorted(set("".join(texts)) & set(SIGNS)):
            if not any(quote in _CURRENCIES_OF[sign] for _, quote in series.splits):
                example = next(text for text in texts if sign in text)
                raise CddFormatChanged(
                    f"{series}: the prices have the sign {sign} ({example!r}), and the pair is {series.pair}: they are "
                    f"in another currency; name the series of that currency, or take the sign away if it is wrong"
                )


def table_of_the_pair(tables: Sequence[Layout], lines: Sequence[str], series: SeriesName) -> tuple[Layout, str]:
    """Return the table of the pair and what a person should check of it, if anything.

    `lines` are some rows below the header. Raises CddFormatChanged where no table, or more than one, is the pair's.
    """
    if len(tables) == 1:
        return tables[0], _other_currencies(tables[0], series)
    ours = [table for table in tables if _is_of_the_pair(table, lines, series)]
    if len(ours) != 1:
        number = "none of them is" if not ours else f"{len(ours)} of them are"
        raise CddFormatChanged(
            f"{series}: the file holds {len(tables)} tables side by side, and by the symbols beside them "
            f"{number} of {series.pair}; keep one table in a file"
        )
    return ours[0], (
        f"the file holds {len(tables)} tables side by side; the one of {series.pair} was read, whose prices "
        f"begin in column {ours[0].prices['open'] + 1}"
    )


def _is_of_the_pair(table: Layout, lines: Sequence[str], series: SeriesName) -> bool:
    """Return whether the symbols beside a table or, without any, its volumes' currency are the pair's."""
    cut = cut_rows(list(enumerate(lines)), table, lambda *_: None, beside_another=True)
    symbols = {text for text in cut.column(table.symbol) if text}
    if any(names_the_pair(text, series, table.currencies) for text in symbols):
        return True
    return not symbols and bool({base for base, _ in series.splits} & table.currencies)


def _other_currencies(layout: Layout, series: SeriesName) -> str:
    """Return what the names of the volume columns have against the pair, nothing where they agree.

    Raises CddFormatChanged where no column names the pair and they are those of another one.
    """
    bases, quotes = ({_bitcoin(split[side]) for split in series.splits} for side in (0, 1))
    foreign = layout.currencies - bases - quotes
    if not foreign:
        return ""
    names = " and ".join(sorted(layout.currencies))
    other_base = bool(layout.currencies & quotes) and not layout.currencies & bases
    if layout.symbol < 0 and (other_base or foreign & set(QUOTE_CURRENCIES)):
        raise CddFormatChanged(
            f"{series}: no column names the pair, and the volume columns are of {names}: the file is of another pair; "
            f"if it is of {series.pair}, correct the header"
        )
    return f"the volume columns are named for {names}, the pair is {series.pair}"


def _bitcoin(currency: str) -> str:
    return currency.replace("XBT", "BTC")
