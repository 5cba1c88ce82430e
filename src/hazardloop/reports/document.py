"""A report laid out as values: titles, tables and charts, before anything is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from hazardloop.reports.headlines import Form

Row: TypeAlias = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `weight` is its share of the width."""

    title: str
    form: Form = Form.TEXT
    weight: float = 1.0
    forms: Sequence[Form] = ()
    """Of each row, where the rows are of different forms."""

    def form_of(self, nth: int) -> Form:
        """How the value in row `nth` is shown."""
        return self.forms[nth] if self.forms else self.form


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under titled columns; `none` is said where there are none."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    none: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart; each of `series` has one value per category, None = no bar."""

    title: str
    categories: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    form: Form = Form.COUNT
    lying: bool = False
    """Bars that lie, the first category on top: for long names."""


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph."""

    text: str
    strong: bool = False


Block: TypeAlias = Table | Bars | Note


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a sheet of the workbook, a heading on the pages."""

    title: str
    blocks: Sequence[Block]
    on_pages: bool = True
    """False: too long to be printed, it is in the workbook alone."""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report in one language."""

    title: str
    subtitle: str
    lang: str
    zone: ZoneInfo
    footer: str
    sections: Sequence[Section] = field(default_factory=tuple)


def shown(value: Any, form: Form, zone: ZoneInfo) -> str:
    """`value` as text: `—` where there is none."""
    if value is None:
        return "—"
    if form is Form.COUNT:
        return f"{value:,}"
    if form is Form.SHARE:
        return f"{value * 100:.2f}%"
    if form is Form.NUMBER:
        return f"{value:,.3f}"
    if form is Form.SECONDS:
        return duration(value)
    if form is Form.INSTANT:
        return local(value, zone)
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as `h:mm:ss`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def local(instant: str, zone: ZoneInfo) -> str:
    """An instant in RFC 3339 as the clocks of `zone` show it, to the minute."""
    return datetime.fromisoformat(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M")
