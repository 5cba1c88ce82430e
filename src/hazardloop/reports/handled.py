"""The parts of a report that tell how alarms were handled and answered, and by whom worst."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from hazardloop.reports import headlines
from hazardloop.reports.course import verdicts_of
from hazardloop.reports.document import Bars, Block, Column, Note, Section, Table
from hazardloop.reports.headlines import Form
from hazardloop.reports.telling import Telling

WORST_SHOWN: Final = 15
"""Enterprises in the chart of rates."""
STATIONS: Final = (
    "acknowledged",
    "signed_by_enterprise",
    "signed_by_authority",
    "signed",
    "verified",
    "submitted",
    "closed",
)
"""In the order in which an alarm usually comes to them."""
QUICK: Final = STATIONS[:5]
"""Those that take minutes; the others take days and would flatten them in one chart."""
TIERS: Final = ("red", "orange", "yellow", "blue")

GROUP: Final = (
    ("raised", Form.COUNT),
    ("closed", Form.COUNT),
    ("rate", Form.SHARE),
    ("on_time_rate", Form.SHARE),
    ("response_rate", Form.SHARE),
    ("returned", Form.COUNT),
    ("reopened", Form.COUNT),
)
"""What is told of each group."""


def _groups(telling: Telling, by: str, named: Iterable[tuple[str, str]], title: str) -> Table:
    """A row for each group that there is, in the order of `named`: key and name."""
    words = telling.words
    found = {one["key"]: one for one in telling.contents["by"][by]}
    columns = [Column(words[by], weight=2.4)] + [Column(words[name], form) for name, form in GROUP]
    rows = [
        (name, *(found[key][figure] for figure, _ in GROUP)) for key, name in named if key in found
    ]
    return Table(columns, rows, title, words["no_alarms"])


def handling(telling: Telling) -> Section:
    """How what was raised was handled: figures, course, tiers, kinds, verdicts."""
    words, contents = telling.words, telling.contents
    kinds = sorted((one["key"], telling.kind(one["key"])) for one in contents["by"]["kind"])
    tiers = [(tier, words[f"tier_{tier}"]) for tier in TIERS]
    blocks: list[Block] = [telling.figures(headlines.HANDLED), _course(telling)]
    blocks += [
        _groups(telling, "tier", tiers, words["handling_by_tier"]),
        _groups(telling, "kind", kinds, words["handling_by_kind"]),
        _verdicts(telling),
    ]
    return telling.part("handling", blocks)


def _course(telling: Telling) -> Bars:
    told = telling.contents["course"]
    daily = telling.contents["report"]["kind"] == "daily"
    form = "%H" if daily else "%m-%d"
    at = [datetime.fromisoformat(one).astimezone(telling.zone).strftime(form) for one in told["at"]]
    series = {telling.words[name]: told[name] for name in ("raised", "closed")}
    return Bars(telling.words["course_hours" if daily else "course_days"], at, series)


def _verdicts(telling: Telling) -> Table:
    """The mix of verdicts; what is not verified is told, too, so that the shares add up."""
    words, figures = telling.words, telling.contents["handling"]
    told = verdicts_of(figures)
    told.append(("", figures["raised"] - sum(count for _, count in told)))
    raised = figures["raised"]
    rows = [
        (words[f"verdict_{name}"], count, count / raised if raised else None,
         f"verdict_{name}" if name else "")
        for name, count in told
    ]  # fmt: skip
    columns = (
        Column(words["verdict"], weight=3),
        Column(words["count"], Form.COUNT),
        Column(words["share"], Form.SHARE),
        Column(words["members"], weight=1.6),
    )
    return Table(columns, rows, words["verdicts"])


def response(telling: Telling) -> Section:
    """How fast alarms were answered, and how long each stage took."""
    words = telling.words
    stages = telling.contents["response"]["stages"]
    columns = (
        Column(words["station"], weight=2.4),
        Column(words["of"], Form.COUNT),
        *(Column(words[name], Form.SECONDS) for name in ("p50", "p90", "worst")),
    )
    rows = [
        (words[f"stage_{name}"], stages[name]["of"],
         *(stages[name][f"{part}_s"] for part in ("p50", "p90", "worst")))
        for name in STATIONS
    ]  # fmt: skip
    series = {
        words[part]: [_minutes(stages[name][f"{part}_s"]) for name in QUICK]
        for part in ("p50", "p90")
    }
    chart = Bars(
        words["stage_chart"], [words[f"stage_{name}"] for name in QUICK], series, Form.NUMBER, True
    )
    told = Table(columns, rows, words["stage_times"])
    return telling.part("response", [telling.figures(headlines.ANSWERED), told, chart])


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 1)


RANKED: Final = (
    ("raised", Form.COUNT),
    ("closed", Form.COUNT),
    ("rate", Form.SHARE),
    ("on_time_rate", Form.SHARE),
    ("response_rate", Form.SHARE),
    ("online_rate", Form.SHARE),
    ("overdue_cases", Form.COUNT),
    ("hazards_overdue", Form.COUNT),
)


def notice(telling: Telling) -> Section | None:
    """The notice list (通报); None in the report of one enterprise."""
    words, contents = telling.words, telling.contents
    if "notice" not in contents:
        return None
    told = contents["notice"]
    columns = [Column(words["rank"], Form.COUNT, 0.6), Column(words["enterprise"], weight=3.2)]
    columns += [Column(words[name], form) for name, form in RANKED]
    rows = [
        (one["rank"], telling.enterprise(one["enterprise"]), *(one[name] for name, _ in RANKED))
        for one in told["ranked"]
    ]
    blocks: list[Block] = [Note(told["formula"][telling.lang])]
    blocks.append(Table(columns, rows, none=words["none_ranked"]))
    if told["unranked"]:
        named = "、" if telling.lang == "zh-CN" else ", "
        listed = named.join(telling.enterprise(code) for code in told["unranked"])
        blocks.append(Note(f"{words['unranked']}：{listed}" if telling.lang == "zh-CN" else
                           f"{words['unranked']}: {listed}"))  # fmt: skip
    return telling.part("notice", blocks)


def enterprises(telling: Telling) -> Section | None:
    """Handling by enterprise; None in the report of one of them."""
    words, contents = telling.words, telling.contents
    if "notice" not in contents:
        return None
    listed = sorted(contents["enterprises"])
    named = [(code, telling.enterprise(code)) for code in listed]
    blocks: list[Block] = []
    worst = contents["notice"]["ranked"][:WORST_SHOWN]
    if worst:
        rates = {words["rate"]: [one["rate"] for one in worst]}
        names = [contents["enterprises"].get(one["enterprise"], "") for one in worst]
        title = words["rates_worst"].format(most=len(worst))
        blocks.append(Bars(title, names, rates, Form.SHARE, True))
    blocks.append(_groups(telling, "enterprise", named, ""))
    return telling.part("enterprises", blocks)
