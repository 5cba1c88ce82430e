"""Reports laid out as values, as a workbook and as pages, in both languages."""

import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from hazardloop.alarms.figures import FIGURES
from hazardloop.reports.charts import drawing
from hazardloop.reports.document import Bars, Document, Note, Table, duration, shown
from hazardloop.reports.formulas import formulas
from hazardloop.reports.headlines import Form
from hazardloop.reports.layout import laid_out
from hazardloop.reports.pages import pages
from hazardloop.reports.words import LANGUAGES, WORDS
from hazardloop.reports.workbook import workbook
from tests.unit.reports import sample

MADE = datetime(2026, 11, 30, 16, 15, tzinfo=UTC)


def document(lang: str = "zh-CN", left: int = 0, **told: Any) -> Document:
    return laid_out(sample.contents(**told), sample.SHA256, (sample.MEMBERS, left), lang)


def text_of(made: Document) -> str:
    """All that its pages say, blanks left out: lines break anywhere."""
    reader = PdfReader(io.BytesIO(pages(made, MADE)))
    return re.sub(r"\s", "", "".join(page.extract_text() for page in reader.pages))


def tables(made: Document, name: str) -> list[Table]:
    title = WORDS[made.lang][f"section_{name}"]
    (section,) = (section for section in made.sections if section.title == title)
    return [block for block in section.blocks if isinstance(block, Table)]


def notes(made: Document) -> str:
    return "\n".join(
        block.text
        for section in made.sections
        for block in section.blocks
        if isinstance(block, Note)
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_row_has_a_value_for_every_column(lang: str) -> None:
    for quiet in (False, True):
        for section in document(lang, quiet=quiet).sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    assert block.rows or block.none, section.title
                    for row in block.rows:
                        assert len(row) == len(block.columns), section.title


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_first_page_says_it_in_one_breath(lang: str) -> None:
    made = document(lang)
    rate = shown(sample.contents()["handling"]["rate"], Form.SHARE, made.zone)
    first = made.sections[0].blocks[0]
    assert isinstance(first, Note)
    assert rate in first.text
    quiet = document(lang, quiet=True).sections[0].blocks[0]
    assert isinstance(quiet, Note)
    assert WORDS[lang]["sentence_none"] in quiet.text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_late_provisional_and_repeated_reports_say_so(lang: str) -> None:
    plain = notes(document(lang))
    late = notes(document(lang, late=True))
    running = notes(document(lang, provisional=True))
    assert late != plain
    assert WORDS[lang]["late"].split("{")[0] in late
    assert WORDS[lang]["provisional"].split("{")[0] in running
    told = sample.contents(version=2, follows={"version": 1, "sha256": "ab"})
    told["differs"] = [{"figure": "rate", "before": None, "after": 0.875}]
    again = laid_out(told, sample.SHA256, ([], 0), lang)
    ((row,),) = (table.rows for table in tables(again, "differs"))
    assert row == (WORDS[lang]["rate"], None, 0.875)


def test_the_notice_list_names_who_was_not_ranked_and_prints_its_formula() -> None:
    made = document()
    (table,) = tables(made, "notice")
    assert len(table.rows) == len(sample.NAMES) - 1
    assert [row[0] for row in table.rows] == list(range(1, len(table.rows) + 1))
    rates = [row[4] for row in table.rows]
    assert rates == sorted(rates)
    assert "瑞祥 & <Partners> Chemicals（E018）" in notes(made)
    for lang in LANGUAGES:
        for _, formula in formulas(sample.contents(), lang):
            assert formula in notes(document(lang))


def test_the_report_of_an_enterprise_tells_of_no_other() -> None:
    for lang in LANGUAGES:
        made = document(lang, own="E002")
        titles = {section.title for section in made.sections}
        assert WORDS[lang]["section_notice"] not in titles
        assert WORDS[lang]["section_enterprises"] not in titles
        assert "安泰" in made.subtitle


def test_shares_of_verdicts_add_up() -> None:
    raised = sample.contents()["handling"]["raised"]
    verdicts = tables(document(), "handling")[-1]
    assert sum(row[1] for row in verdicts.rows) == raised


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        pytest.param(None, Form.SHARE, "—", id="no share out of nothing"),
        pytest.param(0.9999, Form.SHARE, "99.99%", id="a share is not rounded to all"),
        pytest.param(1.0, Form.SHARE, "100.00%", id="all"),
        pytest.param(12_960, Form.COUNT, "12,960", id="a count"),
        pytest.param(90_281.9, Form.SECONDS, "25:04:41", id="more than a day"),
        pytest.param("2026-11-22T16:30:00.000Z", Form.INSTANT, "2026-11-23 00:30", id="local"),
    ],
)
def test_a_value_is_shown_in_its_form(value: Any, form: Form, text: str) -> None:
    assert shown(value, form, document().zone) == text
    assert duration(59.9) == "0:00:59"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
def test_pages_can_be_read(lang: str, kind: str) -> None:
    made = document(lang, kind=kind)
    text = text_of(made)
    words = WORDS[lang]
    for said in (made.title, words["notice_formula"], sample.SHA256, "瑞祥&<Partners>Chemicals"):
        assert re.sub(r"\s", "", said) in text
    for section in made.sections:
        assert (re.sub(r"\s", "", section.title) in text) or not section.on_pages
    assert "■" not in text
    assert pages(made, MADE) == pages(made, MADE)


def test_pages_and_workbook_take_a_period_without_anything() -> None:
    for lang in LANGUAGES:
        made = document(lang, kind="daily", quiet=True)
        assert re.sub(r"\s", "", WORDS[lang]["none_ranked"]) in text_of(made)
        assert load_workbook(io.BytesIO(workbook(made, MADE)))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_workbook_holds_numbers_as_numbers_and_text_as_text(lang: str) -> None:
    made = document(lang, left=7)
    book = load_workbook(io.BytesIO(workbook(made, MADE)))
    assert book.sheetnames == [section.title for section in made.sections]
    cells = {
        cell.value: cell
        for sheet in book.worksheets
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    }
    hazard = next(cell for value, cell in cells.items() if str(value).startswith("=1+1"))
    assert hazard.data_type == "s"
    summary = book.worksheets[0]
    by_word = {row[0].value: row[1] for row in summary.iter_rows()}
    assert by_word[WORDS[lang]["raised"]].value == sample.contents()["handling"]["raised"]
    assert by_word[WORDS[lang]["rate"]].number_format == "0.00%"
    members = book.worksheets[-1]
    assert members.auto_filter.ref
    heads = [cell.value for row in members.iter_rows(max_row=10) for cell in row]
    assert set(FIGURES) <= set(heads)
    assert any("7" in str(value) and "members" in str(value) for value in heads)


def test_a_chart_without_a_bar_is_left_out() -> None:
    nothing = Bars("t", ["a", "b"], {"s": [0, 0]})
    unknown = Bars("t", ["a"], {"s": [None]}, Form.NUMBER, True)
    zero_share = Bars("t", ["a"], {"s": [0.0]}, Form.SHARE, True)
    assert drawing(nothing, 400) is None
    assert drawing(unknown, 400) is None
    assert drawing(zero_share, 400) is not None
