"""The contents of a report laid out as a document in one language."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from hazardloop.alarms.figures import FIGURES
from hazardloop.reports import handled, headlines, standing
from hazardloop.reports.course import MEMBER
from hazardloop.reports.document import (
    Block,
    Column,
    Document,
    Note,
    Row,
    Section,
    Table,
    local,
    shown,
)
from hazardloop.reports.formulas import formulas
from hazardloop.reports.headlines import Form
from hazardloop.reports.telling import Telling
from hazardloop.reports.words import WORDS

DIGEST_SHOWN: Final = 12
"""So much of the digest stands at the foot of each page; all of it on the first."""


def laid_out(
    contents: Mapping[str, Any],
    sha256: str,
    members: tuple[Sequence[Row], int],
    lang: str,
) -> Document:
    """The document in `lang`.

    Args:
        contents: as `service/report_figures.py` gathers them.
        sha256: of the contents.
        members: rows of MEMBER and FIGURES, and how many more there are.
        lang: one of LANGUAGES.
    """
    told = contents["report"]
    zone = ZoneInfo(told["time_zone"])
    telling = Telling(contents, lang, zone)
    words = WORDS[lang]
    title = words[f"title_{told['kind']}"]
    scope = _scope(telling, words)
    days = {"first": told["first"], "last": told["last"], "zone": told["time_zone"]}
    period = words["day" if told["first"] == told["last"] else "period"].format(**days)
    version = told["version"]
    sha = f"SHA-256 {sha256[:DIGEST_SHOWN]}…"
    footer = words["footer"].format(
        title=title, scope=scope, period=period, version=version, sha=sha
    )
    parts = [
        _summary(telling, sha256),
        handled.handling(telling),
        handled.response(telling),
        handled.notice(telling),
        handled.enterprises(telling),
        standing.alarm_system(telling),
        standing.connectivity(telling),
        standing.hazards(telling),
        standing.overdue(telling),
        _differs(telling),
        _formulas(telling),
        _members(telling, members),
    ]
    told_of = [part for part in parts if part is not None]
    return Document(title, f"{scope} · {period}", lang, zone, footer, told_of)


def _scope(telling: Telling, words: Mapping[str, str]) -> str:
    enterprise = telling.contents["report"]["enterprise"]
    return words["district"] if enterprise is None else telling.enterprise(enterprise["code"])


def _summary(telling: Telling, sha256: str) -> Section:
    """What a manager reads aloud, the figures of the first page, and what they are worth."""
    words, contents = telling.words, telling.contents
    blocks: list[Block] = [Note(sentence(telling), strong=True), *_warnings(telling)]
    rows = [
        (
            words[one.word],
            headlines.value_of(contents, one),
            headlines.value_of(contents["previous"], one),
            one.members or "",
        )
        for one in headlines.SUMMARY
    ]
    forms = [one.form for one in headlines.SUMMARY]
    blocks.append(
        Table(
            (
                Column(words["figure"], weight=3),
                Column(words["this"], weight=1.3, forms=forms),
                Column(words["before"], weight=1.3, forms=forms),
                Column(words["members"], weight=1.4),
            ),
            rows,
        )
    )
    address = telling.address
    sheet = words["section_members"]
    blocks += [
        Note(words["now_note"]),
        Note(words["member_note"].format(address=address, sheet=sheet)),
        Note(words["sha256"].format(sha256=sha256)),
    ]
    return Section(words["section_summary"], blocks)


def sentence(telling: Telling) -> str:
    """The report in one breath."""
    words, contents, zone = telling.words, telling.contents, telling.zone
    figures = {
        one.word: shown(headlines.value_of(contents, one), one.form, zone) for one in headlines.ALL
    }
    first = "sentence" if contents["handling"]["raised"] else "sentence_none"
    now = words["sentence_now"].format(
        overdue=figures["overdue_cases"],
        hazards=figures["hazards_overdue"],
        online=figures["online_rate"],
    )
    gap = "" if telling.lang == "zh-CN" else " "
    return words[first].format(**figures) + gap + now


def _warnings(telling: Telling) -> list[Note]:
    """Version, instant, and whatever makes this report another than it should be."""
    words, told, zone = telling.words, telling.contents["report"], telling.zone
    at = local(told["frozen_at"], zone)
    version = words["version"].format(version=told["version"])
    notes = [Note(f"{version} · {words['frozen'].format(at=at)}")]
    if told["provisional"]:
        notes.append(Note(words["provisional"].format(at=at), strong=True))
    if told["late"]:
        due = local(told["due_at"], zone)
        notes.append(Note(words["late"].format(due=due, at=at), strong=True))
    if told["follows"] is not None:
        said = {
            "by": told["asked_by"],
            "at": local(told["asked_at"], zone),
            "version": told["follows"]["version"],
            "section": words["section_differs"],
        }
        notes.append(Note(words["replaces"].format(**said)))
    return notes


def _differs(telling: Telling) -> Section | None:
    """Each figure that is another than in the version before; None of a first version."""
    words, contents = telling.words, telling.contents
    if contents["report"]["follows"] is None:
        return None
    forms_of = {one.word: one.form for one in headlines.ALL}
    differs = contents["differs"]
    forms = [forms_of[one["figure"]] for one in differs]
    columns = (
        Column(words["figure"], weight=3),
        Column(words["was"], forms=forms),
        Column(words["is"], forms=forms),
    )
    rows = [(words[one["figure"]], one["before"], one["after"]) for one in differs]
    none = words["no_differences"]
    return Section(words["section_differs"], [Table(columns, rows, none=none)])


def _formulas(telling: Telling) -> Section:
    words = telling.words
    notes = [
        Note(f"{words[f'{name}_formula']}：{text}" if telling.lang == "zh-CN" else
             f"{words[f'{name}_formula']}: {text}")
        for name, text in formulas(telling.contents, telling.lang)
    ]  # fmt: skip
    return Section(words["section_formulas"], [*notes, Note(words["on_time_rate_formula"])])


def _members(telling: Telling, members: tuple[Sequence[Row], int]) -> Section:
    """Every alarm of the period, with 1 in the column of each figure that counts it."""
    words = telling.words
    rows, left = members
    titles = (*(words[name] for name in MEMBER[1:]), words["alarm"], *FIGURES)
    columns = [
        Column(title, Form.COUNT if nth > len(MEMBER) - 1 else Form.TEXT)
        for nth, title in enumerate(titles)
    ]
    blocks: list[Block] = [
        Table(columns, [_member(telling, row) for row in rows], none=words["no_alarms"])
    ]
    if left:
        rest = words["member_rest"].format(left=left, address=telling.address)
        blocks.insert(0, Note(rest, strong=True))
    return Section(words["section_members"], blocks, on_pages=False)


def _member(telling: Telling, row: Row) -> Row:
    """Read by people first: when, where, what; the id after it."""
    alarm_id, raised_at, enterprise, area, kind, tier, verdict, *marks = row
    at = datetime.fromisoformat(raised_at).astimezone(telling.zone)
    when = at.isoformat(" ", "milliseconds")
    words = telling.words
    told = (telling.kind(kind), words[f"tier_{tier}"], words[f"verdict_{verdict}"])
    return (when, enterprise, area, *told, alarm_id, *marks)
