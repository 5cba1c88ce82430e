"""A document as PDF pages: A4, the title first, the report's version and hash under each page."""

import io
from datetime import datetime
from itertools import groupby
from typing import Any, Final, TypeAlias
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import (
    CondPageBreak,
    KeepTogether,
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    TableStyle,
)

from hazardloop.reports.charts import HAN, HEAD, INK, LATIN, LINES, drawing, font_of
from hazardloop.reports.document import Bars, Block, Document, Note, Section, Table, shown
from hazardloop.reports.headlines import Form
from hazardloop.reports.words import WORDS

Flowable: TypeAlias = Any

BAND: Final = HexColor("#E8EEF4")
MARGIN: Final = 18 * mm
FRAME_PADDING: Final = 6.0
WIDTH: Final = A4[0] - 2 * MARGIN - 2 * FRAME_PADDING
ROOM_FOR_SECTION: Final = 55 * mm
ROOM_FOR_TABLE: Final = 30 * mm
"""With less than so much left of a page, it begins on the next one."""
KEPT_ROWS: Final = 12
"""A table of so few rows is not torn apart."""


def pages(document: Document, made: datetime) -> bytes:
    """The bytes of the file. `made` stands in the contents, not in the file's own dates."""
    pdfmetrics.registerFont(UnicodeCIDFont(HAN))
    buffer = io.BytesIO()
    template = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=16 * mm,
        bottomMargin=18 * mm,
        title=document.title,
        author="HazardLoop",
        subject=document.subtitle,
        lang=document.lang,
        invariant=True,
    )
    writer = _Writer(document)
    template.build(writer.story(), onFirstPage=writer.foot, onLaterPages=writer.foot)
    return buffer.getvalue()


class _Writer:
    """Turns blocks into what flows over the pages."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.chinese = document.lang == "zh-CN"
        usual = ParagraphStyle(
            "usual", fontName=HAN if self.chinese else LATIN, fontSize=9, leading=13.5,
            textColor=INK, wordWrap="CJK" if self.chinese else None,
        )  # fmt: skip
        self.styles = {
            "usual": usual,
            "note": ParagraphStyle("note", usual, spaceAfter=3),
            "strong": ParagraphStyle("strong", usual, fontSize=10, leading=15, spaceAfter=4,
                                     backColor=BAND, borderPadding=3),
            "title": ParagraphStyle("title", usual, fontSize=18, leading=24, textColor=HEAD),
            "section": ParagraphStyle("section", usual, fontSize=13, leading=18, textColor=HEAD,
                                      spaceBefore=10, spaceAfter=4,),
            "heading": ParagraphStyle("heading", usual, fontSize=10, leading=14, textColor=HEAD,
                                      spaceBefore=6, spaceAfter=2,),
            "cell": ParagraphStyle("cell", usual, fontSize=8, leading=11),
            "foot": ParagraphStyle("foot", usual, fontSize=7, leading=9),
            "head": ParagraphStyle("head", usual, fontSize=8, leading=11, textColor=HEAD),
        }  # fmt: skip
        self.styles["number"] = ParagraphStyle("number", self.styles["cell"], alignment=TA_RIGHT)
        self.styles["head_of_number"] = ParagraphStyle(
            "head_of_number", self.styles["head"], alignment=TA_RIGHT
        )

    def story(self) -> list[Flowable]:
        """Everything, in order."""
        flow: list[Flowable] = [
            self.paragraph(self.document.title, "title"),
            self.paragraph(self.document.subtitle, "note"),
        ]
        for section in self.document.sections:
            if section.on_pages:
                flow += self.section(section)
        return flow

    def section(self, section: Section) -> list[Flowable]:
        """A heading and its blocks."""
        groups = [self.block(block) for block in section.blocks]
        groups[0] = [self.paragraph(section.title, "section"), *groups[0]]
        flow: list[Flowable] = [CondPageBreak(ROOM_FOR_SECTION)]
        for group, block in zip(groups, section.blocks, strict=True):
            if isinstance(block, Table) and len(block.rows) > KEPT_ROWS:
                flow += [CondPageBreak(ROOM_FOR_TABLE), *group]
            else:
                flow.append(KeepTogether(group))
        return flow

    def block(self, block: Block) -> list[Flowable]:
        """A paragraph, a table or a chart, which begin on one page."""
        if isinstance(block, Note):
            return [self.paragraph(block.text, "strong" if block.strong else "note")]
        if isinstance(block, Table):
            return self.table(block)
        return self.bars(block)

    def bars(self, bars: Bars) -> list[Flowable]:
        """A chart; nothing where there is nothing to draw."""
        drawn = drawing(bars, WIDTH)
        return [] if drawn is None else [Spacer(1, 6), drawn, Spacer(1, 4)]

    def table(self, table: Table) -> list[Flowable]:
        """Its title, and its rows under a head that is repeated on every page."""
        title = [self.paragraph(table.title, "heading")] if table.title else []
        if not table.rows:
            return [*title, self.paragraph(table.none, "note")]
        weights = [column.weight for column in table.columns]
        widths = [WIDTH * weight / sum(weights) for weight in weights]
        head = [
            self.paragraph(
                column.title, "head" if column.form_of(0) is Form.TEXT else "head_of_number"
            )
            for column in table.columns
        ]
        rows = [
            [
                self.cell(value, column.form_of(nth))
                for column, value in zip(table.columns, values, strict=True)
            ]
            for nth, values in enumerate(table.rows)
        ]
        drawn = LongTable([head, *rows], widths, repeatRows=1, style=GRID)
        return [*title, drawn, Spacer(1, 6)]

    def cell(self, value: Any, form: Form) -> Flowable:
        """A value; numbers stand at the right."""
        text = shown(value, form, self.document.zone)
        return self.paragraph(text, "cell" if form is Form.TEXT else "number")

    def paragraph(self, text: str, style: str) -> Paragraph:
        """`text` in a style, each run of letters in a font that has them."""
        if self.chinese:
            return Paragraph(escape(text), self.styles[style])
        marked = "".join(
            f'<font name="{font}">{escape("".join(run))}</font>'
            for font, run in groupby(text, font_of)
        )
        return Paragraph(marked, self.styles[style])

    def foot(self, canvas: Any, template: Any) -> None:
        """What stands under each page."""
        words = WORDS[self.document.lang]
        canvas.saveState()
        canvas.setStrokeColor(LINES)
        canvas.line(MARGIN, 14 * mm, A4[0] - MARGIN, 14 * mm)
        number = words["page"].format(page=canvas.getPageNumber())
        for text, style, room in (
            (self.document.footer, "foot", WIDTH - 60),
            (number, "number", WIDTH + 2 * FRAME_PADDING),
        ):
            paragraph = self.paragraph(text, style)
            _, height = paragraph.wrap(room, 30)
            paragraph.drawOn(canvas, MARGIN, 13 * mm - height)
        canvas.restoreState()


GRID: Final = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.4, LINES),
        ("BACKGROUND", (0, 0), (-1, 0), BAND),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ]
)
