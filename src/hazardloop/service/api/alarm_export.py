"""The journal as a file: an alarm a row, and in the first line which ones they are."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response

from hazardloop.alarms.alarm import Tier
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.alarm_choice import MATCHES, STATES, Choice, Chosen
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.sheet import CSV, XLSX, as_csv, as_xlsx

router = APIRouter(tags=["alarms"])

Language = Literal["zh-CN", "en"]

MOST: Final = {"csv": 100_000, "xlsx": 20_000}
"""Alarms of one file by its format; what is more is refused, never cut off silently."""
ONE_AT_A_TIME: Final = asyncio.Semaphore(1)
"""A large file takes memory and a processor for seconds; a second one would take twice of it."""

COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "raised_at": ("报警时间", "Raised"),
    "tier": ("级别", "Tier"),
    "rule": ("报警", "Alarm"),
    "enterprise": ("企业编码", "Enterprise code"),
    "enterprise_name": ("企业", "Enterprise"),
    "device": ("设备编码", "Device code"),
    "device_name": ("设备", "Device"),
    "location": ("位置", "Place"),
    "point": ("测点", "Point"),
    "value": ("数值", "Value"),
    "limit_value": ("限值", "Limit"),
    "unit": ("单位", "Unit"),
    "acknowledged_by": ("确认人", "Acknowledged by"),
    "acknowledged_at": ("确认时间", "Acknowledged"),
    "cleared_at": ("恢复时间", "Returned"),
    "stage": ("流程", "Stage"),
    "verdict": ("核实结论", "Verdict"),
    "closed_at": ("销警时间", "Closed"),
    "drill": ("演练", "Drill"),
    "found_late": ("补报", "Found late"),
    "id": ("报警编号", "Alarm id"),
}
"""In their order, with their heads in both languages."""
TIERS: Final = {
    Tier.RED: ("红", "red"),
    Tier.ORANGE: ("橙", "orange"),
    Tier.YELLOW: ("黄", "yellow"),
    Tier.BLUE: ("蓝", "blue"),
}
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "raised": ("等待派发", "raised"),
    "dispatched": ("已派发", "dispatched"),
    "signed": ("已签收", "signed"),
    "verified": ("已核实", "verified"),
    "handling": ("处置中", "handling"),
    "submitted": ("待复核", "submitted"),
    "closed": ("已销警", "closed"),
    "real": ("属实", "real"),
    "false_alarm": ("误报", "false alarm"),
    "test": ("测试", "test"),
    "maintenance": ("检修", "maintenance"),
    "unknown": ("无法判定", "unknown"),
    "yes": ("是", "yes"),
}
FILTERS: Final[Mapping[str, tuple[str, str]]] = {
    "state": ("状态", "state"),
    "tiers": ("级别", "tier"),
    "enterprise": ("企业", "enterprise"),
    "kind": ("设备类型", "kind"),
    "rule": ("规则", "rule"),
    "device": ("设备", "device"),
    "point": ("测点", "point"),
    "acknowledged": ("已确认", "acknowledged"),
    "drill": ("演练", "drill"),
}
SENTENCE: Final = (
    "报警 {start} – {end}（{zone}）；{filters}；{n} 条；{made} 导出",
    "Alarms {start} – {end} ({zone}); {filters}; {n} alarms; exported {made}",
)
TITLE: Final = ("报警", "Alarms")
NO_FILTER: Final = ("无其他筛选", "no other filter")

FOUND: Final = f"""
    SELECT a.raised_at, a.tier, coalesce(r.definition->'name'->>%(name)s, a.rule_id) AS rule,
           e.code AS enterprise, e.name AS enterprise_name, x.code AS device,
           x.name AS device_name, x.location, x.code || '.' || p.quantity AS point,
           a.value, a.limit_value, coalesce(a.value_unit, p.unit) AS unit, a.acknowledged_by,
           a.acknowledged_at, a.cleared_at, c.stage, c.verdict, c.closed_at, a.drill, a.found_late,
           a.alarm_id AS id
      FROM alarm a JOIN point p USING (point_id) JOIN device x ON x.device_id = a.device_id
           JOIN enterprise e ON e.enterprise_id = a.enterprise_id
           JOIN rule_version r ON (r.rule_id, r.version) = (a.rule_id, a.rule_version)
           LEFT JOIN disposal_case c ON c.alarm_id = a.alarm_id
     WHERE {MATCHES} {{state}}
     ORDER BY a.raised_at DESC, a.alarm_id DESC LIMIT %(limit)s"""

FILE: Final[dict[str, Any]] = {
    "description": "The file.",
    "content": {
        "text/csv": {"schema": {"type": "string"}, "example": "报警时间,级别,报警\r\n"},
        XLSX: {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.get(
    "/alarms-export",
    dependencies=[require("alarms.read")],
    responses=problems("invalid", "too_many_requests") | {200: FILE},
    response_class=Response,
)
async def export_alarms(
    conn: Conn,
    here: Here,
    now: Now,
    chosen: Chosen,
    form: Annotated[Literal["csv", "xlsx"], Query(alias="format")] = "csv",
    lang: Annotated[Language | None, Query(description="The service's if not given.")] = None,
) -> Response:
    """The alarms of the list as one file, newest first, times with their offset from UTC.

    422 where there are more than 100,000 (CSV) or 20,000 (XLSX): name a shorter period. One file is
    made at a time: 429 while another is.
    """
    if ONE_AT_A_TIME.locked():
        raise Problem(
            "too_many_requests", "another export is being made", headers={"Retry-After": "10"}
        )
    nth = 0 if (lang or here.settings.lang) == "zh-CN" else 1
    async with ONE_AT_A_TIME:
        asked = chosen.arguments | {"limit": MOST[form] + 1, "name": ("zh", "en")[nth]}
        found = await fetch(conn, FOUND.format(state=STATES[chosen.state]), asked)
        if len(found) > MOST[form]:
            raise Problem("invalid", f"more than {MOST[form]:,} alarms: name a shorter period")
        zone = ZoneInfo(here.settings.tz)
        rows = _rows(found, _sentence(chosen, len(found), zone, now, nth), zone, nth)
        made = await (
            asyncio.to_thread(as_xlsx, rows, TITLE[nth], 1)
            if form == "xlsx"
            else asyncio.to_thread(as_csv, rows)
        )
    name = f"alarms-{now.astimezone(zone):%Y%m%d-%H%M%S}.{form}"
    return Response(
        made,
        media_type=XLSX if form == "xlsx" else CSV,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _sentence(chosen: Choice, n: int, zone: ZoneInfo, now: datetime, nth: int) -> str:
    """What the file holds, in words."""
    asked = chosen.arguments | {"state": chosen.state}
    names = {int(tier): word[nth] for tier, word in TIERS.items()}
    asked["tiers"] = "/".join(names[tier] for tier in asked["tiers"] or ())
    filters = [
        f"{FILTERS[key][nth]} {asked[key]}" for key in FILTERS if asked[key] not in (None, "")
    ]
    return SENTENCE[nth].format(
        start=_local(asked["from"], zone) or "…",
        end=_local(asked["to"] or now, zone),
        zone=zone.key,
        filters=", ".join(filters) or NO_FILTER[nth],
        n=n,
        made=_local(now, zone),
    )


def _rows(
    found: Sequence[Mapping[str, Any]], sentence: str, zone: ZoneInfo, nth: int
) -> Iterator[list[Any]]:
    """The lines of the file: the sentence, the heads, the alarms."""
    yield [sentence]
    yield [head[nth] for head in COLUMNS.values()]
    for row in found:
        yield [_shown(row[name], zone, nth) for name in COLUMNS]


def _shown(value: Any, zone: ZoneInfo, nth: int) -> str | float:
    match value:
        case None | False:
            return ""
        case True:
            return WORDS["yes"][nth]
        case datetime():
            return _local(value, zone)
        case float():
            return value if value == value else ""
        case int():
            return TIERS[Tier(value)][nth]
    return WORDS[value][nth] if value in WORDS else str(value)


def _local(at: datetime | None, zone: ZoneInfo) -> str:
    """ISO 8601 with the offset, to the second."""
    return at.astimezone(zone).isoformat(sep=" ", timespec="seconds") if at else ""
