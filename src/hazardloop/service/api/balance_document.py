"""The daily statement of the message balance as a page to be printed: Chinese first."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final
from zoneinfo import ZoneInfo

COLUMNS: Final = ("sent", "stored", "duplicate", "rejected", "missing", "redelivered")
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "zh-CN": {
        "title": "报文平衡日报",
        "day": "日期",
        "zone": "时区",
        "made": "生成时间",
        "provisional": "当日尚未结束，数据为暂计。",
        "enterprise": "企业",
        "gateway": "网关",
        "sent": "发送",
        "stored": "入库",
        "duplicate": "重复",
        "rejected": "拒收",
        "missing": "缺失",
        "redelivered": "代理重投（不计入）",
        "unnumbered": "无编号（不计入）",
        "total": "合计",
        "rule": "发送 = 入库 + 重复 + 拒收 + 缺失。发送数依据网关自身的报文编号（seq）；"
        "缺失报文补到后，自缺失中减去，并计入实际收到之日。",
        "none": "当日没有网关发送报文。",
        "signed": "企业确认：　　　　　　　　　　中心确认：",
    },
    "en": {
        "title": "Daily message balance",
        "day": "Day",
        "zone": "Time zone",
        "made": "Made",
        "provisional": "The day is not over: these figures are provisional.",
        "enterprise": "Enterprise",
        "gateway": "Gateway",
        "sent": "Sent",
        "stored": "Stored",
        "duplicate": "Duplicate",
        "rejected": "Rejected",
        "missing": "Missing",
        "redelivered": "Redelivered by the broker (not counted)",
        "unnumbered": "Without a number (not counted)",
        "total": "Total",
        "rule": "Sent = stored + duplicate + rejected + missing. Sent is what the gateway's own"
        " message numbers (seq) tell; what comes late leaves what is missing and is counted on the"
        " day on which it came.",
        "none": "No gateway sent a message on that day.",
        "signed": "For the enterprise: ____________   For the centre: ____________",
    },
}
STYLE: Final = """body{font:14px/1.6 "Noto Sans CJK SC",system-ui,sans-serif;margin:2rem auto;
max-width:60rem;color:#111}h1{font-size:1.4rem;text-align:center}table{border-collapse:collapse;
width:100%}th,td{border:1px solid #888;padding:.2rem .5rem;text-align:right}th:nth-child(-n+2),
td:nth-child(-n+2){text-align:left}tfoot{font-weight:700}.lost{background:#fff0c2}
thead{display:table-header-group}@media print{body{margin:0}tr{break-inside:avoid}}"""


def page(statement: Mapping[str, Any], lang: str, made: datetime) -> str:
    """`statement`, as the api answers it, as one HTML page without scripts."""
    words = WORDS[lang]
    at = made.astimezone(ZoneInfo(statement["time_zone"])).isoformat(" ", "seconds")
    return "".join(
        [
            f"<!doctype html><html lang={lang}><head><meta charset=utf-8>",
            f"<title>{words['title']} {statement['day']}</title><style>{STYLE}</style></head>",
            f"<body><h1>{words['title']}</h1><p>{words['day']} {statement['day']} · ",
            f"{words['zone']} {escape(statement['time_zone'])} · {words['made']} {escape(at)}</p>",
            f"<p><b>{words['provisional']}</b></p>" if statement["provisional"] else "",
            *(_table(statement, words) if statement["items"] else [f"<p>{words['none']}</p>"]),
            f"<p>{words['rule']}</p><p>{words['signed']}</p></body></html>",
        ]
    )


def _table(statement: Mapping[str, Any], words: Mapping[str, str]) -> Iterable[str]:
    names = ("enterprise", "gateway", *COLUMNS, "unnumbered")
    yield "<table><thead><tr>" + "".join(f"<th>{words[name]}" for name in names)
    yield "</tr></thead><tbody>"
    for item in statement["items"]:
        lost = " class=lost" if item["missing"] or item["rejected"] else ""
        yield f"<tr{lost}><td>{escape(item['enterprise'])}<td>{escape(item['gateway'])}"
        yield from _figures(item)
        yield "</tr>"
    yield f"</tbody><tfoot><tr><td>{words['total']}<td>"
    yield from _figures(statement["total"])
    yield "</tr></tfoot></table>"


def _figures(item: Mapping[str, Any]) -> Iterable[str]:
    yield from (f"<td>{item[name]:,}" for name in COLUMNS)
    yield f"<td>{sum(item['unnumbered'].values()):,}"
