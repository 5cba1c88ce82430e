"""The formulas under the figures: English as the api answers them, and the same in Chinese."""

from collections.abc import Mapping
from typing import Any, Final

from hazardloop.reports import ranking

ZH: Final[Mapping[str, str]] = {
    "handling": "处置率 = 本期（起始时刻计入，终止时刻不计入）发生的报警中已闭环且有核实结论的条"
    "数 ÷ "
    "本期发生的报警数，舍去 4 位小数以后的部分；按报警发生的数据时间计，演练另列。按时闭环 = 已闭"
    "环，"
    "且每次上报都不晚于上报期限、每次复核都不晚于复核期限。未闭环 = 报警数 - 已闭环。",
    "response": "30分钟内双方签收 = 自交办起 30 分钟内，企业与属地的每个岗位都已签收；30分钟响应"
    "率 = "
    "该条数 ÷ 报警数，舍去 4 位小数以后的部分：没有签收的就是没有响应。30分钟内核实 = 自交办起"
    " 30 分钟内"
    "在现场核实。用时自交办起，至首次签收、核实、上报和最后一次闭环；中位数与 90 百分位只对已到达"
    "该环节的"
    "报警计算，其余的仍在报警数中。",
    "alarm_system": "本期按数据时间发生的报警，不含演练与补传数据中发现的报警。每席 10 分钟内满"
    " 10 条"
    "即为报警泛滥开始，少于 5 条即为结束；报警泛滥时间占比是其占本期的份额。抖动：同一点位同一规"
    "则 1 分钟内"
    "报警 3 次。瞬时：1 分钟内消失、无人确认、又不抖动。滞留：持续超过 24 小时。最频繁 10 个报警"
    "源占比：占全部"
    "报警的份额。",
    "connectivity": "按服务时区整日统计，当日只计到已统计的时刻。每台设备应在每个时段（3 个应报间隔"
    "，至少 1 "
    "分钟）内有数据一次：在线率 = 有数据的时段 ÷ 全部时段，舍去千分位以后的部分。失明时间 = 规则"
    "所看的量"
    "没有可用数据的时段，按分钟计。覆盖率 = 至少一台设备有数据的重大危险源 ÷ 登记的重大危险源。装"
    "备率 = "
    "已登记设备（至多计到应装数）÷ 应装设备。使用率 = 既未经许可停用、也未自报停用、且最后一日可"
    "用的设备 ÷ "
    "登记的设备。",
}


def formulas(contents: Mapping[str, Any], lang: str) -> list[tuple[str, str]]:
    """Name and formula of each part that these contents have."""
    told = [
        (name, ZH[name] if lang == "zh-CN" else contents[name]["formula"])
        for name in ZH
        if name in contents
    ]
    return told + ([("notice", ranking.FORMULA[lang])] if "notice" in contents else [])
