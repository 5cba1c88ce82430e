"""The parts of a report that tell how the alarm system, the devices and open matters stand."""

from collections.abc import Sequence
from typing import Any

from hazardloop.reports import headlines
from hazardloop.reports.document import Block, Column, Note, Section, Table
from hazardloop.reports.headlines import Form
from hazardloop.reports.telling import Telling


def alarm_system(telling: Telling) -> Section:
    """What EEMUA 191 and ISA-18.2 look at."""
    words, told = telling.words, telling.contents["alarm_system"]
    floods = Table(
        (
            Column(words["from"], Form.INSTANT, 1.3),
            Column(words["to"], Form.INSTANT, 1.3),
            Column(words["count"], Form.COUNT, 0.7),
            Column(words["peak"], Form.COUNT),
            Column(words["first_out"], weight=2.6),
        ),
        [tuple(one[key] for key in ("from", "to", "alarms", "peak", "first_out"))
         for one in told["floods"]],
        words["floods"],
        words["no_floods"],
    )  # fmt: skip
    sources = Table(
        (
            Column(words["enterprise"]),
            Column(words["point"], weight=1.6),
            Column(words["rule"], weight=2.4),
            Column(words["count"], Form.COUNT, 0.7),
            Column(words["chatters"], weight=0.7),
        ),
        [(one["enterprise"], f"{one['device']}.{one['quantity']}", one["rule_id"], one["alarms"],
          words["yes"] if one["chattering"] else "")
         for one in told["sources"]],
        words["sources"],
        words["no_sources"],
    )  # fmt: skip
    figures = telling.figures(headlines.ALARM_SYSTEM, reference=True)
    seats = Note(words["seats_note"].format(seats=told["seats"]))
    return telling.part("alarm_system", [seats, figures, floods, sources])


def connectivity(telling: Telling) -> Section:
    """What reports, how steadily, and how long it was blind."""
    words, told = telling.words, telling.contents["connectivity"]
    days = {"first": told["from"], "last": told["to"], "as_of": telling.instant(told["as_of"])}
    blocks: list[Block] = [
        Note(words["days_none" if told["as_of"] is None else "days_note"].format(**days)),
        telling.figures(headlines.CONNECTIVITY),
    ]
    if "notice" in telling.contents:
        blocks.append(_by_enterprise(telling))
    missing = [(telling.enterprise(one["enterprise"]), one["hazard_unit"])
               for one in told["missing"]]  # fmt: skip
    worst = [
        (one["enterprise"], one["device"], telling.kind(one["kind"]), one["online_rate"],
         one["blind_minutes"])
        for one in told["worst"]
    ]  # fmt: skip
    columns = (Column(words["enterprise"], weight=2), Column(words["hazard_unit"]))
    blocks.append(Table(columns, missing, words["missing_units"], words["no_missing_units"]))
    of_device = (
        Column(words["enterprise"]),
        Column(words["device"]),
        Column(words["kind"]),
        Column(words["online_rate"], Form.SHARE),
        Column(words["blind_minutes"], Form.COUNT),
    )
    blocks.append(Table(of_device, worst, words["worst_devices"], words["no_worst_devices"]))
    return telling.part("connectivity", blocks)


def _by_enterprise(telling: Telling) -> Table:
    words = telling.words
    shown = (
        ("devices", Form.COUNT),
        ("reporting", Form.COUNT),
        ("online_rate", Form.SHARE),
        ("in_service_rate", Form.SHARE),
        ("blind_minutes", Form.COUNT),
    )
    columns = [Column(words["enterprise"], weight=2.4)]
    columns += [Column(words[name], form, 1.2) for name, form in shown]
    rows = [
        (telling.enterprise(one["key"]), *(one[name] for name, _ in shown))
        for one in telling.contents["connectivity"]["groups"]
    ]
    return Table(columns, rows, words["by_enterprise"])


def hazards(telling: Telling) -> Section:
    """Hazards as they stand, and those that are open."""
    words, told = telling.words, telling.contents["hazards"]
    rows = [
        (one["id"], one["enterprise"], one["title"], words[f"grade_{one['grade']}"],
         words[f"station_{one['station']}"], one["found_at"], one["deadline"],
         words["yes"] if one["overdue"] else "")
        for one in told["listed"]
    ]  # fmt: skip
    columns = (
        Column(words["number"], Form.COUNT, 0.6),
        Column(words["enterprise"]),
        Column(words["hazard"], weight=2.6),
        Column(words["grade"], weight=0.8),
        Column(words["at_station"], weight=0.9),
        Column(words["found_at"], Form.INSTANT, 1.5),
        Column(words["deadline"], weight=1.1),
        Column(words["overdue"], weight=0.8),
    )
    blocks: list[Block] = [Note(words["now_note"]), telling.figures(headlines.HAZARDS)]
    blocks.append(Table(columns, rows, words["open_hazards"], words["no_open_hazards"]))
    return telling.part("hazards", [*blocks, *_rest(telling, rows, told["found"] - told["closed"])])


def overdue(telling: Telling) -> Section:
    """Cases in which somebody is late now."""
    words, told = telling.words, telling.contents["overdue"]
    rows = [
        (one["enterprise"], one["device"], words[f"tier_{one['tier']}"],
         words[f"duty_{one['duty']}"], one["due_at"], one["case"])
        for one in told["listed"]
    ]  # fmt: skip
    columns = (
        Column(words["enterprise"], weight=1.1),
        Column(words["device"], weight=1.3),
        Column(words["tier"], weight=1.6),
        Column(words["owed"], weight=0.9),
        Column(words["due_at"], Form.INSTANT, 1.8),
        Column(words["case"], weight=3.8),
    )
    blocks: list[Block] = [Note(words["now_note"]), Table(columns, rows, none=words["no_overdue"])]
    return telling.part("overdue", [*blocks, *_rest(telling, rows, told["total"])])


def _rest(telling: Telling, rows: Sequence[Any], total: int) -> list[Note]:
    if len(rows) >= total:
        return []
    return [Note(telling.words["named_rest"].format(listed=len(rows), total=total))]
