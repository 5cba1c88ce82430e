"""What is told, in which language: names, words and the tables that many parts share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from hazardloop.reports import headlines
from hazardloop.reports.document import Block, Column, Section, Table, local
from hazardloop.reports.headlines import Headline
from hazardloop.reports.words import WORDS


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told, and in which language."""

    contents: Mapping[str, Any]
    lang: str
    zone: ZoneInfo

    @property
    def words(self) -> Mapping[str, str]:
        """Of the language."""
        return WORDS[self.lang]

    @property
    def address(self) -> str:
        """Where the api has the report."""
        return f"/api/v1/reports/{self.contents['report']['id']}"

    def kind(self, code: str) -> str:
        """The name of a kind of device; its code where it has none any more."""
        names = self.contents["kinds"].get(code)
        return code if names is None else str(names["zh" if self.lang == "zh-CN" else "en"])

    def enterprise(self, code: str) -> str:
        """Name and code."""
        name = self.contents["enterprises"].get(code)
        if not name:
            return code
        return f"{name}（{code}）" if self.lang == "zh-CN" else f"{name} ({code})"

    def instant(self, told: str | None) -> str:
        """In the report's time zone."""
        return "—" if told is None else local(told, self.zone)

    def part(self, name: str, blocks: Sequence[Block]) -> Section:
        """A section by that name."""
        return Section(self.words[f"section_{name}"], blocks)

    def figures(self, which: Iterable[Headline], *, reference: bool = False) -> Table:
        """A row for each figure."""
        chosen = list(which)
        forms = [one.form for one in chosen]
        columns = [
            Column(self.words["figure"], weight=3),
            Column(self.words["this"], weight=1.3, forms=forms),
            Column(self.words["reference" if reference else "members"], weight=1.6),
        ]
        beside = [
            self.words.get(f"ref_{one.word}", "") if reference else one.members or ""
            for one in chosen
        ]
        rows = [
            (self.words[one.word], headlines.value_of(self.contents, one), more)
            for one, more in zip(chosen, beside, strict=True)
        ]
        if not any(beside):
            return Table(columns[:-1], [row[:-1] for row in rows])
        return Table(columns, rows)
