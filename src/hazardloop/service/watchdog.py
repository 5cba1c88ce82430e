"""`hazardloop watchdog`: asks from outside whether canaries arrive, and shouts if they do not.

It needs neither broker nor database, and best runs on another machine: it is for the time in which
the service cannot say by itself that it is dead.
"""

import asyncio
import json
import logging
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hazardloop.service import logs, systemd
from hazardloop.service.embedded import ports
from hazardloop.service.embedded.installation import running_settings
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.notification.carrying import Carrier
from hazardloop.service.notification.channels import Channel, ChannelIn, target_of
from hazardloop.service.notification.envelope import Envelope
from hazardloop.service.notification.services import read_services
from hazardloop.service.notification.wording import Speaker
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 10.0
ANSWER_WITHIN_S: Final = 10.0
MOST_BYTES: Final = 65_536
"""Of an answer that are read."""
PAUSES_S: Final = (5.0, 15.0)
"""After the first and the second failure of a channel; a third ends it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service says of itself."""

    age_s: float | None
    """How long ago the newest canary that went the whole way was sent; None: it does not say."""
    words: str
    """What is wrong, in its words or ours; empty: nothing."""


@dataclass(slots=True)
class Outside:
    """What is known from outside, on a clock that nobody moves."""

    newest_s: float
    """When the newest canary of which we know was sent; at first, when we began."""
    told: bool = False
    """People know of the outage."""

    def see(self, answer: Answer, now_s: float) -> None:
        """What an answer tells of canaries; none tells nothing."""
        if answer.age_s is not None:
            self.newest_s = max(self.newest_s, now_s - max(0.0, answer.age_s))

    def news(self, answer: Answer, now_s: float, within_s: float) -> str:
        """What people are to be told now: `broken`, `over`, or nothing."""
        if not self.told and now_s - self.newest_s > within_s:
            return "broken"
        return "over" if self.told and is_fine(answer, within_s) else ""


def is_fine(answer: Answer, within_s: float) -> bool:
    """Whether a canary is known to have arrived within that time."""
    return answer.age_s is not None and answer.age_s <= within_s


class Watchers(BaseModel):
    """Whom the watchdog tells: channels as contacts have them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    channels: Annotated[list[ChannelIn], Field(min_length=1, max_length=50)]


def read_watchers(path: Path | None) -> Sequence[Channel]:
    """Channels of the file. SettingsWrong: it is not there, or not in order; no secret is told."""
    if path is None:
        return ()
    name = f"HAZARDLOOP_WATCHDOG_FILE {path}"
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(Watchers.model_validate(said or {}).channels)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"{name}: {error}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise SettingsWrong(f"{name}: no YAML{line}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsWrong(f"{name}: {place}: {first['msg']}") from error


def url_of(settings: Settings) -> str:
    """Where the service is asked: as set, else where the one of this home, or machine, answers."""
    if settings.watchdog_url:
        return settings.watchdog_url
    known = running_settings(settings.home) or settings
    host = ports.reachable(known.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{known.api_port}"


def ask(url: str) -> Answer:
    """What the service at `url` says; whatever is wrong with that is in its words."""
    try:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=ANSWER_WITHIN_S) as answer:  # noqa: S310
                said = answer.read(MOST_BYTES)
        except urllib.error.HTTPError as error:  # 503 says which part
            said = error.read(MOST_BYTES)
    except (OSError, HTTPException) as error:
        return Answer(None, f"{url} does not answer: {getattr(error, 'reason', error)}")
    try:
        return _answer(json.loads(said))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Answer(None, f"{url}/readyz answers something else than HazardLoop does")


def _answer(said: dict[str, Any]) -> Answer:
    age_s = said["heartbeat_age_s"]
    wrong = [f"{one['name']}: {one['detail']}" for one in said["checks"] if not one["ok"]]
    return Answer(None if age_s is None else float(age_s), "; ".join(wrong))


def main(settings: Settings, *, once: bool) -> int:
    """Watches until SIGTERM or SIGINT; with `once` asks once: 0 if canaries arrive, else 1."""
    watchers = read_watchers(settings.watchdog_file)
    carrier = Carrier(read_services(settings.notification_file), settings.notify_private)
    if once:
        return _once(settings)
    logs.configure("watchdog")
    if not watchers:
        log.error("nobody would be told: HAZARDLOOP_WATCHDOG_FILE names no file")
    asyncio.run(Watchdog(settings, watchers, carrier).watch())
    return 0


def _once(settings: Settings) -> int:
    answer = ask(url_of(settings))
    fine = is_fine(answer, settings.canary_within_s)
    if answer.age_s is None:
        print(answer.words or "no canary has arrived yet")
    else:
        beside = f"; {answer.words}" if answer.words else ""
        print(f"the last canary that arrived was sent {answer.age_s:.0f} s ago{beside}")
    return 0 if fine else 1


@dataclass(slots=True)
class Watchdog:
    """Asks again and again, and shouts by itself."""

    settings: Settings
    watchers: Sequence[Channel]
    carrier: Carrier
    _outside: Outside = field(default_factory=lambda: Outside(time.monotonic()))

    async def watch(self) -> None:
        """Until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        watching = asyncio.create_task(self._watch())
        await asyncio.wait(
            {watching, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        systemd.notify("STOPPING=1")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=stop.is_set())

    async def _watch(self) -> None:
        systemd.notify("READY=1")
        while True:
            answer = await asyncio.to_thread(ask, url_of(self.settings))
            now_s, within_s = time.monotonic(), self.settings.canary_within_s
            self._outside.see(answer, now_s)
            silent_s = now_s - self._outside.newest_s
            systemd.notify(f"WATCHDOG=1\nSTATUS=last canary sent {silent_s:.0f} s ago")
            if news := self._outside.news(answer, now_s, within_s):
                # Told of once somebody knows; where nobody could be reached it is tried again.
                reached = await self._shout(news, answer, silent_s)
                self._outside.told = (news == "broken") == (reached or not self.watchers)
            await asyncio.sleep(min(ASK_EVERY_S, self.settings.canary_every_s))

    async def _shout(self, news: str, answer: Answer, silent_s: float) -> bool:
        """Whether anybody got it; all channels are tried side by side."""
        log.error(
            "no canary arrives" if news == "broken" else "canaries arrive again",
            extra={"silent_s": round(silent_s), "reason": answer.words},
        )
        envelope = envelope_of(news, answer, silent_s, self.settings)
        reached = await asyncio.gather(*(self._carry(one, envelope) for one in self.watchers))
        return any(reached)

    async def _carry(self, channel: Channel, envelope: Envelope) -> bool:
        for pause_s in (*PAUSES_S, None):
            systemd.notify("WATCHDOG=1")
            outcome = await self.carrier.carry(channel.kind, target_of(channel), envelope)
            if outcome.taken or pause_s is None:
                break
            await asyncio.sleep(pause_s)
        if not outcome.taken:
            told = {"channel": channel.kind, "answer": outcome.answer}
            log.warning("a channel did not take it", extra=told)
        return outcome.taken


def envelope_of(news: str, answer: Answer, silent_s: float, settings: Settings) -> Envelope:
    """What is told, in the site's language."""
    speaker = Speaker(settings.lang, ZoneInfo(settings.tz))
    known = {"url": url_of(settings), "seconds": round(silent_s), "reason": answer.words or "–"}
    title = speaker.say("watchdog", news, **known)
    text = speaker.say("watchdog", f"{news}_text", **known)
    return Envelope(
        f"HL-WATCHDOG-{secrets.token_hex(4)}",
        title,
        text,
        f"{title} {text}",
        {"watchdog": news, "silent_s": known["seconds"], "reason": answer.words},
    )
