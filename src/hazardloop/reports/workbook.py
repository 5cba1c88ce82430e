"""A document as an XLSX workbook: a sheet for each section, with native charts."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import xlsxwriter

from hazardloop.reports.document import Bars, Block, Column, Document, Note, Section, Table
from hazardloop.reports.headlines import Form

Formats: TypeAlias = Mapping[Any, Any]

FONT: Final = "宋体"
INK: Final = "#1D2733"
HEAD: Final = "#24476B"
BAND: Final = "#E8EEF4"
LINES: Final = "#C8D2DC"
SERIES: Final = ("#24476B", "#E0922F")
WIDEST_NOTE: Final = 10
"""Columns over which a paragraph is written, at most."""
UNIT: Final = 12.0
"""Characters of a column of weight 1."""
LINE_PT: Final = 15.0
CHART_ROWS: Final = 17
PIXELS_OF_ROW: Final = 20
NUMBERS: Final = {
    Form.COUNT: "#,##0",
    Form.SHARE: "0.00%",
    Form.NUMBER: "#,##0.000",
    Form.SECONDS: "[h]:mm:ss",
    Form.INSTANT: "yyyy-mm-dd hh:mm",
}
DAY_S: Final = 86_400.0
BESIDE: Final = 40
"""First column of the numbers that charts take; right of every table, hidden."""


def workbook(document: Document, made: datetime) -> bytes:
    """The bytes of the workbook, which was `made` at that instant."""
    buffer = io.BytesIO()
    # What people wrote is text, whatever it begins with.
    plain = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
    with xlsxwriter.Workbook(buffer, {"in_memory": True, **plain}) as book:
        book.set_properties(
            {
                "title": document.title,
                "subject": document.subtitle,
                "comments": document.footer,
                "created": made.replace(tzinfo=None),
            }
        )
        formats = _formats(book)
        for section in document.sections:
            _write_section(book, formats, document, section)
    return buffer.getvalue()


def _formats(book: Any) -> Formats:
    usual = {"font_name": FONT, "font_size": 10, "font_color": INK, "valign": "top"}
    boxed = usual | {"border": 1, "border_color": LINES}
    made: dict[Any, dict[str, Any]] = {
        "title": usual | {"font_size": 16, "bold": True, "font_color": HEAD},
        "subtitle": usual,
        "heading": usual | {"font_size": 12, "bold": True, "font_color": HEAD},
        "note": usual | {"text_wrap": True},
        "strong": usual | {"text_wrap": True, "bold": True},
        "head": boxed | {"bold": True, "bg_color": BAND, "text_wrap": True},
        "none": boxed | {"align": "right"},
        Form.TEXT: boxed | {"text_wrap": True},
    }
    for form, number in NUMBERS.items():
        made[form] = boxed | {"num_format": number, "align": "right"}
    return {name: book.add_format(one) for name, one in made.items()}


def _write_section(book: Any, formats: Formats, document: Document, section: Section) -> None:
    sheet = book.add_worksheet(section.title)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    widths = _widths(tables)
    for nth, width in enumerate(widths):
        sheet.set_column(nth, nth, width)
    sheet.set_paper(9)  # A4
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.hide_gridlines(2)
    sheet.set_footer(f"&L&8{document.footer.replace('&', '&&')}&R&8&P / &N")
    sheet.set_row(0, 24)
    sheet.write_string(0, 0, document.title, formats["title"])
    sheet.write_string(1, 0, f"{document.subtitle} · {section.title}", formats["subtitle"])
    row = 3
    for block in section.blocks:
        row = _write_block(book, sheet, formats, document, widths, row, block)
    sheet.print_area(0, 0, row, len(widths) - 1)
    sheet.set_column(BESIDE, BESIDE + len(SERIES), None, None, {"hidden": True})
    if not section.on_pages and len(tables) == 1:
        _filtered(sheet, tables[0], row)


def _widths(tables: Sequence[Table]) -> list[float]:
    """Of each column, the width in characters that its widest table wants."""
    across = max([WIDEST_NOTE, *(len(table.columns) for table in tables)])
    widths = [UNIT] * across
    for table in tables:
        for nth, column in enumerate(table.columns):
            widths[nth] = max(widths[nth], UNIT * column.weight)
    return widths


def _write_block(
    book: Any,
    sheet: Any,
    formats: Formats,
    document: Document,
    widths: Sequence[float],
    row: int,
    block: Block,
) -> int:
    """The row after the block and a free one."""
    if isinstance(block, Note):
        chars = sum(widths[:WIDEST_NOTE])
        sheet.set_row(row, LINE_PT * _lines(block.text, chars))
        style = formats["strong" if block.strong else "note"]
        sheet.merge_range(row, 0, row, WIDEST_NOTE - 1, block.text, style)
        return row + 1
    if isinstance(block, Table):
        return _write_table(sheet, formats, document, row, block)
    return _write_bars(book, sheet, row, block)


def _lines(text: str, chars: float) -> int:
    """Lines that `text` takes where so many narrow letters fit into one; Chinese ones are twice
    as wide.
    """
    wide = sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
    return int(wide / (chars * 0.95)) + 1


def _write_table(sheet: Any, formats: Formats, document: Document, row: int, table: Table) -> int:
    if table.title:
        sheet.write_string(row, 0, table.title, formats["heading"])
        row += 1
    if not table.rows:
        sheet.write_string(row, 0, table.none, formats["subtitle"])
        return row + 2
    for nth, column in enumerate(table.columns):
        sheet.write_string(row, nth, column.title, formats["head"])
    for number, values in enumerate(table.rows):
        for nth, (column, value) in enumerate(zip(table.columns, values, strict=True)):
            _write_cell(sheet, formats, document, (row + 1 + number, nth), column, number, value)
    return row + len(table.rows) + 2


def _write_cell(
    sheet: Any,
    formats: Formats,
    document: Document,
    at: tuple[int, int],
    column: Column,
    number: int,
    value: Any,
) -> None:
    """A number as a number, an instant as the clocks of the report's zone show it."""
    form = column.form_of(number)
    if value is None:
        sheet.write_string(*at, "—", formats["none"])
    elif form is Form.TEXT:
        sheet.write_string(*at, str(value), formats[form])
    elif form is Form.INSTANT:
        local = datetime.fromisoformat(value).astimezone(document.zone).replace(tzinfo=None)
        sheet.write_datetime(*at, local, formats[form])
    else:
        told = value / DAY_S if form is Form.SECONDS else value
        sheet.write_number(*at, told, formats[form])


def _filtered(sheet: Any, table: Table, past: int) -> None:
    """A long table alone on its sheet can be filtered, and keeps its heads in sight."""
    if not table.rows:
        return
    first = past - len(table.rows) - 2
    sheet.autofilter(first, 0, first + len(table.rows), len(table.columns) - 1)
    sheet.freeze_panes(first + 1, 0)


def _write_bars(book: Any, sheet: Any, row: int, bars: Bars) -> int:
    """A native chart."""
    chart = book.add_chart({"type": "bar" if bars.lying else "column"})
    last = row + len(bars.categories)
    name = sheet.get_name()
    sheet.write_column(row + 1, BESIDE, bars.categories)
    for nth, (title, values) in enumerate(bars.series.items(), start=1):
        sheet.write_string(row, BESIDE + nth, title)
        for number, value in enumerate(values):
            if value is not None:
                sheet.write_number(row + 1 + number, BESIDE + nth, value)
        chart.add_series(
            {
                "name": [name, row, BESIDE + nth],
                "categories": [name, row + 1, BESIDE, last, BESIDE],
                "values": [name, row + 1, BESIDE + nth, last, BESIDE + nth],
                "fill": {"color": SERIES[nth - 1]},
                "gap": 60,
            }
        )
    chart.set_title({"name": bars.title, "name_font": {"size": 11, "color": HEAD}})
    value_axis = {"min": 0, "major_gridlines": {"visible": True, "line": {"color": LINES}}}
    if bars.form is Form.SHARE:
        value_axis |= {"max": 1, "num_format": "0%"}
    if bars.lying:
        chart.set_y_axis({"reverse": True})
        chart.set_x_axis(value_axis | {"label_position": "high"})
    else:
        chart.set_y_axis(value_axis)
    chart.show_hidden_data()
    chart.set_legend({"position": "bottom"} if len(bars.series) > 1 else {"none": True})
    rows = max(CHART_ROWS, len(bars.categories) + 4 if bars.lying else 0)
    chart.set_size({"width": 860, "height": rows * PIXELS_OF_ROW})
    sheet.insert_chart(row, 0, chart)
    return row + rows + 1
