"""Both languages say the same things."""

import re
import string
from pathlib import Path

import hazardloop.reports
from hazardloop.alarms.alarm import Verdict
from hazardloop.alarms.deadlines import Duty
from hazardloop.alarms.figures import STAGES
from hazardloop.alarms.hazard import Grade, Station
from hazardloop.reports import headlines
from hazardloop.reports.formulas import ZH as FORMULAS
from hazardloop.reports.handled import STATIONS
from hazardloop.reports.period import Kind
from hazardloop.reports.words import EN, WORDS, ZH

CODE = "\n".join(
    file.read_text(encoding="utf-8")
    for file in Path(hazardloop.reports.__path__[0]).glob("*.py")
    if file.name != "words.py"
)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_words_with_the_same_fields() -> None:
    assert ZH.keys() == EN.keys()
    for word in ZH:
        assert ZH[word].strip()
        assert EN[word].strip()
        assert fields(ZH[word]) == fields(EN[word]), word


def test_chinese_words_are_chinese() -> None:
    plain = {word for word, text in ZH.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert {word for word in plain if not word.startswith("ref_")} == {"day"}


def test_every_value_that_is_shown_by_name_has_a_word() -> None:
    named = {
        "": [one.word for one in headlines.ALL],
        "title_": Kind,
        "verdict_": [*Verdict, ""],
        "grade_": Grade,
        "station_": Station,
        "duty_": Duty,
        "stage_": STAGES,
    }
    for prefix, names in named.items():
        for name in names:
            assert f"{prefix}{name}" in ZH
    assert set(STATIONS) == set(STAGES)
    assert {f"{name}_formula" for name in FORMULAS} <= ZH.keys()


def test_every_word_is_used() -> None:
    built = ("title_", "verdict_", "grade_", "station_", "duty_", "stage_", "tier_", "ref_",
             "section_")  # fmt: skip
    figures = {one.word for one in headlines.ALL}
    unused = {
        word
        for word in WORDS["en"]
        if not word.startswith(built)
        and not word.endswith("_formula")
        and word not in figures
        and not re.search(f"[\"']{word}[\"']", CODE)
    }
    assert unused == set()
