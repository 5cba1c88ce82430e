"""Contents of reports as the service freezes them, with names and numbers that try the layout."""

from typing import Any

from hazardloop.alarms.alarm import Verdict
from hazardloop.alarms.figures import FIGURES, FORMULA, RESPONSE_FORMULA, STAGES, floored_share
from hazardloop.reports.ranking import FORMULA as RANKING
from hazardloop.reports.ranking import ranked

SHA256 = "5f0c8be4a1d7f0e29c3b6a58d4471c29e0b3fd1a7c1a4e55b8a9d2f3c4e5a6b7"
KINDS = {
    "gas_detector": {"zh": "气体探测器", "en": "Gas detector"},
    "tank": {"zh": "储罐", "en": "Tank"},
}
NAMES = {
    f"E{nth:03}": f"{name}化工有限责任公司" if nth % 3 else f"{name} & <Partners> Chemicals"
    for nth, name in enumerate(
        ["宏达", "安泰", "东方红", "振兴", "北海", "长江路仓储物流", "南山", "金桥", "星火", "永丰",
         "平安", "利民", "和顺", "青松", "白云", "晨光", "恒源", "瑞祥"], start=1
    )
}  # fmt: skip


def figures(raised: int, closed: int, on_time: int, responded: int) -> dict[str, Any]:
    """What is told of a group of alarms."""
    told = dict.fromkeys(("returned", "reopened", "found_late", "drills"), closed // 9)
    told |= {"responded_enterprise": responded, "responded_authority": raised, "verified_30": 0}
    told |= dict.fromkeys(
        (*(f"late_sign_{party}" for party in ("enterprise", "authority")), "late_verify",
         "late_submit", "late_review"), raised // 20
    )  # fmt: skip
    verdicts = dict.fromkeys((verdict.value for verdict in Verdict), 0) | {"real": closed}
    return told | {
        "raised": raised,
        "closed": closed,
        "open": raised - closed,
        "on_time": on_time,
        "responded": responded,
        "rate": floored_share(closed, raised),
        "on_time_rate": floored_share(on_time, raised),
        "response_rate": floored_share(responded, raised),
        "verdicts": verdicts,
        "stages": {
            name: {"of": closed, "p50_s": 95.0 + nth, "p90_s": 1240.5, "worst_s": 90_281.0}
            if closed
            else {"of": 0, "p50_s": None, "p90_s": None, "worst_s": None}
            for nth, name in enumerate(STAGES)
        },
    }


def contents(
    *, kind: str = "monthly", quiet: bool = False, own: str | None = None, **told: Any
) -> dict[str, Any]:
    """A report of the district, or of enterprise `own`; `quiet`: nothing was raised."""
    names = {code: name for code, name in NAMES.items() if own in (None, code)}
    groups = {
        code: figures(40 + 3 * nth, 40 + 2 * nth, 40 + nth, 38)
        for nth, code in enumerate(names)
        if not quiet and code != "E018"
    }
    totals = [sum(one[name] for one in groups.values())
              for name in ("raised", "closed", "on_time", "responded")]  # fmt: skip
    whole = figures(*totals)
    days = {"daily": 24, "weekly": 7, "monthly": 30}[kind]
    first, last = {"daily": ("2026-11-22", "2026-11-22"), "weekly": ("2026-11-16", "2026-11-22"),
                   "monthly": ("2026-11-01", "2026-11-30")}[kind]  # fmt: skip
    made: dict[str, Any] = {
        "report": {
            "id": 17,
            "kind": kind,
            "first": first,
            "last": last,
            "from": "2026-10-31T16:00:00.000Z",
            "to": "2026-11-30T16:00:00.000Z",
            "time_zone": "Asia/Shanghai",
            "enterprise": None if own is None else {"code": own, "name": names[own]},
            "version": 1,
            "asked_by": "system",
            "asked_at": "2026-11-30T16:15:00.000Z",
            "due_at": "2026-11-30T16:15:00.000Z",
            "frozen_at": "2026-11-30T16:15:03.210Z",
            "provisional": False,
            "late": False,
            "follows": None,
        }
        | told,
        "kinds": KINDS,
        "enterprises": names,
        "enterprise_ids": {str(nth): code for nth, code in enumerate(names, start=1)},
        "handling": whole | {"formula": FORMULA},
        "response": whole | {"formula": RESPONSE_FORMULA},
        "by": {
            "enterprise": [{"key": code} | one for code, one in groups.items()],
            "kind": [] if quiet else [{"key": "gas_detector"} | whole],
            "tier": []
            if quiet
            else [{"key": "blue"} | whole, {"key": "red"} | figures(2, 1, 0, 2)],
        },
        "previous": {"handling": figures(0, 0, 0, 0), "response": figures(0, 0, 0, 0)},
        "course": {
            "at": [
                f"2026-11-22T{nth:02}:00:00+08:00" if days == 24
                else f"2026-11-{nth + 1:02}T00:00:00+08:00"
                for nth in range(days)
            ],
            "raised": [0 if quiet else 3 + nth % 7 for nth in range(days)],
            "closed": [0 if quiet else 2 + nth % 7 for nth in range(days)],
        },
        "alarm_system": _alarm_system(totals[0]),
        "connectivity": _connectivity(names),
        "hazards": _hazards(names),
        "overdue": _overdue(0 if quiet else 31),
    }  # fmt: skip
    if own is None:
        made["notice"] = _notice(names, groups)
    return made


def _alarm_system(alarms: int) -> dict[str, Any]:
    some = {"from": "2026-11-03T02:00:00.000Z", "to": "2026-11-03T02:41:00.000Z", "alarms": 61,
            "peak": 22, "first_out": "6a1f7c1e-2d0a-5c3e-9a35-3a1de1fca0a4"}  # fmt: skip
    source = {
        "rule_id": "gas_detector.lel.high_high_with_a_long_name",
        "point_id": 1,
        "enterprise": "E001",
        "device": "GD-101-NORTH-EAST",
        "device_name": "",
        "quantity": "lel",
        "alarms": 61,
        "chattering": True,
    }
    return {
        "seats": 1,
        "alarms": alarms,
        "per_10_min": 0.667,
        "peak_10_min": 22,
        "over_10": 0.002,
        "time_in_flood": 0.0009,
        "top10_share": 0.21 if alarms else None,
        "chattering": 1,
        "fleeting": [],
        "stale": [],
        "standing": 4,
        "floods": [some] if alarms else [],
        "sources": [source] * 10 if alarms else [],
        "formula": "Alarms raised in [from, to) by data time.",
    }


def _connectivity(names: dict[str, str]) -> dict[str, Any]:
    rates = {"devices": 640, "reporting": 639, "in_service_rate": 0.9937, "online_rate": 0.998,
             "blind_minutes": 12_960}  # fmt: skip
    return rates | {
        "from": "2026-10-31",
        "to": "2026-11-30",
        "as_of": "2026-11-30T16:00:00.000Z",
        "hazard_units": 24,
        "hazard_units_reporting": 23,
        "coverage": 0.9583,
        "installed_rate": None,
        "missing": [{"enterprise": "E001", "hazard_unit": "HU-1"}],
        "worst": [{"enterprise": "E001", "device": "GD-101", "kind": "gas_detector",
                   "online_rate": None, "blind_minutes": 43_200}],
        "groups": [{"key": code} | rates for code in names],
        "formula": "Whole days.",
    }  # fmt: skip


def _hazards(names: dict[str, str]) -> dict[str, Any]:
    listed = [
        {
            "id": nth,
            "enterprise": code,
            "title": "=1+1 液氨罐区北侧法兰垫片老化，轻微渗漏，需停车更换并复验"
            if nth % 2
            else "堵塞",
            "grade": "major" if nth % 3 == 0 else "general",
            "station": "rectifying",
            "found_at": "2026-11-03T02:00:00.000Z",
            "deadline": "2026-11-20" if nth % 2 else None,
            "overdue": nth % 2 == 1,
        }
        for nth, code in enumerate(names, start=1)
    ]
    told = {"found": 40, "closed": 20, "rate": 0.5, "major": 2, "overdue": 9, "supervised": 0}
    return told | {"rechecks_due": 3, "listed": listed, "overdue_by": {"E001": 1}}


def _overdue(total: int) -> dict[str, Any]:
    one = {
        "case": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20",
        "alarm": "6a1f7c1e-2d0a-5c3e-9a35-3a1de1fca0a4",
        "enterprise": "E002",
        "device": "TK-201",
        "tier": "orange",
        "duty": "verify",
        "due_at": "2026-11-30T15:00:00.000Z",
        "raised_at": "2026-11-30T14:00:00.000Z",
    }
    return {"total": total, "by": {"E002": total}, "listed": [one] * max(0, total - 1)}


def _notice(names: dict[str, str], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    told = [
        groups.get(code, figures(0, 0, 0, 0))
        | {"enterprise": code, "online_rate": 0.998, "overdue_cases": 0, "hazards_overdue": 1}
        for code in names
    ]
    listed, unranked = ranked(told)
    return {
        "ranked": [{"rank": one.rank, **one.figures} for one in listed],
        "unranked": unranked,
        "formula": RANKING,
    }


MEMBERS = [
    ("6a1f7c1e-2d0a-5c3e-9a35-3a1de1fca0a4", "2026-11-03T02:00:00.000Z", "E001", "北区",
     "gas_detector", "red", "", *(1 for _ in FIGURES))
]  # fmt: skip
"""One alarm that counts everywhere."""
