"""The pages behind a link, as HTML that works without any script."""

import re
from collections.abc import Sequence
from html import escape as escaped
from typing import Final

from hazardloop.alarms.alarm import TIER_BY_NAME, Action, Verdict
from hazardloop.service.api.case_forms import CaseBrief
from hazardloop.service.notification.wording import Facts, Speaker

STYLE: Final = """body{font:16px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;margin:0;color:#1d2733;
background:#f3f5f7}main{max-width:34rem;margin:0 auto;padding:1rem}h1{font-size:1.2rem;
margin:.2rem 0 .6rem}.tier{display:inline-block;padding:.1rem .6rem;border-radius:4px;color:#fff;
font-weight:600}.red{background:#c62828}.orange{background:#c75300}.yellow{background:#8a6d00}
.blue{background:#1565c0}section{background:#fff;border:1px solid #dde3e8;border-radius:6px;
padding:.6rem .9rem;margin:.6rem 0}p{margin:.3rem 0}button,select,textarea{font:inherit;width:100%;
min-height:48px;margin:.3rem 0;box-sizing:border-box}button{background:#0b57a4;color:#fff;border:0;
border-radius:6px}button.quiet{background:#fff;color:#0b57a4;border:1px solid #0b57a4}"""

HERE: Final = (Action.SIGN, Action.VERIFY, Action.HANDLE, Action.COMMENT)
"""What can be done on the page; the rest needs files or long texts."""


TURNS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of writing, also of what follows the name they stand in."""


def escape(text: str, *, quote: bool = True) -> str:
    """`text` as a part of a page, whatever it holds."""
    return escaped(TURNS.sub("", text), quote=quote)


def facts_of(case: CaseBrief) -> Facts:
    """What the page says of a case."""
    alarm = case.alarm
    return Facts(
        0,
        "dispatched",
        TIER_BY_NAME[case.tier],
        due_at=case.due.at if case.due else None,
        case_id=str(case.id),
        alarm_id=str(case.alarm_id),
        stage=case.stage,
        enterprise=case.enterprise.name,
        device=alarm.device.code,
        device_name=alarm.device.name,
        location=alarm.location,
        point=alarm.point,
        rule_id=alarm.rule,
        rule_name=alarm.name,
        value=alarm.value,
        limit=alarm.limit,
        unit=alarm.unit,
        direction=alarm.direction,
        raised_at=alarm.raised_at,
        drill=alarm.drill,
        found_late=alarm.found_late,
    )


def landing(case: CaseBrief, speaker: Speaker, name: str, here: str, minutes: int) -> str:
    """Before the link is used: the facts, and buttons that use it."""
    may_sign = Action.SIGN in case.allowed_actions
    sign = _button(speaker, "sign", "step", "sign") if may_sign else ""
    return _page(
        speaker,
        _facts(case, speaker, name),
        f"<form method=post action='{escape(here, quote=True)}'>{sign}"
        f"{_button(speaker, 'open', 'step', 'open', quiet=may_sign)}</form>",
        _line(speaker, "onlyOnce", minutes=minutes),
    )


def landing_unknown(case: CaseBrief, speaker: Speaker, name: str, here: str) -> str:
    """The same for a contact without an account: opening is all they can do."""
    return _page(
        speaker,
        _facts(case, speaker, name),
        _line(speaker, "noAccount"),
        f"<form method=post action='{escape(here, quote=True)}'>"
        f"{_button(speaker, 'open', 'step', 'open')}</form>",
    )


def case_page(case: CaseBrief, speaker: Speaker, name: str, here: str, said: str = "") -> str:
    """The case, once opened, with a form for each thing that may be done with it here."""
    forms = [
        _form(case, action, speaker, here) for action in HERE if action in case.allowed_actions
    ]
    told = f"<section role=status>{escape(said)}</section>" if said else ""
    return _page(speaker, told, _facts(case, speaker, name), *forms, _line(speaker, "more"))


def said_only(speaker: Speaker, *names: str, case: CaseBrief | None = None) -> str:
    """A page that says something, with the alarm named where there is one."""
    alarm = ""
    if case is not None:
        alarm = f"<p>{escape(speaker.place(facts_of(case)))}</p>"
    link = f"<p><a href='/'>{escape(speaker.say('page', 'login'))}</a></p>"
    return _page(
        speaker, "<section>", *(_line(speaker, one) for one in names), alarm, "</section>", link
    )


def _facts(case: CaseBrief, speaker: Speaker, name: str) -> str:
    facts = facts_of(case)
    lines: Sequence[str] = (
        *speaker.lines(facts),
        speaker.say("page", "stage", stage=speaker.say("stage", case.stage)),
        speaker.say("page", "person", name=name),
    )
    return (
        f"<h1><span class='tier {case.tier}'>{escape(speaker.tier(facts.tier))}</span> "
        f"{escape(speaker.mark(facts) + speaker.rule(facts))}</h1><section>"
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + "</section>"
    )


def _form(case: CaseBrief, action: Action, speaker: Speaker, here: str) -> str:
    fields = ""
    if action is Action.VERIFY:
        options = "".join(
            f"<option value={one}>{escape(speaker.say('verdict', one))}</option>" for one in Verdict
        )
        label = escape(speaker.say("page", "verdict"))
        fields += f"<label>{label}<select name=verdict required>{options}</select></label>"
    if action in (Action.VERIFY, Action.COMMENT):
        needed = " required" if action is Action.COMMENT else ""
        label = escape(speaker.say("page", "note"))
        fields += f"<label>{label}<textarea name=note maxlength=2000{needed}></textarea></label>"
    return (
        f"<section><form method=post action='{escape(here, quote=True)}'>"
        f"<input type=hidden name=revision value={case.revision}>{fields}"
        f"{_button(speaker, action, 'action', action, quiet=action is Action.COMMENT)}"
        "</form></section>"
    )


def _button(speaker: Speaker, word: str, name: str, value: str, *, quiet: bool = False) -> str:
    look = " class=quiet" if quiet else ""
    return f"<button{look} name={name} value={value}>{escape(speaker.say('page', word))}</button>"


def _line(speaker: Speaker, word: str, **values: object) -> str:
    return f"<p>{escape(speaker.say('page', word, **values))}</p>"


def _page(speaker: Speaker, *parts: str) -> str:
    title = escape(speaker.say("page", "title"))
    return (
        f"<!doctype html><html lang={speaker.language}><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<meta name=robots content=noindex><title>{title}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )
