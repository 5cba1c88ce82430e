"""Notices in words: Chinese first, English beside it, from one catalogue each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

from hazardloop.alarms.alarm import Tier
from hazardloop.devices.instants import rfc3339
from hazardloop.service.notification.envelope import Envelope

LISTED: Final = 10
"""Notices of one message that are listed one by one."""
FOR_PROGRAMS: Final = 500
"""Notices of one message that a webhook gets; some 200 kB."""
SIGNS: Final = {"Cel": "°C", "[ppm]": "ppm", "%{LEL}": "%LEL", "1": ""}
"""How units are written for people, where it is not UCUM's way."""
TIMES: Final = ("s", "min", "h")
"""Units of time that slopes and doses are counted in."""
RULE_LANGUAGE: Final = {"zh-CN": "zh", "en": "en"}
"""Rules name their languages shorter."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one notice is about."""

    notice_id: int
    kind: str
    tier: Tier
    due_at: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    case_id: str | None = None
    alarm_id: str | None = None
    stage: str | None = None
    enterprise: str = ""
    enterprise_code: str = ""
    device: str = ""
    device_name: str = ""
    location: str = ""
    point: str = ""
    rule_id: str = ""
    rule_name: Mapping[str, str] = field(default_factory=dict)
    guidance: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    direction: str = ""
    raised_at: datetime | None = None
    drill: bool = False
    found_late: bool = False


@cache
def catalogue(language: str) -> Mapping[str, Mapping[str, str]]:
    """The texts of a language; Chinese where there is none."""
    known = language if language in RULE_LANGUAGE else "zh-CN"
    file = resources.files(__package__) / "texts" / f"{known}.json"
    texts: Mapping[str, Mapping[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return texts


@dataclass(frozen=True, slots=True)
class Speaker:
    """Says facts in one language and zone."""

    language: str
    zone: ZoneInfo

    def say(self, section: str, text: str, **values: object) -> str:
        """A text of the catalogue with its places filled."""
        return catalogue(self.language)[section][text].format(**values)

    def at(self, instant: datetime | None) -> str:
        """An instant on the site's clocks."""
        if instant is None:
            return ""
        return instant.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")

    def tier(self, tier: Tier) -> str:
        """Name and colour of a tier."""
        return catalogue(self.language)["tier"][tier.wire]

    def kind(self, kind: str) -> str:
        """What sort of notice it is."""
        kinds = catalogue(self.language)["kind"]
        return kinds.get(kind, kinds["other"])

    def mark(self, facts: Facts) -> str:
        """What sets it apart from earnest, present alarms."""
        marks = catalogue(self.language)["mark"]
        wanted = {"drill": facts.drill, "late": facts.found_late, "test": facts.kind == "test"}
        return "".join(marks[name] for name, stands in wanted.items() if stands)

    def place(self, facts: Facts) -> str:
        """Where, in a few words."""
        where = facts.location or facts.device_name
        return " ".join(part for part in (facts.enterprise, where, facts.device) if part) or "–"

    def rule(self, facts: Facts) -> str:
        """Name of the rule."""
        return facts.rule_name.get(RULE_LANGUAGE.get(self.language, "zh"), facts.rule_id)

    def ask(self, facts: Facts) -> str:
        """What is to be done, and by when."""
        asks = catalogue(self.language)["ask"]
        text = asks.get(facts.kind, asks["other"])
        if "{due}" in text and facts.due_at is None:
            return asks["nodue"]
        return text.format(due=self.at(facts.due_at), legs=self.legs(facts))

    def legs(self, facts: Facts) -> str:
        """How far canaries do not come; nothing where that is not what it is about."""
        known = catalogue(self.language)["leg"]
        broken = known["between"].join(known[leg] for leg in facts.body.get("legs", ()))
        return known["legs"].format(legs=broken) if broken else ""

    def value(self, facts: Facts) -> str:
        """Value and limit with their unit; nothing where they say nothing."""
        if facts.value is None or facts.limit is None or facts.direction == "state":
            return ""
        if facts.direction == "stale":
            return self.say("line", "silent", value=f"{facts.value:g}", limit=f"{facts.limit:g}")
        return self.say(
            "line",
            "value",
            value=_measured(facts.value, facts),
            limit=_measured(facts.limit, facts),
        )

    def lines(self, facts: Facts) -> list[str]:
        """Everything about one notice, a line each."""
        language = RULE_LANGUAGE.get(self.language, "zh")
        told = [self.ask(facts)]
        if facts.alarm_id is not None:
            told = [
                self.say("line", "alarm", rule=self.rule(facts)),
                self.say(
                    "line",
                    "where",
                    enterprise=facts.enterprise,
                    location=facts.location,
                    device=f"{facts.device_name} {facts.device}".strip(),
                ),
                self.value(facts),
                self.say("line", "raised", raised=self.at(facts.raised_at)),
                *told,
            ]
            if guidance := facts.guidance.get(language):
                told.append(self.say("line", "guidance", guidance=guidance))
        if note := str(facts.body.get("note") or ""):
            told.append(self.say("line", "note", note=note[:300]))
        return [line for line in told if line]


def _measured(number: float, facts: Facts) -> str:
    return f"{number:.6g} {_sign(facts.unit)}".strip()


def _sign(unit: str) -> str:
    """As people write it: of a slope and of a dose, whatever they are taken of."""
    for between, sign in (("/", "/"), (".", "·")):
        of, found, time = unit.rpartition(between)
        if found and time in TIMES:
            return f"{SIGNS.get(of, of)}{sign}{time}"
    return SIGNS.get(unit, unit)


def envelope_of(notices: Sequence[Facts], speaker: Speaker, key: str, link: str | None) -> Envelope:
    """The message of `notices`, worst and oldest first; a link only where it is about one case."""
    ordered = sorted(notices, key=lambda one: (-one.tier, one.notice_id))
    if len(ordered) == 1:
        return _single(ordered[0], speaker, key, link)
    return _several(ordered, speaker, key)


def _single(facts: Facts, speaker: Speaker, key: str, link: str | None) -> Envelope:
    headed = {
        "mark": speaker.mark(facts),
        "tier": speaker.tier(facts.tier),
        "kind": speaker.kind(facts.kind),
        "place": speaker.place(facts),
    }
    go = speaker.say("line", "link", link=link) if link else speaker.say("line", "login")
    value = speaker.value(facts)
    short = speaker.say(
        "line",
        "short",
        **headed,
        rule=speaker.rule(facts),
        value=f" {value}" if value else "",
        ask=speaker.ask(facts),
        link=link or "",
    )
    lines = speaker.lines(facts) + ([go] if facts.case_id else [])
    title = speaker.say("line", "title", **headed)
    return Envelope(key, title, "\n".join(lines), short.strip(), _for_programs([facts], link))


def _several(ordered: Sequence[Facts], speaker: Speaker, key: str) -> Envelope:
    sites = list(dict.fromkeys(facts.enterprise for facts in ordered if facts.enterprise))
    headed = {
        "tier": speaker.tier(ordered[0].tier),
        "count": len(ordered),
        "place": "、".join(sites[:3]) + ("…" if len(sites) > 3 else "") or "–",
    }
    lines = [
        speaker.say(
            "line",
            "item",
            n=n,
            mark=speaker.mark(facts),
            tier=speaker.tier(facts.tier),
            kind=speaker.kind(facts.kind),
            place=speaker.place(facts),
            rule=speaker.rule(facts),
            value=f" {value}" if (value := speaker.value(facts)) else "",
            raised=speaker.at(facts.raised_at),
        )
        for n, facts in enumerate(ordered[:LISTED], 1)
    ]
    left = len(ordered) - LISTED
    lines.append(
        speaker.say("line", "more", count=left) if left > 0 else speaker.say("line", "login")
    )
    return Envelope(
        key,
        speaker.say("line", "several", **headed),
        "\n".join(lines),
        speaker.say("line", "shortSeveral", **headed),
        _for_programs(ordered, None),
    )


def _for_programs(notices: Sequence[Facts], link: str | None) -> dict[str, Any]:
    """The notices as a webhook gets them: the worst, and how many more there are."""
    return {
        "link": link,
        "more": max(0, len(notices) - FOR_PROGRAMS),
        "notices": [
            {
                "id": facts.notice_id,
                "kind": facts.kind,
                "tier": facts.tier.wire,
                "case_id": facts.case_id,
                "alarm_id": facts.alarm_id,
                "enterprise": facts.enterprise_code,
                "point": facts.point,
                "location": facts.location,
                "rule": facts.rule_id,
                "value": facts.value,
                "limit": facts.limit,
                "unit": facts.unit,
                "raised_at": rfc3339(facts.raised_at) if facts.raised_at else None,
                "due_at": rfc3339(facts.due_at) if facts.due_at else None,
                "drill": facts.drill,
                "found_late": facts.found_late,
            }
            for facts in notices[:FOR_PROGRAMS]
        ],
    }
