"""One envelope over one channel: a table of how each kind is sent."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from hazardloop.service.notification import gateway, library, robots
from hazardloop.service.notification.channels import (
    Channel,
    Mail,
    Robot,
    Service,
    Sms,
    Webhook,
    WeCom,
    channel_of,
)
from hazardloop.service.notification.envelope import Envelope, Outcome
from hazardloop.service.notification.posting import PostFailed
from hazardloop.service.notification.services import Services, SmsGateway

log = logging.getLogger(__name__)

MOST_S: Final = 20.0
"""For one attempt, whatever hangs."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Sends; nothing that a provider does can raise."""

    services: Services
    private: bool
    """Whether private networks may be spoken to."""

    async def carry(self, kind: str, target: Mapping[str, Any], envelope: Envelope) -> Outcome:
        """What became of `envelope` at this channel."""
        try:
            channel = channel_of(kind, target)
        except ValueError:
            return Outcome(False, "the channel is of a form that is no longer known: enter it anew")
        try:
            async with asyncio.timeout(MOST_S):
                outcome = await SENDERS[type(channel)](self, channel, envelope)
        except TimeoutError:
            outcome = Outcome(False, f"no end within {MOST_S:.0f} s")
        except PostFailed as error:
            outcome = Outcome(False, str(error))
        except Exception as error:  # much code of others runs here; what breaks has failed
            log.exception("a channel broke", extra={"channel": kind})
            outcome = Outcome(False, f"{type(error).__name__}: see the clerk's log")
        return outcome.without(*(str(value) for value in target.values()))


def _lacking(part: str) -> Outcome:
    return Outcome(False, f"the site has no {part}: HAZARDLOOP_NOTIFICATION_FILE names none")


async def _mail(carrier: Carrier, channel: Mail, envelope: Envelope) -> Outcome:
    relay = carrier.services.mail
    if relay is None:
        return _lacking("mail")
    joint = "&" if "?" in relay else "?"
    key = quote(envelope.key)
    url = f"{relay}{joint}to={quote(channel.address)}&format=text&%2BX-HazardLoop-Delivery={key}"
    return await library.tell(url, envelope)


async def _sms(carrier: Carrier, channel: Sms, envelope: Envelope) -> Outcome:
    service = carrier.services.sms
    if service is None:
        return _lacking("sms")
    if isinstance(service, SmsGateway):
        return await gateway.send_sms(service, channel.phone, envelope, private=carrier.private)
    url = service.replace("{phone}", quote(channel.phone, safe=""))
    return await library.tell(url, envelope, short=True)


async def _wecom(carrier: Carrier, channel: WeCom, envelope: Envelope) -> Outcome:
    application = carrier.services.wecom
    if application is None:
        return _lacking("wecom")
    return await library.tell(f"{application.rstrip('/')}/?to={quote(channel.user)}", envelope)


async def _robot(carrier: Carrier, channel: Robot, envelope: Envelope) -> Outcome:
    return await robots.tell_robot(
        channel, envelope, carrier.services.robots, int(time.time()), private=carrier.private
    )


async def _webhook(carrier: Carrier, channel: Webhook, envelope: Envelope) -> Outcome:
    return await robots.call_webhook(channel, envelope, int(time.time()), private=carrier.private)


async def _service(carrier: Carrier, channel: Service, envelope: Envelope) -> Outcome:
    return await library.tell(channel.url, envelope)


SENDERS: Final[Mapping[type[Channel], Callable[[Carrier, Any, Envelope], Awaitable[Outcome]]]] = {
    Mail: _mail,
    Sms: _sms,
    WeCom: _wecom,
    Robot: _robot,
    Webhook: _webhook,
    Service: _service,
}
"""A further kind of channel is a class in channels.py and a line here."""
