"""Tables as files that spreadsheets open, in which text stays text whatever it begins with."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import xlsxwriter

CSV: Final = "text/csv; charset=utf-8"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """`rows` as UTF-8 with a byte order mark, by which spreadsheets know it."""
    text = io.StringIO()
    csv.writer(text).writerows([cell(one) for one in row] for row in rows)
    return ("\ufeff" + text.getvalue()).encode()


def cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula; a number is one, below zero as well."""
    if isinstance(value, int | float):
        return str(value)
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def as_xlsx(rows: Iterable[Sequence[Any]], title: str, head: int) -> bytes:
    """`rows` as a workbook of one sheet; the row of index `head` stays in sight.

    Row after row goes to a file on disk, so that memory holds one.
    """
    buffer = io.BytesIO()
    plain = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
    with xlsxwriter.Workbook(buffer, {"constant_memory": True, **plain}) as book:
        sheet = book.add_worksheet(title)
        bold = book.add_format({"bold": True})
        sheet.freeze_panes(head + 1, 0)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row, bold if number == head else None)
    return buffer.getvalue()
