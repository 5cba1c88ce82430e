"""The files of a report, made of what was frozen: each format in each language."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from hazardloop.alarms.facts import Facts
from hazardloop.reports.course import members
from hazardloop.reports.document import Document
from hazardloop.reports.layout import laid_out
from hazardloop.reports.pages import pages
from hazardloop.reports.words import LANGUAGES
from hazardloop.reports.workbook import workbook

FORMATS: Final[Mapping[str, Callable[[Document, datetime], bytes]]] = {
    "pdf": pages,
    "xlsx": workbook,
}
MEDIA_TYPES: Final = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
FILES: Final = tuple((form, lang) for lang in LANGUAGES for form in FORMATS)
"""In the order in which they are made."""
MEMBERS_MOST: Final = 20_000
"""Alarms that a workbook names one by one; the api names all."""


def file_of(text: str, sha256: str, facts: Facts, form: str, lang: str) -> bytes:
    """One file of a report.

    Args:
        text: its contents, as they were hashed.
        sha256: of them.
        facts: that were counted.
        form: a key of FORMATS.
        lang: one of LANGUAGES.
    """
    contents: dict[str, Any] = json.loads(text)
    rows = members(facts, enterprises_of(contents), MEMBERS_MOST)
    document = laid_out(contents, sha256, rows, lang)
    made = datetime.fromisoformat(contents["report"]["frozen_at"])
    return FORMATS[form](document, made)


def enterprises_of(contents: Mapping[str, Any]) -> dict[int, str]:
    """Codes of the enterprises that were counted, by enterprise_id."""
    return {int(number): code for number, code in contents["enterprise_ids"].items()}
