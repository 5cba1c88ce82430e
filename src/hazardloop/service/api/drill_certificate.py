"""The certificate a drill ends in: what came of each point, hashed, and a page to print."""

import hashlib
import json
from collections import defaultdict
from datetime import datetime
from html import escape
from typing import Any, Final

from pydantic import ConfigDict, Field

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.drill import Result, result_of
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.database import Connection

ALARM_EXAMPLE: Final[dict[str, Any]] = {
    "id": "6f2c3f43-9a0e-5d0b-8a53-0c7a6d1f7b10",
    "rule": "gas_detector.lel.high",
    "tier": "orange",
    "drill": True,
    "raised_at": "2026-11-22T02:03:10.000Z",
    "recorded_after_s": 0.214,
    "signed": {"enterprise": "2026-11-22T02:04:00.000Z", "authority": None},
    "closed_at": None,
    "verdict": None,
}


class DrilledAlarm(Out):
    """One alarm raised in a drill, and how far its handling came."""

    id: str
    rule: str
    tier: str
    drill: bool = Field(description="False: it got worse than announced and counts as real.")
    raised_at: Instant
    recorded_after_s: float = Field(description="From the measurement to its record.")
    signed: dict[str, Instant | None] = Field(description="When each side signed.")
    closed_at: Instant | None
    verdict: str | None


class DrilledPoint(Out):
    """What came of one point."""

    point: str
    expected: bool
    expected_tier: str | None
    result: Result
    delay_s: float | None = Field(description="From the beginning of the drill to its alarm.")
    alarms: list[DrilledAlarm]


class Certificate(Out):
    """What came of a drill."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "drill": {"id": 7, "kind": "proof_test", "title": "标气试验"},
                    "passed": True,
                    "complete": False,
                    "results": {"passed": 1},
                    "points": [
                        {
                            "point": "GD-101.lel",
                            "expected": True,
                            "expected_tier": "orange",
                            "result": "passed",
                            "delay_s": 190.0,
                            "alarms": [ALARM_EXAMPLE],
                        }
                    ],
                    "sha256": "9b1c…",
                }
            ]
        }
    )
    drill: dict[str, Any]
    passed: bool = Field(description="Every expected alarm came, nothing exceeded.")
    complete: bool = Field(description="Every case of it is closed.")
    results: dict[str, int] = Field(description="How many points by result.")
    points: list[DrilledPoint] = Field(description="Those expected, and those that raised.")
    sha256: str


POINTS: Final = """
    SELECT p.point_id, x.code || '.' || q.quantity AS point, p.expected, p.expected_tier
      FROM drill_point p JOIN point q USING (point_id) JOIN device x USING (device_id)
     WHERE p.drill_id = %(id)s
       AND (p.expected OR EXISTS (SELECT FROM alarm a WHERE a.drill_id = p.drill_id
                                     AND a.point_id = p.point_id))
     ORDER BY point, p.point_id"""
ALARMS: Final = """
    SELECT a.alarm_id::text AS id, a.point_id, a.rule_id AS rule, a.tier, a.drill, a.raised_at,
           a.recorded_at, c.closed_at, c.verdict, c.stage,
           (SELECT jsonb_object_agg(party, signed_at)
              FROM (SELECT party, max(signed_at) AS signed_at FROM assignment s
                     WHERE s.case_id = c.case_id GROUP BY party) each) AS signed
      FROM alarm a LEFT JOIN disposal_case c USING (alarm_id)
     WHERE a.drill_id = %(id)s ORDER BY a.raised_at, a.alarm_id"""


async def certificate(conn: Connection, drill: dict[str, Any]) -> Certificate:
    """What came of the drill, as it is shown by `GET /drills/{id}`."""
    points = await fetch(conn, POINTS, {"id": drill["id"]})
    alarms = await fetch(conn, ALARMS, {"id": drill["id"]})
    raised: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in alarms:
        raised[row["point_id"]].append(row)
    told = [_point(row, raised[row["point_id"]], drill) for row in points]
    results: dict[str, int] = {}
    for one in told:
        results[one.result] = results.get(one.result, 0) + 1
    content = {
        "drill": drill,
        "passed": not results.keys() & {Result.MISSING, Result.TOO_LOW, Result.EXCEEDED},
        "complete": all(row["stage"] in (None, "closed") for row in alarms),
        "results": results,
        "points": [one.model_dump(mode="json") for one in told],
    }
    return Certificate.model_validate(content | {"sha256": digest(content)})


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of the content as JSON with sorted keys and no spaces, in hex."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _point(
    row: dict[str, Any], alarms: list[dict[str, Any]], drill: dict[str, Any]
) -> DrilledPoint:
    begun = datetime.fromisoformat(drill["starts_at"])
    first = min((alarm["raised_at"] for alarm in alarms), default=None)
    tier = row["expected_tier"]
    return DrilledPoint(
        point=row["point"],
        expected=row["expected"],
        expected_tier=Tier(tier).wire if tier else None,
        result=result_of(
            row["expected"], tier, [(alarm["tier"], alarm["drill"]) for alarm in alarms]
        ),
        delay_s=None if first is None else round((first - begun).total_seconds(), 3),
        alarms=[_alarm(alarm) for alarm in alarms],
    )


def _alarm(row: dict[str, Any]) -> DrilledAlarm:
    late_s = (row["recorded_at"] - row["raised_at"]).total_seconds()
    return DrilledAlarm(
        id=row["id"],
        rule=row["rule"],
        tier=Tier(row["tier"]).wire,
        drill=row["drill"],
        raised_at=row["raised_at"],
        recorded_after_s=round(late_s, 3),
        signed=row["signed"] or {},
        closed_at=row["closed_at"],
        verdict=row["verdict"],
    )


WORDS: Final = {
    "zh-CN": {
        "drill": "应急演练", "proof_test": "功能试验", "certificate": "证书", "window": "时间",
        "announced": "预告", "by": "发布人", "tier": "最高级别", "enterprise": "企业",
        "verdict": "结论", "pass": "合格", "fail": "不合格", "complete": "全部闭环",
        "open": "尚有未闭环报警，本证书为中间状态", "point": "测点", "expected": "预期",
        "result": "结果", "raised": "报警时间", "delay": "距开始（秒）", "signed": "双方签收",
        "closed": "销警", "hash": "内容校验 SHA-256", "none": "–", "any": "任意级别",
        "passed": "符合", "missing": "未报警", "too_low": "级别不足",
        "exceeded": "超出预告，按真实报警",
        "unexpected": "预期外", "red": "红", "orange": "橙", "yellow": "黄", "blue": "蓝",
        "sign": "签字：企业 __________ 监管部门 __________",
    },
    "en": {
        "drill": "Drill", "proof_test": "Proof test", "certificate": "certificate",
        "window": "Window", "announced": "Announced", "by": "by", "tier": "Worst tier",
        "enterprise": "Enterprise", "verdict": "Verdict", "pass": "passed", "fail": "not passed",
        "complete": "every case is closed", "open": "some cases are not closed: an interim state",
        "point": "Point", "expected": "Expected", "result": "Result", "raised": "Raised",
        "delay": "After begin (s)", "signed": "Signed by both", "closed": "Closed",
        "hash": "SHA-256 of the content", "none": "–", "any": "any tier", "passed": "as expected",
        "missing": "no alarm", "too_low": "tier too low", "exceeded": "worse than announced: real",
        "unexpected": "unexpected", "red": "red", "orange": "orange", "yellow": "yellow",
        "blue": "blue", "sign": "Signed: enterprise ____________  authority ____________",
    },
}  # fmt: skip
STYLE: Final = (
    "body{font:14px/1.5 sans-serif;margin:2em}table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #888;padding:4px 8px;text-align:left}code{word-break:break-all}"
)


def printable(made: Certificate, lang: str) -> str:
    """The certificate as a page to print and sign."""
    word, drill = WORDS[lang], made.drill
    title = f"{word[drill['kind']]} {word['certificate']} #{drill['id']}"
    verdict = (
        f"{word['pass' if made.passed else 'fail']}; "
        + (word["complete" if made.complete else "open"])
    )
    facts = {
        "enterprise": f"{drill['enterprise']['code']} {drill['enterprise']['name']}",
        "window": f"{drill['starts_at']} – {drill['ends_at']}",
        "announced": f"{drill['announced_at']} {word['by']} {drill['announced_by']}",
        "tier": word[drill["tier"]],
        "verdict": verdict,
    }
    lines = "".join(
        f"<tr><th>{word[name]}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    columns = ("point", "expected", "result", "raised", "delay", "signed", "closed")
    head = "".join(f"<th>{word[name]}</th>" for name in columns)
    body = "".join(f"<tr>{_cells(point, word)}</tr>" for point in made.points)
    return (
        f'<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{escape(drill['title'])}</p>"
        f"<table>{lines}</table><h2>{word['result']}</h2><table><tr>{head}</tr>{body}</table>"
        f"<p>{word['hash']}: <code>{made.sha256}</code></p><p>{word['sign']}</p></html>"
    )


def _cells(point: DrilledPoint, word: dict[str, str]) -> str:
    said = point.model_dump(mode="json")
    alarm = said["alarms"][0] if said["alarms"] else None
    expected = word["none"]
    if point.expected:
        expected = word[point.expected_tier or "any"]
    signed = sorted(filter(None, alarm["signed"].values())) if alarm else []
    cells = (
        point.point,
        expected,
        word[point.result],
        alarm["raised_at"] if alarm else word["none"],
        word["none"] if point.delay_s is None else f"{point.delay_s:g}",
        signed[-1] if alarm and len(signed) == len(alarm["signed"]) and signed else word["none"],
        (alarm and alarm["closed_at"]) or word["none"],
    )
    return "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
