"""The notice list (通报): enterprises in the order of how badly they handled their alarms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

FORMULA: Final = {
    "zh-CN": "排名依次比较三项，差者在前：（1）处置率 = 已闭环 ÷ 报警数；（2）按时处置率 = 按时闭"
    "环 ÷ "
    "报警数；（3）30分钟响应率 = 30分钟内双方签收 ÷ 报警数。按精确分数比较，不按显示的小数比较；"
    "三项"
    "全部相等者名次并列，其后名次顺延（1、2、2、4）。演练不计。本期没有报警的企业没有比率可言，"
    "不参加排名，单独列出。",
    "en": "Ranked by three shares in turn, the worst first: (1) handling rate = closed / raised;"
    " (2) on-time rate = closed on time / raised; (3) response rate = signed by both sides within"
    " 30 minutes / raised. Compared as exact fractions, not as the decimals shown; who is equal in"
    " all three shares a rank, and the ranks after it are left out (1, 2, 2, 4). Drills are not"
    " counted. An enterprise in which no alarm was raised has no rate: it is not ranked but listed"
    " apart.",
}
COMPARED: Final = ("closed", "on_time", "responded")
"""Numerators over `raised`, the first that differs decides."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One enterprise in the list; rank 1 is the worst."""

    rank: int
    enterprise: str
    figures: Mapping[str, Any]


def ranked(figures: Iterable[Mapping[str, Any]]) -> tuple[list[Ranked], list[str]]:
    """The list, worst first, ties by code; and codes of those that had no alarm.

    Each of `figures` holds `enterprise` (its code), `raised` and the numerators of COMPARED.
    """
    told = sorted(figures, key=lambda one: str(one["enterprise"]))
    some = [one for one in told if one["raised"]]
    keys = [tuple(Fraction(one[name], one["raised"]) for name in COMPARED) for one in some]
    order = sorted(range(len(some)), key=keys.__getitem__)
    listed: list[Ranked] = []
    for place, nth in enumerate(order, start=1):
        tied = place > 1 and keys[order[place - 2]] == keys[nth]
        rank = listed[-1].rank if tied else place
        listed.append(Ranked(rank, some[nth]["enterprise"], some[nth]))
    return listed, [one["enterprise"] for one in told if not one["raised"]]
